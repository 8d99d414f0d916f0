"""The real stores: MinIO checks every signature, fake-gcs-server speaks as Google's clients expect."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import deltalake
import obstore
import pyarrow as pa
import pytest
import urllib3

from asgard.connectors.gcs import GCSSource
from asgard.connectors.s3 import S3Config, S3Source
from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, DataError, QueryError, Refused
from asgard.core.stream import Selection
from asgard.testing.connectors import run_case
from asgard.transport.objects import Bucket
from tests.connectors.buckets import contract_harness, counted_reads, parquet, put, remove
from tests.connectors.reading import load
from tests.servers.object_stores import SECRET_KEY, ObjectServer, new_bucket, s3_request, shared_store

pytestmark = pytest.mark.cluster
CASES = (
    "accepts_a_good_configuration", "lists_what_there_is", "takes_a_query", "reads_what_it_describes",
    "reads_splits_elsewhere", "goes_on_from_its_position", "keeps_secrets", "refuses_bad_configurations",
)  # fmt: skip


@pytest.fixture(scope="module")
def minio() -> ObjectServer:
    return shared_store("minio")


@pytest.fixture
def config(minio: ObjectServer) -> dict[str, Any]:
    return minio.s3_config(new_bucket(minio))


def opened(config: dict[str, Any], **more: Any) -> S3Source:
    return S3Source(S3Config.model_validate({**config, **more}), "tried")


@pytest.mark.parametrize("case", CASES)
def test_minio_keeps_the_contract(config: dict[str, Any], case: str) -> None:
    bad: tuple[Any, ...] = (
        ({**config, "secret_key": "wrong"}, AuthenticationError),
        ({**config, "access_key": "nobody"}, AuthenticationError),
        ({**config, "bucket": "no-such-bucket"}, QueryError),
        ({key: value for key, value in config.items() if "key" not in key} | {"anonymous": True}, Refused),
    )
    run_case(contract_harness(S3Source, config, bad, (SECRET_KEY,)), case)


def test_keys_of_every_kind(config: dict[str, Any]) -> None:
    names = ["a b+c%20ü#=&?.csv", "ä/日本/x.csv", "(1)'*!~.csv", 'q"u<o>t|e.csv', "[x]{y}^`.csv"]
    with opened(config, prefix="raw data/ü") as s3:
        for name in names:
            put(s3.place, name, b"x\n1\n")
        assert sorted(file.name for file in s3.place.find("**/*")) == sorted(names)
        for name in names:
            assert load(s3, "t", {"path": name, "with_file": True}).rows == [{"x": 1, "_file": name}]


def test_ten_thousand_objects(config: dict[str, Any]) -> None:
    names = [f"many/{number:05}.csv" for number in range(10_000)]
    with opened(config) as s3:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: put(s3.place, name, b"x\n1\n"), names))
        assert [file.name for file in s3.place.find("many/*.csv")] == names
        options = {"path": "many/*.csv", "types": "text"}
        first = load(s3, "t", options, cursor="_file")
        assert len(first.rows) == 10_000
        assert first.token is not None
        assert len(first.token) < 600_000
        put(s3.place, "many/00000b.csv", b"x\n-1\n")
        again = load(s3, "t", options, cursor="_file", since=first.token)
        assert again.rows == [{"x": "-1", "_file": "many/00000b.csv"}]


def test_versions_and_replaced_objects(minio: ObjectServer, config: dict[str, Any]) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3_request(minio, "PUT", f"/{config['bucket']}", "versioning", enabled)
    with opened(config, prefix="p q") as s3:
        for number in range(3):
            put(s3.place, "a b.csv", b"x\n%d\n" % number)
        stream = s3.describe("a b")
        with s3.plan([Selection(stream)], {}) as plan:
            put(s3.place, "a b.csv", b"x\n3\n")
            with pytest.raises(DataError, match="changed while"):
                list(s3.read(plan.splits[0]))
        remove(s3.place, "a b.csv")
        got = load(s3, "t", {"path": "*.csv", "versions": "all"})
        assert sorted(row["x"] for row in got.rows) == [0, 1, 2, 3]


def test_a_query_reads_little(config: dict[str, Any]) -> None:
    table = pa.table({"id": range(500_000), "text": [f"{n:x}" * 8 for n in range(500_000)]})
    data = parquet(table, row_group_size=20_000, use_dictionary=False, compression="none")
    with opened(config) as s3:
        put(s3.place, "big.parquet", data)
        query = f"SELECT text FROM '{s3.place.url}/big.parquet' WHERE id = 77777"
        with counted_reads() as reads:
            assert load(s3, "asked", query=query).rows == [{"text": f"{77777:x}" * 8}]
        assert sum(end - start for _, start, end in reads) < len(data) / 10


@pytest.mark.parametrize("case", CASES[:-1])
def test_fake_gcs_server_keeps_the_contract(case: str) -> None:
    server = shared_store("fake-gcs-server")
    bucket = f"t-{uuid.uuid4().hex[:16]}"
    google_post(server, "/storage/v1/b?project=p", f'{{"name": "{bucket}"}}'.encode())

    def upload(place: Bucket, name: str, data: bytes) -> None:
        # Writing as obstore does is what this server alone does not know.
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(place.key(name))}"
        google_post(server, path, data)

    config = {"bucket": bucket, "endpoint_url": server.url, "access_token": "canary-token", "prefix": "raw"}
    run_case(contract_harness(GCSSource, config, (), ("canary-token",), upload), case)


def google_post(server: ObjectServer, path: str, body: bytes) -> None:
    answer = urllib3.request("POST", f"{server.url}{path}", body=body)
    assert answer.status == 200, answer.data


def test_conditional_puts(config: dict[str, Any]) -> None:
    """What a table in a bucket will need: the second of two writers is told."""
    store = opened(config).place.store
    first = obstore.put(store, "log/1.json", b"a", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "log/1.json", b"b", mode="create")
    version = {"e_tag": first["e_tag"]}
    obstore.put(store, "log/1.json", b"c", mode=version)  # type: ignore[arg-type]
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(store, "log/1.json", b"d", mode=version)  # type: ignore[arg-type]
    assert bytes(obstore.get(store, "log/1.json").bytes()) == b"c"


def test_other_libraries_open_the_same_bucket(config: dict[str, Any]) -> None:
    told = S3Config.model_validate(config).storage_options(Cancel())
    place = f"s3://{config['bucket']}/lake/t"
    deltalake.write_deltalake(place, pa.table({"x": [1, 2]}), storage_options=told)
    assert deltalake.DeltaTable(place, storage_options=told).to_pyarrow_table().to_pydict() == {"x": [1, 2]}
