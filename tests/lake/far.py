"""The lake in a bucket, as tests open it, and what lies there."""

from __future__ import annotations

from typing import Any

import obstore

from asgard.core.cancel import Cancel
from asgard.core.table import TableName
from asgard.lake.bucket import BucketFolder, bucket_folder
from asgard.lake.delta.deletion_vectors import named_in
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits
from asgard.transport.cloud_s3 import S3Connection
from tests.lake.ground import NAME

PLACE = "bronze/shop/orders"


def far_root(config: dict[str, Any]) -> BucketFolder:
    """The lake's folder; config as the connector `s3` takes it."""
    return bucket_folder(S3Connection(**{"prefix": "lake", "timeout_seconds": 20, **config}), Cancel())


def far_table(config: dict[str, Any], limits: Limits | None = None, name: TableName = NAME) -> LakeTable:
    table = DeltaLake(far_root(config), limits).table(name)
    assert isinstance(table, LakeTable)
    return table


def keys(config: dict[str, Any], below: str = "") -> list[str]:
    """The keys in the lake, relative to it."""
    root = far_root(config).objects
    listed = [one["path"] for some in obstore.list(root.bucket.store, root.key_of(below)) for one in some]
    return sorted(path.removeprefix(f"{root.key}/") for path in listed)


def unknown_keys(config: dict[str, Any], place: str = PLACE) -> set[str]:
    """Data files in the table's folder that no version of its log names."""
    root = far_root(config)
    log = root / place / "_delta_log"
    named = b"".join(log.read(name) for name in log.files() if name.endswith(".json")).decode()
    vectors = {*(root / place).files("deletion_vector_")} - named_in(named.encode())
    return {name for name in (root / place).files("part-") if name not in named} | vectors
