"""Files: every format arrives exactly, sets of files are one table, new files are read once."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.connectors._files import sets as _file_sets
from asgard.connectors.files import FilesConfig, FilesSource
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, DataError, PositionLost, QueryError
from asgard.core.position import DONE, Position
from asgard.core.source import ReadSettings
from asgard.core.stream import Mode, Selection
from asgard.testing.connectors import read_all
from tests.connectors.reading import Loaded, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def put(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(plain) if name.endswith(".gz") else plain)
    return path


def source(path: Path, **config: Any) -> FilesSource:
    return FilesSource(FilesConfig.model_validate({"path": str(path), **config}), "tried")


def loaded(folder: Path, name: str, options: dict[str, Any] | None = None, **how: Any) -> Loaded:
    return load(source(folder), name, options, **how)


# ---- formats


def test_csv_is_typed_by_proof(folder: Path) -> None:
    lines = (
        "id,code,price,at,day,ok,note,none",
        "1,007,1.5,2024-01-01T10:00:00Z,2024-02-29,true,,",
        '2,010,2,2024-01-01T10:00:00.5Z,2024-03-01,false,"",',
    )
    put(folder, "a.csv.gz", "\n".join(lines))
    got = loaded(folder, "a")
    assert got.types == {
        "id": "int64", "code": "string", "price": "decimal128(18, 2)", "at": "timestamp[us, tz=UTC]",
        "day": "date32[day]", "ok": "bool", "note": "string", "none": "null",
    }  # fmt: skip
    assert got.rows[0] == {
        "id": 1, "code": "007", "price": Decimal("1.50"), "at": datetime(2024, 1, 1, 10, tzinfo=UTC),
        "day": date(2024, 2, 29), "ok": True, "note": None, "none": None,
    }  # fmt: skip
    assert [row["note"] for row in got.rows] == [None, ""]


def test_a_value_at_the_end_counts_as_much_as_the_first(folder: Path) -> None:
    put(folder, "a.csv", "x\n" + "1\n" * 300_000 + "0x1\n")
    got = loaded(folder, "a")
    assert got.types == {"x": "string"}
    assert len(got.rows) == 300_001


@pytest.mark.parametrize(
    ("name", "data", "options", "rows"),
    [
        ("a.tsv", "a\tb\n1\t2\n", {}, [{"a": 1, "b": 2}]),
        ("a.csv", "a;b\n1;2\n", {"delimiter": ";"}, [{"a": 1, "b": 2}]),
        ("a.txt", "a,b\n1,2\n", {"path": "a.txt", "format": "csv"}, [{"a": 1, "b": 2}]),
        ("a.txt", "a\tb\n1\t2\n", {"path": "a.txt", "file_type": "tsv"}, [{"a": 1, "b": 2}]),
        ("a.csv", "1,2\n", {"header": False}, [{"column_1": 1, "column_2": 2}]),
        ("a.csv", "report\na,b\n1,2\n", {"header": 2}, [{"a": 1, "b": 2}]),
        ("a.csv", "a,b\nNA,007\n", {"null_values": ["NA"], "columns": {"b": "int64"}}, [{"a": None, "b": 7}]),
        ("a.csv", "a,b\n1,2\n", {"types": "text"}, [{"a": "1", "b": "2"}]),
        ("a.csv", "a,b\n1,2\n", {"types": "text", "columns": {"b": "int64"}}, [{"a": "1", "b": 2}]),
        ("a.csv", "a,b\n1,2\n", {"exclude_columns": ["a"]}, [{"b": 2}]),
        ("a.csv", "a\nä\n".encode("utf-16"), {"encoding": "utf-16"}, [{"a": "ä"}]),
        ("a.json", '[{"a": 1}]', {}, [{"a": 1}]),
        ("a.json", '{"d": {"r": [{"a": 1}]}, "e": [{"b": 1}]}', {"records": "d.r"}, [{"a": 1}]),
        ("a.json", '[{"a": "ä"}]'.encode("latin-1"), {"encoding": "latin-1"}, [{"a": "ä"}]),
        ("a.jsonl", '{"a": 1}\n{"b": [1.10]}\n', {}, [{"a": 1, "b": None}, {"a": None, "b": "[1.1]"}]),
        ("a.ndjson", '{"a": 1, "b": 2}\n', {"exclude_columns": ["b"]}, [{"a": 1}]),
        ("a.jsonl", '{"a": "2024-01-01"}\n', {"columns": {"a": "date"}}, [{"a": date(2024, 1, 1)}]),
    ],
)  # fmt: skip
def test_options(
    folder: Path, name: str, data: str | bytes, options: dict[str, Any], rows: list[Any]
) -> None:
    put(folder, name, data)
    assert loaded(folder, "a", options).rows == rows


@pytest.mark.parametrize(
    ("name", "data", "where", "says"),
    [
        ("a.csv", "a,b\n1,2\n3\n", "a.csv:3", "has 1 fields, the header has 2"),
        ("a.csv.gz", "a,b\n1,2\n3\n", "a.csv.gz:3", "has 1 fields, the header has 2"),
        ("a.csv", 'a,b\n1,"2\n', "a.csv", "never closed"),
        ("a.csv", b"a\n\xff\n", "a.csv:2", "no utf-8"),
        ("a.json", '[{"a": 1},\n {"a" 2}]', "a.json:2:7", "this is no JSON"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "a.jsonl:2:7", "this is no JSON"),
        ("a.jsonl.gz", '{"a": 1}\n{"a": \n', "a.jsonl.gz:2:7", "this is no JSON"),
        ("a.parquet", b"PAR1 and then nothing", "a.parquet", "truncated or damaged"),
        ("a.parquet", b"", "a.parquet", "truncated or damaged"),
        ("a.xlsx", b"PK nothing", "a.xlsx", "no workbook, or is damaged"),
        ("a.csv", "", None, "nothing is in it, not even a header"),
        ("a.jsonl", "\n", None, "nothing is in it"),
    ],
)
def test_bad_files(folder: Path, name: str, data: str | bytes, where: str | None, says: str) -> None:
    put(folder, name, data)
    with pytest.raises(DataError, match=says) as caught:
        loaded(folder, "a", {"path": name})
    assert caught.value.hint
    assert caught.value.where.get("file") == where
    assert [stream.name for stream in source(folder).streams()] in (["a"], [])


def test_a_value_that_does_not_fit_what_is_asked_for(folder: Path) -> None:
    put(folder, "a.csv", "id,x\n1,5\n2,y\n")
    with pytest.raises(DataError, match="'y' is no int64") as caught:
        loaded(folder, "a", {"columns": {"x": "int64"}})
    assert caught.value.where == {"file": "a.csv", "column": "x"}
    with pytest.raises(QueryError, match="no column 'z'"):
        loaded(folder, "a", {"columns": {"z": "int64"}})


def test_a_zip_of_several_files(folder: Path) -> None:
    with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/2.csv", "a\n2\n")
        archive.writestr("x/1.csv", "a\n1\n")
    got = loaded(folder, "all")
    assert got.rows == [{"a": 1, "_file": "all.zip!x/1.csv"}, {"a": 2, "_file": "all.zip!x/2.csv"}]


# ---- Parquet


def test_parquet_keeps_its_types(folder: Path) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "d": pa.array([Decimal("1.10"), None], pa.decimal128(30, 2)),
            "t": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ms", "Europe/Berlin")),
            "l": pa.array([[1, 2], []], pa.list_(pa.int64())),
            "s": pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])),
            "b": pa.array([b"\xff", b""], pa.binary()),
        }
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=1)
    got = loaded(folder, "a")
    assert got.rows == table.to_pylist()
    assert got.schema.types == table.schema.types
    assert loaded(folder, "a", {"columns": {"i": "text"}, "exclude_columns": ["l", "s", "b"]}).types == {
        "i": "string", "d": "decimal128(30, 2)", "t": "timestamp[ms, tz=Europe/Berlin]",
    }  # fmt: skip


def test_parquet_files_of_one_set(folder: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"]}), folder / "1.parquet")
    pq.write_table(pa.table({"a": pa.array([2**40], pa.int64()), "c": pa.nulls(1)}), folder / "2.parquet")
    pq.write_table(pa.table({"c": [2.5]}), folder / "3.parquet")
    got = loaded(folder, "all", {"path": "*.parquet", "with_file": False})
    assert got.types == {"a": "int64", "b": "string", "c": "double"}
    assert got.rows == [
        {"a": 1, "b": "x", "c": None}, {"a": 2**40, "b": None, "c": None}, {"a": None, "b": None, "c": 2.5},
    ]  # fmt: skip
    pq.write_table(pa.table({"a": ["text"]}), folder / "4.parquet")
    with pytest.raises(DataError, match=r"column a is int64 in 1\.parquet, string in 4\.parquet"):
        loaded(folder, "all", {"path": "*.parquet"})
    with pytest.raises(DataError, match="is no int16"):
        loaded(folder, "a", {"path": "2.parquet", "columns": {"a": "int16"}})


def test_large_parquet_files_are_split_by_row_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file_sets, "SPLIT_BYTES", 4_000)
    pq.write_table(pa.table({"a": range(20_000)}), folder / "a.parquet", row_group_size=2_000)
    got = loaded(folder, "a", parallel=2)
    assert got.splits > 2
    assert sorted(row["a"] for row in got.rows) == list(range(20_000))


def test_packed_parquet_is_refused(folder: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), folder / "a.parquet")
    put(folder, "b.parquet.gz", (folder / "a.parquet").read_bytes())
    with pytest.raises(ConfigError, match="Parquet inside gzip") as caught:
        loaded(folder, "b", {"path": "b.parquet.gz"})
    assert "unpack" in caught.value.hint


# ---- what a folder has


def test_what_a_folder_has(folder: Path) -> None:
    for name in (
        "a.csv",
        "b.json",
        "b.csv",
        "deep/1.csv",
        "deep/er/2.csv.gz",
        "mixed/1.csv",
        "mixed/1.jsonl",
    ):
        put(folder, name, '[{"a": 1}]' if name.endswith("json") else "a\n1\n")
    for name in ("notes.txt", ".hidden.csv"):
        put(folder, name, "a\n1\n")
    found = {stream.full_name: stream for stream in source(folder).streams()}
    assert sorted(found) == ["a", "b.csv", "b.json", "deep"]
    assert found["deep"].cursor_candidates == ("_file",)
    assert found["a"].cursor_candidates == ()
    assert [stream.name for stream in source(folder).streams("d*")] == ["deep"]
    assert [row["_file"] for row in loaded(folder, "deep").rows] == ["deep/1.csv", "deep/er/2.csv.gz"]
    assert loaded(folder, "b.json").rows == [{"a": 1}]
    with pytest.raises(QueryError, match="no file for 'c'") as caught:
        loaded(folder, "c")
    assert "deep" in caught.value.hint
    with pytest.raises(QueryError, match="no file matches 'x/"):
        loaded(folder, "c", {"path": "x/*.csv"})
    with pytest.raises(QueryError, match="of no known format"):
        loaded(folder, "c", {"path": "notes.txt"})
    with pytest.raises(ConfigError, match="several formats"):
        loaded(folder, "c", {"path": "mixed"})


def test_one_file_as_a_source(folder: Path) -> None:
    path = put(folder, "a.csv", "a\n1\n")
    one = source(path)
    one.check()
    assert [stream.name for stream in one.streams()] == ["a"]
    assert load(one, "a").rows == [{"a": 1}]
    assert load(one, "whatever").rows == [{"a": 1}]
    strange = put(folder, "a.dat", "a\n1\n")
    assert load(source(strange, file_type="csv"), "x").rows == [{"a": 1}]


def test_names_with_signs_in_them(folder: Path) -> None:
    put(folder, "a [1]*.csv", "a\n1\n")
    put(folder, "a 1.csv", "a\n2\n")
    assert loaded(folder, "x", {"path": "a [1]*.csv"}).rows == [{"a": 1}]
    assert [row["a"] for row in loaded(folder, "x", {"path": "a*.csv"}).rows] == [2, 1]


def test_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no folder or file"):
        source(folder / "nope").check()
    with pytest.raises(ConfigError, match="take no query"):
        source(folder).describe("a", None, "SELECT 1")


def test_several_files_of_different_columns(folder: Path) -> None:
    put(folder, "x/1.csv", "id,a\n1,5\n")
    put(folder, "x/2.csv", "b,id\nz,2.5\n")
    put(folder, "x/3.csv", "")
    got = loaded(folder, "x")
    assert got.types == {"id": "decimal128(18, 2)", "a": "int64", "b": "string", "_file": "string file"}
    assert got.rows[1] == {"id": Decimal("2.50"), "a": None, "b": "z", "_file": "x/2.csv"}


def test_the_column_of_file_names(folder: Path) -> None:
    put(folder, "a.csv", "a\n1\n")
    put(folder, "b.csv", "_file\nmine\n")
    assert loaded(folder, "a", {"with_file": True}).rows == [{"a": 1, "_file": "a.csv"}]
    assert loaded(folder, "b").rows == [{"_file": "mine"}]
    assert loaded(folder, "b", {"path": "b*.csv"}).rows == [{"_file": "mine"}]
    with pytest.raises(ConfigError, match="a column _file of their own"):
        loaded(folder, "b", {"with_file": True})


# ---- new files only


def flights(folder: Path, number: int, rows: int = 2) -> Path:
    text = "id\n" + "".join(f"{number}{row}\n" for row in range(rows))
    return put(folder, f"flights/{number}.csv", text)


OPTIONS = {"path": "flights/*.csv"}
NEW = {"cursor": "_file"}


def ids(got: Loaded) -> list[int]:
    return sorted(row["id"] for row in got.rows)


def test_new_files_are_read_once(folder: Path) -> None:
    flights(folder, 1)
    first = loaded(folder, "flights", OPTIONS, **NEW)
    assert ids(first) == [10, 11]
    again = loaded(folder, "flights", OPTIONS, since=first.token, **NEW)
    assert (again.rows, again.splits, again.token) == ([], 0, first.token)
    flights(folder, 2)
    second = loaded(folder, "flights", OPTIONS, since=first.token, **NEW)
    assert ids(second) == [20, 21]
    (folder / "flights" / "1.csv").rename(folder / "1.csv")
    gone = loaded(folder, "flights", OPTIONS, since=second.token, **NEW)
    assert (gone.rows, gone.token) == ([], second.token)
    (folder / "1.csv").rename(folder / "flights" / "1.csv")
    assert loaded(folder, "flights", OPTIONS, since=second.token, **NEW).rows == []


def test_an_archive_with_one_file_more(folder: Path) -> None:
    def pack(*numbers: int) -> None:
        with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number in numbers:
                archive.writestr(f"{number}.csv", f"id\n{number}\n")

    pack(1, 2)
    first = loaded(folder, "all", **NEW)
    pack(1, 2, 3)
    assert ids(loaded(folder, "all", since=first.token, **NEW)) == [3]


def test_files_that_changed_after_they_were_loaded(folder: Path) -> None:
    flights(folder, 1)
    flights(folder, 2)
    first = loaded(folder, "flights", OPTIONS, **NEW)
    flights(folder, 1, rows=3)
    with pytest.raises(DataError, match=r"flights/1\.csv changed after it was loaded") as caught:
        loaded(folder, "flights", OPTIONS, since=first.token, **NEW)
    assert "primary_key" in caught.value.hint
    keyed = {**NEW, "primary_key": ("id",)}
    assert ids(loaded(folder, "flights", OPTIONS, since=first.token, **keyed)) == [10, 11, 12]
    reload = {**OPTIONS, "changed_files": "reload"}
    second = loaded(folder, "flights", reload, since=first.token, **NEW)
    assert ids(second) == [10, 11, 12]
    assert loaded(folder, "flights", OPTIONS, since=second.token, **NEW).rows == []
    with pytest.raises(DataError, match="changed after"):
        loaded(folder, "flights", {**OPTIONS, "changed_files": "refuse"}, since=first.token, **keyed)


def test_cursors_of_columns_are_refused(folder: Path) -> None:
    flights(folder, 1)
    with pytest.raises(ConfigError, match="from a value of id on") as caught:
        loaded(folder, "flights", OPTIONS, cursor="id")
    assert "cursor: _file" in caught.value.hint


def test_many_files_fit_into_a_position(folder: Path) -> None:
    for number in range(1500):
        (folder / f"{number:04}-{'long' * 10}.csv").write_text("a\n1\n")
    first = loaded(folder, "all", {"path": "*.csv", "types": "text"}, **NEW)
    assert first.token is not None
    assert len(first.token) < 60_000
    assert loaded(folder, "all", {"path": "*.csv", "types": "text"}, since=first.token, **NEW).rows == []


def test_a_half_read_plan_finds_its_files_as_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file_sets, "SPLIT_BYTES", 1)
    for number in (1, 2, 3):
        flights(folder, number)
    read = source(folder)
    options = read.StreamOptions.model_validate(OPTIONS)  # type: ignore[misc]
    selection = Selection(read.describe("flights", options), Mode.APPEND, cursor="_file", options=options)
    stream = selection.stream
    with read.plan([selection], {}) as plan:
        assert len(plan.splits) == 3
        assert stream.id in plan.resumable
        pending = plan.tokens[stream.id]
        half = Position(pending=pending, splits={plan.splits[0].id: DONE})
    flights(folder, 4)
    with source(folder).plan([selection], {stream.id: half}) as resumed:
        assert resumed.tokens[stream.id] == pending
        assert resumed.resumed == {stream.id}
        rows = read_all(source(folder), resumed.splits, stream.schema).to_pylist()
    assert sorted(row["id"] for row in rows) == [20, 21, 30, 31]
    assert ids(loaded(folder, "flights", OPTIONS, since=pending, **NEW)) == [40, 41]
    flights(folder, 2, rows=5)
    with pytest.raises(PositionLost, match=r"flights/2\.csv changed while its table was half loaded"):
        source(folder).plan([selection], {stream.id: half})
    (folder / "flights" / "3.csv").unlink()
    with pytest.raises(PositionLost):
        source(folder).plan([selection], {stream.id: half})


def test_a_file_that_comes_after_the_types_were_proved_waits(folder: Path) -> None:
    flights(folder, 1)
    read = source(folder)
    options = read.StreamOptions.model_validate(OPTIONS)  # type: ignore[misc]
    selection = Selection(read.describe("flights", options), Mode.APPEND, cursor="_file", options=options)
    put(folder, "flights/2.csv", "id,new\nx,y\n")
    with read.plan([selection], {}) as plan:
        assert read_all(read, plan.splits, selection.stream.schema).num_rows == 2
        assert list(json.loads(plan.tokens["flights"])["files"]) == ["flights/1.csv"]


def test_a_file_that_changes_under_the_reading_is_an_error(folder: Path) -> None:
    path = flights(folder, 1, rows=50_000)
    read = FilesSource(
        FilesConfig(path=str(folder)), "tried", ReadSettings(batch_bytes=1 << 16, cancel=Cancel())
    )
    selection = Selection(read.describe("flights"))
    with read.plan([selection], {}) as plan:
        batches = read.read(plan.splits[0])
        next(batches)
        about = path.stat()
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
        with pytest.raises(DataError, match="changed while it was being read"):
            list(batches)


def test_batches_are_about_as_large_as_asked(folder: Path) -> None:
    rows = 60_000
    put(folder, "a.csv", "a,b\n" + "1,some text\n" * rows)
    put(folder, "b.jsonl", '{"a": 1, "b": "some text"}\n' * rows)
    put(folder, "c.json", "[" + ",".join(['{"a": 1, "b": "some text"}'] * rows) + "]")
    pq.write_table(pa.table({"a": [1] * rows, "b": ["some text"] * rows}), folder / "d.parquet")
    read = FilesSource(
        FilesConfig(path=str(folder)), "tried", ReadSettings(batch_bytes=1 << 18, cancel=Cancel())
    )
    for name in "abcd":
        with read.plan([Selection(read.describe(name))], {}) as plan:
            batches = list(read.read(plan.splits[0]))
        assert sum(batch.num_rows for batch in batches) == rows
        assert max(batch.nbytes for batch in batches) < 1 << 20


# ---- partitions


def test_folders_are_columns(folder: Path) -> None:
    put(folder, "t/year=2024/town=New%20York/a.csv", "x\n1\n")
    put(folder, "t/year=2025/town=__HIVE_DEFAULT_PARTITION__/b.csv", "x\n2\n")
    got = loaded(folder, "t", {"path": "t", "hive": True, "columns": {"year": "int16"}, "with_file": False})
    assert got.types == {"x": "int64", "year": "int16", "town": "string"}
    assert got.rows == [{"x": 1, "year": 2024, "town": "New York"}, {"x": 2, "year": 2025, "town": None}]
    assert loaded(folder, "t", {"path": "t", "hive": True}).rows[0]["year"] == "2024"
    assert "year" not in loaded(folder, "t", {"path": "t"}).rows[0]


def test_partitions_that_do_not_fit(folder: Path) -> None:
    put(folder, "t/year=2024/a.csv", "x,year\n1,2023\n")
    with pytest.raises(ConfigError, match="have a column year of their own"):
        loaded(folder, "t", {"path": "t", "hive": True})
    chosen = {"path": "t", "hive": True, "exclude_columns": ["year"], "with_file": False}
    assert loaded(folder, "t", chosen).rows == [{"x": 1, "year": "2024"}]
    with pytest.raises(DataError, match="2024"):
        loaded(folder, "t", {**chosen, "columns": {"year": "date"}})
    put(folder, "t/b.csv", "x,year\n1,2023\n")
    with pytest.raises(DataError, match=r"b\.csv is partitioned by nothing|partitioned by year"):
        loaded(folder, "t", chosen)
