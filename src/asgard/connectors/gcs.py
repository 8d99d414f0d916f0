"""Files in Google Cloud Storage; read as the files of a bucket of S3 are (`s3`).

Reference: https://cloud.google.com/storage/docs/xml-api/overview
"""

from __future__ import annotations

from asgard.connectors._files.objects import ObjectsConfig, ObjectsSource
from asgard.core.source import Example
from asgard.transport.cloud_gcs import GCSConnection


class GCSConfig(GCSConnection, ObjectsConfig):
    """Which bucket, who asks, and how objects are written."""


class GCSSource(ObjectsSource):
    """Files below a prefix of a bucket of Google Cloud Storage."""

    type = "gcs"
    extra = "gcs"
    Config = GCSConfig
    examples = (
        Example(
            "New objects of a bucket only",
            {
                "type": "gcs",
                "bucket": "shop-raw",
                "service_account_file": "/run/secrets/gcs.json",
                "tables": [
                    {"name": "orders", "path": "orders/**/*.csv.gz", "mode": "append", "cursor": "_file"}
                ],
            },
            note="Left out, the key is found where Google's own tools look for it.",
        ),
        Example(
            "A public bucket",
            {
                "type": "gcs",
                "bucket": "open-data",
                "anonymous": True,
                "tables": [{"name": "stations", "path": "stations.parquet"}],
            },
        ),
    )


CONNECTOR = GCSSource
