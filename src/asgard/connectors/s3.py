"""Files in S3, MinIO and what else speaks like it: CSV, TSV, JSON, JSON Lines, Parquet, Excel, packed or not.

A table is an object, a folder or a pattern below the bucket's prefix, and is read as `files` reads one of the
disk: types are proved over every value, `hive: true` makes columns of folders such as year=2024, and
`cursor: _file` reads new objects only. Which are new is known by name, size and etag: S3's times have whole
seconds, and are of the beginning of an upload, so that one may appear with a time that has been passed.

An object that is replaced while it is read is an error, as half of it may be of another content. Large
objects are read in ranges, of Parquet what is needed. A query is DuckDB's SQL over Parquet.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from asgard.connectors._files.formats import FilesStreamOptions
from asgard.connectors._files.objects import ObjectsConfig, ObjectsSource
from asgard.core.source import Example
from asgard.transport.cloud_s3 import S3Connection
from asgard.transport.objects import Bucket


class S3Config(S3Connection, ObjectsConfig):
    """Which bucket, who asks, and how objects are written."""


class S3StreamOptions(FilesStreamOptions):
    """Which objects make up a table, and how they are written."""

    versions: Literal["latest", "all"] = Field(
        default="latest",
        description="all reads every version that the bucket kept of an object, with _file naming it as "
        "key@version.",
    )


class S3Source(ObjectsSource):
    """Files below a prefix of an S3 bucket."""

    type = "s3"
    extra = "s3"
    Config = S3Config
    StreamOptions = S3StreamOptions
    examples = (
        Example(
            "New objects of a bucket only",
            {
                "type": "s3",
                "bucket": "shop-raw",
                "region": "eu-central-1",
                "access_key": "${AWS_ACCESS_KEY_ID}",
                "secret_key": "${AWS_SECRET_ACCESS_KEY}",
                "tables": [
                    {"name": "orders", "path": "orders/**/*.csv.gz", "mode": "append", "cursor": "_file"}
                ],
            },
            note="Without keys the environment, a profile or the machine's role has them.",
        ),
        Example(
            "MinIO, with folders as columns",
            {
                "type": "s3",
                "bucket": "lake",
                "prefix": "events",
                "endpoint_url": "http://minio:9000",
                "access_key": "${MINIO_ACCESS_KEY}",
                "secret_key": "${MINIO_SECRET_KEY}",
                "tables": [
                    {"name": "clicks", "path": "**/*.parquet", "hive": True, "columns": {"year": "int64"}}
                ],
            },
        ),
        Example(
            "A query over one object",
            {
                "type": "s3",
                "bucket": "shop-raw",
                "profile": "analytics",
                "tables": [
                    {
                        "name": "large_orders",
                        "query": "SELECT id, amount FROM 's3://shop-raw/orders.parquet' WHERE amount > 1000",
                    }
                ],
            },
            note="Only the columns and row groups that the query needs are read.",
        ),
    )

    @cached_property
    def _kept(self) -> Bucket:
        """The same place with all versions."""
        bucket: Bucket = self.config.open(self.settings.cancel, versions=True)
        return bucket

    def place_of(self, options: FilesStreamOptions) -> Bucket:
        """All versions where they are asked for."""
        kept = isinstance(options, S3StreamOptions) and options.versions == "all"
        return self._kept if kept else self.place


CONNECTOR = S3Source
