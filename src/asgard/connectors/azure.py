"""Files in Azure Blob Storage; read as the files of a bucket of S3 are (`s3`).

Reference: https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

from asgard.connectors._files.objects import ObjectsConfig, ObjectsSource
from asgard.core.source import Example
from asgard.transport.cloud_azure import AzureConnection


class AzureConfig(AzureConnection, ObjectsConfig):
    """Which container, who asks, and how blobs are written."""


class AzureSource(ObjectsSource):
    """Files below a prefix of a container."""

    type = "azure"
    extra = "azure"
    Config = AzureConfig
    examples = (
        Example(
            "New blobs of a container only",
            {
                "type": "azure",
                "account": "shopstorage",
                "container": "raw",
                "account_key": "${AZURE_STORAGE_ACCOUNT_KEY}",
                "tables": [
                    {"name": "orders", "path": "orders/**/*.csv.gz", "mode": "append", "cursor": "_file"}
                ],
            },
        ),
        Example(
            "A shared access signature",
            {
                "type": "azure",
                "account": "shopstorage",
                "container": "raw",
                "sas_token": "${RAW_SAS_TOKEN}",
                "tables": [{"name": "rates", "path": "rates.parquet"}],
            },
        ),
    )


CONNECTOR = AzureSource
