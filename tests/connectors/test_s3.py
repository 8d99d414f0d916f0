"""S3: objects arrive as files of a disk do, new ones are found, a replaced one is never half read."""

from __future__ import annotations

import gzip
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from asgard.connectors.files import FilesConfig, FilesSource
from asgard.connectors.s3 import S3Config, S3Source
from asgard.core.errors import (
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.stream import Selection
from asgard.transport import objects
from tests.connectors.buckets import counted_reads, parquet, put, remove
from tests.connectors.reading import Loaded, load
from tests.servers.faults import Fault, faulty_network
from tests.servers.object_stores import ObjectServer, new_bucket, s3_request, shared_store


@pytest.fixture(scope="session")
def moto() -> ObjectServer:
    return shared_store("moto")


@pytest.fixture
def config(moto: ObjectServer) -> dict[str, Any]:
    return moto.s3_config(new_bucket(moto))


@pytest.fixture
def s3(config: dict[str, Any]) -> Iterator[S3Source]:
    with opened(config) as source:
        yield source


def opened(config: dict[str, Any], **more: Any) -> S3Source:
    return S3Source(S3Config.model_validate({**config, **more}), "tried")


def workbook() -> bytes:
    book, data = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    book.active.append(["a", "b"])
    book.active.append([1, "x"])
    book.save(data)
    return data.getvalue()


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("1.csv", "a\n1\n")
        packed.writestr("2.csv", "a\n2\n")
    return data.getvalue()


NUMBERS = pa.table({"id": range(50_000), "text": [f"row {n}" for n in range(50_000)]})
FILES = {
    "a.csv": b"id,code,price\n1,007,1.5\n2,010,\n",
    "b.csv.gz": gzip.compress("a\nä\n".encode() * 1000),
    "c.tsv": b"a\tb\n1\t2\n",
    "d.json": b'{"data": [{"a": 1, "b": {"c": 1.10}}, {"a": null}]}',
    "e.jsonl.zst": bytes(pa.compress(b'{"a": 1}\n{"b": "x"}\n' * 5000, "zstd", asbytes=True)),
    "f.parquet": parquet(NUMBERS, row_group_size=7_000),
    "g.xlsx": workbook(),
    "h.zip": archive(),
    "odd/a b+c%20ü#=&.csv": b"x\n1\n",
    "odd/[1]*.csv": b"y\n1\n",
    "hive/year=2024/m=1/x.csv": b"v\n1\n",
    "hive/year=2025/m=2/x.csv": b"v\n2\n",
    ".hidden.csv": b"v\n2\n",
    "many/deep/er/1.jsonl": b'{"a": 1}\n',
    "many/2.jsonl": b'{"a": 2}\n',
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "options"),
    [
        *((name, {}) for name in FILES),
        ("odd", {"format": "csv"}),
        ("odd/*.csv", {}),
        ("odd/[[]1]*.csv", {}),
        ("hive", {"hive": True, "columns": {"year": "int64"}}),
        ("hive/year=*/*/x.csv", {"hive": True}),
        ("many/**/*.jsonl", {}),
        ("many/*.jsonl", {}),
        ("**/?.jsonl", {}),
        ("*.csv", {}),
        ("[ab]*.csv*", {}),
        ("[!ab].tsv", {}),
        (".*.csv", {}),
        ("nothing/*", {}),
        ("many/", {}),
    ],
)
def test_a_bucket_is_read_as_a_folder_is(
    s3: S3Source, tmp_path: Path, path: str, options: dict[str, Any]
) -> None:
    for name, data in FILES.items():
        put(s3.place, name, data)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    disk = FilesSource(FilesConfig.model_validate({"path": str(tmp_path)}), "tried")

    def told(source: FilesSource | S3Source) -> Loaded | type[Exception]:
        try:
            return load(source, "t", {"path": path, **options})
        except (QueryError, DataError) as error:
            return type(error)

    here, there = told(s3), told(disk)
    if isinstance(there, Loaded):
        assert isinstance(here, Loaded), here
        assert (here.types, here.rows) == (there.types, there.rows)
    else:
        assert here == there == QueryError


def test_what_a_bucket_has(s3: S3Source) -> None:
    for name in ("a.csv", "b/1.csv", "b/c/2.csv", "d/1.txt"):
        put(s3.place, name, b"x\n1\n")
    put(s3.place, "e/f", b"")
    s3_like_folder = {"b": ["x", "_file"], "a": ["x"]}
    assert {s.name: s.schema.names for s in s3.streams()} == s3_like_folder
    assert load(s3, "b").rows == [{"x": 1, "_file": "b/1.csv"}, {"x": 1, "_file": "b/c/2.csv"}]


# ---- new objects


def test_a_late_object_with_an_older_time_is_read(s3: S3Source) -> None:
    options = {"path": "in/*.csv"}
    put(s3.place, "in/a.csv", b"x\n1\n")
    put(s3.place, "in/c.csv", b"x\n3\n")
    first = load(s3, "t", options, cursor="_file")
    assert [row["x"] for row in first.rows] == [1, 3]
    put(s3.place, "in/b.csv", b"x\n2\n")  # a name in between, a time of the same second
    later = load(s3, "t", options, cursor="_file", since=first.token)
    assert [row["x"] for row in later.rows] == [2]
    put(s3.place, "in/a.csv", b"x\n1\n")  # stored again as it was: a new time, the same content
    assert load(s3, "t", options, cursor="_file", since=later.token).rows == []
    put(s3.place, "in/a.csv", b"x\n9\n")  # as long as before
    with pytest.raises(DataError, match="changed after it was loaded"):
        load(s3, "t", options, cursor="_file", since=later.token)
    reloaded = load(s3, "t", {**options, "changed_files": "reload"}, cursor="_file", since=later.token)
    assert [row["x"] for row in reloaded.rows] == [9]
    remove(s3.place, "in/a.csv")
    gone = load(s3, "t", options, cursor="_file", since=reloaded.token)
    assert gone.rows == []
    assert gone.token == reloaded.token


def test_more_objects_than_a_listing_has(s3: S3Source) -> None:
    names = [f"many/{number:05}.csv" for number in range(1_100)]
    for name in names:
        put(s3.place, name, b"x\n1\n")
    assert [file.name for file in s3.place.find("many/*.csv")] == names
    assert [file.name for file in s3.place.find("**/*.csv")] == names
    options = {"path": "many/*.csv", "columns": {"x": "text"}}
    first = load(s3, "t", options, cursor="_file")
    assert len(first.rows) == 1_100
    assert first.splits == 1
    put(s3.place, "many/00000b.csv", b"x\n-1\n")
    again = load(s3, "t", options, cursor="_file", since=first.token)
    assert again.rows == [{"x": "-1", "_file": "many/00000b.csv"}]


def test_types_of_loaded_objects_are_remembered(s3: S3Source) -> None:
    options = {"path": "in/*.csv", "with_file": False}
    put(s3.place, "in/1.csv", b"id,code,none,amount\n1,007,,1\n")
    put(s3.place, "in/2.csv", b"id,code,none,amount\n2,010,,2\n")

    def news(name: str, data: bytes, since: Loaded) -> tuple[Loaded, set[str]]:
        put(s3.place, name, data)
        with counted_reads() as reads:
            got = load(s3, "t", {"path": "in/*.csv"}, cursor="_file", since=since.token)
        return got, {file for file, *_ in reads} - {"in/1.csv"}  # the first is looked at to describe them

    first = load(s3, "t", {"path": "in/*.csv"}, cursor="_file")
    # What proves numbers now is text as before; a column that had no values has them.
    second, read = news("in/3.csv", b"id,code,none,amount\n3,11,x,3\n", first)
    assert second.rows == [{"id": 3, "code": "11", "none": "x", "amount": 3, "_file": "in/3.csv"}]
    assert read == {"in/3.csv"}
    third, read = news("in/4.csv", b"id,new,code\n4,2024-01-01,\n", second)
    assert [row["none"] for row in third.rows] == [None]
    assert third.types == {**second.types, "new": "date32[day]"}
    assert list(third.types)[-1] == "_file"
    assert read == {"in/4.csv"}
    # Values of another type: what the column is, all objects tell together.
    fourth, read = news("in/5.csv", b"id,amount\n5,1.5\n", third)
    assert (fourth.types["amount"], len(fourth.rows)) == ("decimal128(18, 2)", 1)
    assert read == {f"in/{n}.csv" for n in (2, 3, 4, 5)}
    assert load(s3, "t", {"path": "in/*.csv"}, cursor="_file").types == fourth.types
    # Other options: what was remembered does not count.
    with counted_reads() as reads:
        again = load(s3, "t", {**options, "types": "text"}, cursor="_file", since=fourth.token)
    assert again.rows == []
    assert {file for file, *_ in reads} == {f"in/{n}.csv" for n in range(1, 6)}


# ---- versions


def test_every_version_of_an_object(moto: ObjectServer, config: dict[str, Any]) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3_request(moto, "PUT", f"/{config['bucket']}", "versioning", enabled)
    with opened(config, prefix="p") as s3:
        for number in range(3):
            put(s3.place, "a b.csv", b"x\n%d\n" % number)
        put(s3.place, "a b.csvx", b"x\n7\n")
        remove(s3.place, "a b.csv")
        with pytest.raises(QueryError, match="no file matches"):
            load(s3, "t", {"path": "a b.csv"})
        got = load(s3, "t", {"path": "a b.csv", "versions": "all"}, cursor="_file")
        assert sorted(row["x"] for row in got.rows) == [0, 1, 2]
        assert len({row["_file"] for row in got.rows}) == 3
        assert all(row["_file"].startswith("a b.csv@") for row in got.rows)
        put(s3.place, "a b.csv", b"x\n3\n")
        later = load(s3, "t", {"path": "*.csv", "versions": "all"}, cursor="_file", since=got.token)
        assert [row["x"] for row in later.rows] == [3]


# ---- SQL


def test_a_query_reads_what_it_needs(s3: S3Source, config: dict[str, Any]) -> None:
    noise = [f"{n * 7919 % 1_000_003:x}" * 8 for n in range(300_000)]
    table = pa.table({"id": range(300_000), "text": noise, "more": noise[::-1]})
    data = parquet(table, row_group_size=20_000, compression="none", use_dictionary=False)
    put(s3.place, "big.parquet", data)
    where = f"FROM 's3://{config['bucket']}/big.parquet' WHERE id BETWEEN 150000 AND 150001"
    with counted_reads() as reads:
        got = load(s3, "asked", query=f"SELECT id, text {where} ORDER BY id; -- and no more")
    assert got.rows == table.slice(150_000, 2).select(["id", "text"]).to_pylist()
    assert sum(end - start for _, start, end in reads) < len(data) / 10
    with counted_reads() as reads:
        assert load(s3, "asked", query=f"SELECT sum(id)::BIGINT AS s {where}").rows == [{"s": 300_001}]
    assert sum(end - start for _, start, end in reads) < len(data) / 25


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("v > 5", [2]),
        ("v = 'nan'", [2]),
        ("NOT v <= 1", [2]),
        ("s.v > 5", [2]),
        ("v = 1 AND s.v = 1", [1]),
    ],
)
def test_a_query_finds_what_parquets_figures_leave_out(s3: S3Source, where: str, ids: list[int]) -> None:
    """NaN, which is above every number, and in no minimum or maximum of a row group."""
    rows = [{"id": 1, "v": 1.0, "s": {"v": 1.0}}, {"id": 2, "v": math.nan, "s": {"v": math.nan}}]
    put(s3.place, "n/1.parquet", parquet(pa.Table.from_pylist(rows)))
    put(s3.place, "n/2.parquet", parquet(pa.Table.from_pylist([{"id": 3, "v": None, "s": None}], pa.schema(
        [("id", pa.int64()), ("v", pa.float64()), ("s", pa.struct([("v", pa.float64())]))]
    ))))  # fmt: skip
    found = load(s3, "asked", {"path": "n/*"}, query=f"SELECT id FROM object WHERE {where} ORDER BY id")
    assert [row["id"] for row in found.rows] == ids


def test_a_query_over_any_format(s3: S3Source) -> None:
    put(s3.place, "t/year=2024/a.csv", b"code,n\n007,1\n010,2\n")
    put(s3.place, "t/year=2025/a.csv", b"code,n\n011,3\n")
    put(s3.place, "p/a.parquet", parquet(pa.table({"a": [1], "b": ["x"]})))
    put(s3.place, "p/b.parquet", parquet(pa.table({"b": ["y"], "a": [2]})))
    query = "SELECT year, code FROM object WHERE n > 1 ORDER BY code"
    got = load(s3, "asked", {"path": "t", "hive": True}, query=query)
    assert got.rows == [{"year": "2024", "code": "010"}, {"year": "2025", "code": "011"}]
    assert load(s3, "asked", {"path": "p/*"}, query="SELECT b FROM object WHERE a = 2").rows == [{"b": "y"}]


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ("SELECT * FROM 's3://{bucket}/a.csv'", ConfigError, "would guess its types"),
        ("SELECT * FROM 's3://{bucket}/b.parquet'", QueryError, "no object matches"),
        ("SELECT * FROM 's3://other/a.parquet'", Refused, "Cannot access"),
        ("SELECT * FROM read_csv('/etc/passwd')", Refused, "Cannot access"),
        ("SELECT nope FROM 's3://{bucket}/a.parquet'", QueryError, "nope"),
        ("SELECT * FROM schema", QueryError, "schema"),
        ("SELECT * FROM options", QueryError, "options"),
        ("SET python_enable_replacements = true", DataError, "locked"),
        ("SELEC 1", QueryError, "syntax"),
        ("CREATE TABLE t (a INT)", QueryError, "gives no rows"),
    ],
)  # fmt: skip
def test_queries_that_cannot_be(
    s3: S3Source, config: dict[str, Any], query: str, error: type[Exception], says: str
) -> None:
    put(s3.place, "a.csv", b"x\n1\n")
    put(s3.place, "a.parquet", parquet(pa.table({"a": [1]})))
    with pytest.raises(error, match=says):
        load(s3, "asked", query=query.format(**config))


# ---- ranges


def test_a_large_object_streams(s3: S3Source, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3.place, "f.parquet", parquet(NUMBERS, row_group_size=5_000, compression="none"))
    monkeypatch.setattr(objects, "FIRST_WINDOW_BYTES", 10_000)
    stream = s3.describe("f")
    with s3.plan([Selection(stream)], {}) as plan, counted_reads() as reads:
        batches = s3.read(plan.splits[0])
        next(batches)
        early = sum(end - start for _, start, end in reads)
        assert pa.Table.from_batches([*batches]).num_rows
    assert early < sum(end - start for _, start, end in reads) / 3


def test_windows_of_every_size(s3: S3Source, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 300
    put(s3.place, "x.bin", data)
    monkeypatch.setattr(objects, "FIRST_WINDOW_BYTES", 1000)
    monkeypatch.setattr(objects, "MOST_WINDOW_BYTES", 5000)
    [file] = s3.place.find("x.bin")
    with s3.place.content(file) as stream:
        assert not isinstance(stream, str)
        for size in (1, 999, 1000, 1001, 4999, 20_000):
            stream.seek(0)
            assert b"".join(iter(lambda size=size: stream.read(size), b"")) == data  # type: ignore[misc]
        for start, size in ((50_000, 10), (50_010, 7000), (3, 5), (len(data) - 3, 10), (len(data), 5)):
            stream.seek(start)
            assert stream.read(size) == data[start : start + size]
        assert stream.seek(-4, io.SEEK_END) == len(data) - 4
        assert stream.read() == data[-4:]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_an_object_that_is_replaced_while_it_is_read(
    s3: S3Source, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (b"x\n" + number * 200_000 for number in (b"1\n", b"2\n"))
    if name == "a.parquet":
        old, new = (parquet(part, row_group_size=5_000) for part in (NUMBERS, NUMBERS.slice(1)))
    put(s3.place, name, old)
    monkeypatch.setattr(objects, "FIRST_WINDOW_BYTES", 4096)
    monkeypatch.setattr(objects, "MOST_WINDOW_BYTES", 16_384)
    stream = s3.describe("a")
    with s3.plan([Selection(stream)], {}) as plan:
        batches = s3.read(plan.splits[0])
        if name == "a.parquet":
            next(batches)
        put(s3.place, name, new)
        with pytest.raises(DataError, match="changed while it was being read"):
            list(batches)
    with s3.plan([Selection(stream)], {}) as plan:  # of what is there now
        assert sum(batch.num_rows for batch in s3.read(plan.splits[0])) in (49_999, 200_000)
        remove(s3.place, name)
        with pytest.raises(QueryError, match="no such object"):
            list(s3.read(plan.splits[0]))


@pytest.mark.parametrize("fault", [Fault.cut, Fault.reset], ids=["cut", "reset"])
@pytest.mark.parametrize("at_byte", [0, 200, 3_000, 200_000])
def test_a_network_that_breaks_is_healed(
    moto: ObjectServer, config: dict[str, Any], fault: Any, at_byte: int
) -> None:
    data = b"x\n" + b"".join(b"%d\n" % n for n in range(100_000))
    with opened(config) as direct:
        put(direct.place, "a.csv", data)
    with faulty_network("127.0.0.1", moto.port) as network:
        with opened(config, endpoint_url=f"http://{network.host}:{network.port}") as s3:
            network.arm(fault(at_byte), times=2)
            got = load(s3, "a")
        assert network.fired == 2
    assert [row["x"] for row in got.rows] == list(range(100_000))


def test_a_network_that_falls_silent(moto: ObjectServer, config: dict[str, Any]) -> None:
    with opened(config) as direct:
        put(direct.place, "a.csv", b"x\n" + b"1\n" * 100_000)
    with faulty_network("127.0.0.1", moto.port) as network:
        url = f"http://{network.host}:{network.port}"
        with opened(config, endpoint_url=url, timeout_seconds=0.3) as s3:
            network.arm(Fault.half_open(50_000), times=1)
            assert len(load(s3, "a").rows) == 100_000
            assert network.fired == 1
            network.arm(Fault.half_open(0))
            with pytest.raises(Unreachable):
                load(s3, "a")


# ---- what goes wrong


def test_a_path_may_be_a_url(s3: S3Source, config: dict[str, Any]) -> None:
    put(s3.place, "raw/in/a.csv", b"x\n1\n")
    for prefix, path in (
        ("", "s3://{bucket}/raw/in/*.csv"),
        ("raw", "s3://{bucket}/raw/in/a.csv"),
        ("", "/raw/in"),
    ):
        got = load(opened(config, prefix=prefix), "t", {"path": path.format(**config), "with_file": False})
        assert got.rows == [{"x": 1}]
    for path in ("s3://other/raw/in/a.csv", "gs://{bucket}/raw/in/a.csv", "s3://{bucket}/a.csv"):
        with pytest.raises(ConfigError, match="is not below"):
            load(opened(config, prefix="raw"), "t", {"path": path.format(**config)})


def test_names_that_are_near(s3: S3Source) -> None:
    put(s3.place, "flights/2024/a.csv", b"x\n1\n")
    put(s3.place, "airports.csv", b"x\n1\n")
    for path, near in (("flihts/*.csv", "airports.csv, flights/"), ("flights/2023/x.csv", "2024/")):
        with pytest.raises(QueryError) as caught:
            s3.describe("t", s3.StreamOptions(path=path))
        assert near in caught.value.hint
    with pytest.raises(QueryError) as caught:
        s3.describe("flight")
    assert "airports, flights" in caught.value.hint


def test_a_key_that_no_path_can_name(moto: ObjectServer, config: dict[str, Any], s3: S3Source) -> None:
    s3_request(moto, "PUT", f"/{config['bucket']}/a//b.csv", body=b"x\n1\n")
    with pytest.raises(DataError, match="a key cannot be read"):
        list(s3.streams())


def test_half_a_key_is_a_mistake(config: dict[str, Any]) -> None:
    config.pop("secret_key")
    with pytest.raises(ConfigError, match="secret_key is missing"):
        opened(config).check()


@pytest.mark.parametrize("url", ["minio:9000", "http://169.254.169.254"])
def test_endpoints_that_are_refused(config: dict[str, Any], url: str) -> None:
    with pytest.raises(ConfigError):
        opened(config, endpoint_url=url).check()
