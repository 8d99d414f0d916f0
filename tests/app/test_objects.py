"""Buckets through the plain face: a DataSourceConfig, a `data:` block, a class."""

from __future__ import annotations

from pathlib import Path

import asgard
from asgard.connectors.s3 import S3Config, S3Source
from tests.connectors.buckets import put
from tests.servers.object_stores import SECRET_KEY, new_bucket, shared_store

ROWS = [{"id": 1, "code": "007"}, {"id": 2, "code": "010"}]


def test_a_bucket_is_loaded_in_every_form(tmp_path: Path) -> None:
    server = shared_store("moto")
    cloud = server.s3_config(new_bucket(server))
    put(S3Source(S3Config.model_validate(cloud)).place, "in/codes.csv", b"id,code\n1,007\n2,010\n")

    block = {"type": "s3", "source": "in/codes.csv", "cloud_config": cloud, "backend": "arrow"}
    assert asgard.load_data(asgard.DataSourceConfig.model_validate(block)).to_pylist() == ROWS
    assert asgard.load_data(block).to_pylist() == ROWS
    assert asgard.load_data({**block, "type": "minio", "file_type": "csv"}).to_pylist() == ROWS

    lines = [f"    {key}: '{value}'" for key, value in cloud.items()]
    top = ["data:", "  type: s3", "  source: in/*.csv", "  backend: arrow", "  cloud_config:"]
    (tmp_path / "source.yml").write_text("\n".join([*top, *lines]))
    got = asgard.load_data(str(tmp_path / "source.yml")).to_pylist()
    assert got == [{**row, "_file": "in/codes.csv"} for row in ROWS]

    with asgard.S3Connector(cloud) as s3:
        assert s3.load_data(table="in", backend="arrow").select(["id", "code"]).to_pylist() == ROWS
        assert "id" in s3.get_schema()["in"]
        assert SECRET_KEY not in repr(s3) + repr(s3.config)
    assert asgard.get_connector_class("minio") is asgard.S3Connector
    assert asgard.get_connector_class("gs") is asgard.GCSConnector
    assert asgard.get_connector_class("azure_blob") is asgard.AzureBlobConnector
    loaded = asgard.load_from_connector("s3", cloud, table="in", backend="arrow")
    assert loaded.num_rows == len(ROWS)
