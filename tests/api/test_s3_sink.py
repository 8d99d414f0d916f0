"""From a source through a sink in S3 to a result below silver/ of the same bucket, by the API alone."""

from __future__ import annotations

from typing import Any

import obstore
import pytest

from asgard.core.cancel import Cancel
from asgard.lake.bucket import bucket_folder
from asgard.lake.delta.lake import DeltaLake
from asgard.transport.cloud_s3 import S3Connection
from tests.api.callers import Caller
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, ObjectServer, new_bucket, shared_store

ROWS = [
    {"id": 1, "customer_id": 7, "amount": "1.50"},
    {"id": 2, "customer_id": 7, "amount": "2.25"},
    {"id": 3, "customer_id": 8, "amount": "10.00"},
]
TOTALS = "SELECT customer_id, SUM(amount) AS total FROM source_data GROUP BY customer_id"


@pytest.fixture
def server() -> ObjectServer:
    return shared_store("moto")


def posted(caller: Caller, server: ObjectServer, bucket: str, **more: Any) -> dict[str, Any]:
    """A sink as its users post it."""
    config = {"s3_bucket_name": bucket, "s3_bucket_path": "bronze/", "s3_endpoint": server.url,
              "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}  # fmt: skip
    found: dict[str, Any] = caller.post(
        "/sink", destination_type="s3", workspace_name="default", name="My S3 Sink",
        destination_config={**config, **more},
    )  # fmt: skip
    return found


def result(server: ObjectServer, bucket: str, table: str) -> list[dict[str, Any]]:
    """The rows of a table, as somebody else finds them in the bucket."""
    folder = bucket_folder(S3Connection(**server.s3_config(bucket)), Cancel())
    lake = DeltaLake(folder)
    (name,) = [name for name in lake.tables() if str(name) == table]
    return sorted(lake.table(name).scan().read_all().to_pylist(), key=str)


def keys(server: ObjectServer, bucket: str) -> list[str]:
    store = S3Connection(**server.s3_config(bucket)).open(Cancel()).store
    return [one["path"] for some in obstore.list(store) for one in some]


def test_from_a_source_to_silver(caller: Caller, server: ObjectServer) -> None:
    bucket = new_bucket(server)
    sink = posted(caller, server, bucket)
    assert sink["location"] == f"s3://{bucket}"
    assert SECRET_KEY not in caller.client.get("/sink").text
    local = caller.sink()  # the first one of S3 is what transforms read
    ingestion = caller.ingested(caller.datasource(), sink["id"], workspace_name="default")
    assert ingestion["status"] == "done", ingestion
    bronze = caller.get("/tables", destination_id=sink["id"])["items"]
    (table,) = [found["table"] for found in bronze]
    assert [{**row, "amount": str(row["amount"])} for row in caller.rows(table, sink["id"])] == ROWS
    for mode, wanted in (("overwrite", 1), ("append", 2)):
        said = caller.post("/transform", sql=TOTALS, write_mode=mode)
        assert said["destination"].startswith(f"s3://{bucket}/silver/")
        caller.done()
        status = caller.get(f"/transform/{said['run_id']}/status")
        assert (status["state"], status["error"]) == ("COMPLETED", None)
        found = result(server, bucket, said["table"])
        assert [(row["customer_id"], str(row["total"])) for row in found] == sorted(
            [(7, "3.75"), (8, "10.00")] * wanted
        )
    figures = caller.get(f"/transform/{said['run_id']}/metrics")
    assert (figures["rows_in"], figures["rows_out"]) == (3, 2)
    assert figures["bytes_in"] > 0
    assert figures["bytes_out"] > 0
    assert {key.partition("/")[0] for key in keys(server, bucket)} == {"bronze", "silver"}
    assert caller.get("/tables", destination_id=local)["items"] == []
    again = caller.ingested(caller.get("/datasource")["items"][0]["id"], sink["id"], workspace_name="default")
    assert again["status"] == "done"
    assert [{**row, "amount": str(row["amount"])} for row in caller.rows(table, sink["id"])] == ROWS
    written = [file for file in caller.folder.rglob("*") if file.is_file()]
    assert [file for file in written if SECRET_KEY.encode() in file.read_bytes()] == []


def test_keys_may_be_those_of_the_environment(
    caller: Caller, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    bucket = new_bucket(server)
    config = {"bucket_name": bucket, "s3_bucket_path": "team/bronze"}
    sink = caller.post("/sink", destination_type="s3", config=config, name="plain")
    assert sink["location"] == f"s3://{bucket}/team"
    done = caller.ingested(caller.datasource(), sink["id"])
    assert done["status"] == "done", done
    assert {key.partition("/")[0] for key in keys(server, bucket)} == {"team"}


def test_a_bucket_that_is_not_there(caller: Caller, server: ObjectServer) -> None:
    sink = posted(caller, server, "nobody-has-this-bucket")
    ended = caller.ingested(caller.datasource(), sink["id"])
    assert ended["status"] == "failed"
    assert "no such bucket" in ended["error"]
    assert SECRET_KEY not in str(ended)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"s3_bucket_path": "../up"}, ".."),
        ({"s3_bucket_path": "a b/bronze"}, "a b"),
        ({"aws_secret_access_key": None}, "pairs"),
        ({"s3_bucket_name": "no/bucket/../x"}, ".."),
        ({"s3_endpoint": "http://169.254.169.254"}, "169.254.169.254"),
    ],
)
def test_what_no_lake_can_lie_in(
    caller: Caller, server: ObjectServer, config: dict[str, Any], what: str
) -> None:
    whole = {"s3_bucket_name": "b", "s3_endpoint": server.url, "aws_access_key_id": ACCESS_KEY,
             "aws_secret_access_key": SECRET_KEY, **config}  # fmt: skip
    said = caller.refused("POST", "/sink", 422, destination_type="s3", destination_config=whole, name="x")
    assert what in said["what"]
    assert SECRET_KEY not in str(said)
