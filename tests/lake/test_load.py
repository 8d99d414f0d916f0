"""Loads: the modes, what they report, what they refuse, and that nothing shows before the commit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.errors import Bug, ConfigError, Conflict, DataError, QueryError
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, TableName
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.delta.table import LakeTable
from tests.lake.ground import (
    NAME,
    SCHEMA,
    STREAM,
    content,
    delta,
    folder_of,
    load,
    mounted,
    rows,
    table_in,
    token,
    unknown_files,
    values,
)

A, B, C = [(1, "a"), (2, "a"), (3, "a")], [(3, "b"), (4, "b")], [(4, "c"), (5, "c")]


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_in(tmp_path)


def test_append_adds_rows_and_moves_the_position(table: LakeTable) -> None:
    first = load(table, Mode.APPEND, rows(A), "1")
    second = load(table, Mode.APPEND, [rows(B), rows(C)], "2")
    assert content(table) == sorted(A + B + C)
    assert token(table) == "2"
    assert (first.rows_added, first.rows_removed, first.total_rows) == (3, 0, 3)
    assert (second.rows_added, second.rows_removed, second.total_rows) == (4, 0, 7)
    assert second.version == first.version + 1
    assert second.bytes_added == sum(file.stat().st_size for file in newest_files(table, first.version))


def newest_files(table: LakeTable, since: int) -> list[Path]:
    before = set(table.mount(since).files)
    return [Path(path) for path in table.mount().files if path not in before]


def test_replace_takes_every_row_out_and_puts_the_new_in(table: LakeTable) -> None:
    load(table, Mode.REPLACE, rows(A), "1")
    commit = load(table, Mode.REPLACE, rows(B), "2")
    assert content(table) == B
    assert (commit.rows_added, commit.rows_removed, commit.total_rows) == (2, 3, 2)


def test_merge_keeps_one_row_a_key(table: LakeTable) -> None:
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    commit = load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    assert content(table) == [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
    assert (commit.rows_added, commit.rows_removed, commit.total_rows) == (2, 1, 4)


def test_merge_writes_only_files_anew_that_hold_a_key(table: LakeTable) -> None:
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    load(table, Mode.MERGE, rows([(10, "x"), (11, "x")]), "2", keys=("id",))
    (kept,) = [path for path in table.mount().files if pq.read_table(path).num_rows == 3]
    load(table, Mode.MERGE, rows([(11, "y"), (12, "y")]), "3", keys=("id",))
    assert kept in table.mount().files
    assert content(table) == [(1, "a"), (10, "x"), (11, "y"), (12, "y"), (2, "a"), (3, "a")]


@pytest.mark.parametrize(
    ("order_by", "kept"), [("", (7, "early", 1)), ("n", (7, "newest", 9))], ids=["last staged", "greatest"]
)
def test_of_rows_with_one_key_in_a_load_one_stays(
    table: LakeTable, order_by: str, kept: tuple[object, ...]
) -> None:
    schema = pa.schema([*SCHEMA, ("n", pa.int64())])
    batches = [
        pa.RecordBatch.from_pylist([{"id": 7, "v": "late", "n": 5}, {"id": 1, "v": "x", "n": None}], schema),
        pa.RecordBatch.from_pylist(
            [{"id": 7, "v": "newest", "n": 9}, {"id": 7, "v": "early", "n": 1}], schema
        ),
    ]
    for mode in (Mode.MERGE, Mode.APPEND):
        other = LakeTable(NAME, Path(f"{table._folder}-{mode}"))
        commit = load(other, mode, batches, "1", keys=("id",), order_by=order_by)
        assert content(other) == sorted([(1, "x", None), kept], key=repr)
        assert (commit.rows_added, commit.total_rows) == (2, 2)


def test_append_leaves_rows_as_they_are_whose_key_is_there(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1", keys=("id",), keep_existing=True)
    commit = load(table, Mode.APPEND, rows(B), "2", keys=("id",), keep_existing=True)
    assert content(table) == [(1, "a"), (2, "a"), (3, "a"), (4, "b")]
    assert (commit.rows_added, commit.rows_removed, commit.total_rows) == (1, 0, 4)
    again = load(table, Mode.APPEND, rows(A), "3", keys=("id",), keep_existing=True, keys_unique=True)
    assert (again.rows_added, token(table)) == (0, "3")
    assert unknown_files(Path(str(table._folder)).parents[2]) == set()


def test_composite_keys_of_many_types(table: LakeTable) -> None:
    schema = pa.schema(
        [("d", pa.date32()), ("n", pa.decimal128(30, 2)), ("t", pa.timestamp("us", "UTC")), ("v", pa.int64())]
    )

    def batch(low: int, high: int, value: int) -> pa.RecordBatch:
        numbers = pa.array(range(low, high), pa.int64())
        columns = [
            numbers.cast(pa.int32()).cast(pa.date32()),
            numbers.cast(pa.decimal128(30, 2)),
            numbers.cast(pa.timestamp("us", "UTC")),
            pa.array([value] * len(numbers), pa.int64()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    load(table, Mode.MERGE, batch(0, 100, 1), "1", keys=("d", "n", "t"), keys_unique=True)
    load(table, Mode.MERGE, batch(90, 110, 2), "2", keys=("d", "n", "t"))
    found = table.scan(["v"]).read_all().column(0).to_pylist()
    assert (found.count(1), found.count(2)) == (90, 20)


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.APPEND, Mode.MERGE])
def test_a_load_without_rows_moves_the_position(table: LakeTable, mode: Mode) -> None:
    keys = ("id",) if mode is Mode.MERGE else ()
    load(table, mode, rows([]), "0", keys=keys)
    assert (content(table), token(table), table.exists()) == ([], "0", True)
    load(table, mode, rows(A), "1", keys=keys)
    commit = load(table, mode, rows([]), "2", keys=keys)
    assert token(table) == "2"
    assert content(table) == ([] if mode is Mode.REPLACE else A)
    assert commit.rows_added == 0


def test_nothing_shows_before_the_commit(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(A)])])
        assert mounted(prepared.mount()) == A
        assert not table.exists()
        assert table.position(STREAM) is None
        one.publish(prepared, Position("1"))
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        assert one.position == Position("1")
        staged = one.stage([rows(B)])
        prepared = one.prepare([staged])
        assert mounted(prepared.fresh()) == B
        assert mounted(prepared.mount()) == [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
        assert content(table) == A


def test_leaving_a_load_without_publishing_leaves_nothing(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    files = sorted(folder_of(tmp_path).rglob("*"))
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        one.prepare([one.stage([rows(B)]), one.stage([rows(C)])])
    assert sorted(folder_of(tmp_path).rglob("*")) == files
    assert (content(table), token(table)) == (A, "1")


def test_an_error_while_staging_leaves_no_file_of_it(table: LakeTable, tmp_path: Path) -> None:
    def batches() -> object:
        yield rows(A)
        raise ValueError("the source broke")

    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        with pytest.raises(ValueError, match="the source broke"):
            one.stage(batches())
        assert list(folder_of(tmp_path).glob("*.parquet")) == []


def test_prepare_may_be_called_again_with_other_files(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        bad = one.stage([rows([(1, "bad"), (9, "bad")])])
        one.prepare([bad])
        good = one.stage([rows(B)])
        one.discard(bad)
        one.publish(one.prepare([good]), Position("2"))
    assert content(table) == [(1, "a"), (2, "a"), (3, "b"), (4, "b")]
    assert unknown_files(tmp_path) == set()


def test_staged_files_can_be_sent_between_processes(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        staged = pickle.loads(pickle.dumps(one.stage([rows(A)])))
        assert (staged.rows, staged.size_bytes) == (3, sum(f.size_bytes for f in staged.files))
        one.publish(one.prepare([staged]), Position("1"))
    assert content(table) == A


def test_a_load_is_published_once(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(A)])])
        one.publish(prepared, Position("1"))
        with pytest.raises(Bug):
            one.publish(prepared, Position("2"))
    with pytest.raises(Bug):
        one.stage([rows(B)])
    assert content(table) == A


def test_a_null_in_a_key_is_refused(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        staged = one.stage(
            [pa.RecordBatch.from_pylist([{"id": None, "v": "x"}, {"id": 1, "v": "y"}], SCHEMA)]
        )
        with pytest.raises(DataError, match="key column id is null in 1 of the rows"):
            one.prepare([staged])


def test_a_null_in_a_key_behind_many_columns_is_refused(table: LakeTable) -> None:
    schema = pa.schema([*[(f"c{n}", pa.int64()) for n in range(50)], ("id", pa.int64())])
    with table.load(LoadRequest(STREAM, Mode.MERGE, schema, keys=("id",))) as one:
        staged = one.stage([pa.RecordBatch.from_pylist([{"c1": 1}], schema)])
        with pytest.raises(DataError, match="key column id is null"):
            one.prepare([staged])


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"mode": Mode.MERGE}, "merge needs a key"),
        ({"mode": Mode.MERGE, "keys": ("nothing",)}, "nothing do not come"),
        ({"mode": Mode.HISTORY}, "history needs a key"),
        ({"mode": Mode.MERGE, "keys": ("id",), "order_by": "when"}, "when do not come"),
    ],
)
def test_wishes_that_cannot_be(table: LakeTable, wish: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        table.load(LoadRequest(STREAM, schema=SCHEMA, **wish))
    assert caught.value.where["table"] == "bronze.shop.orders"


def test_a_file_of_another_type_cannot_be_staged(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        staged = one.stage([rows(B)])
        file = folder_of(tmp_path) / staged.files[0].path
        pq.write_table(pa.table({"id": ["x", "y"], "v": ["x", "y"]}), file)
        padding = staged.files[0].size_bytes - file.stat().st_size
        wrong = pickle.loads(pickle.dumps(staged))
        object.__setattr__(wrong.files[0], "size_bytes", staged.files[0].size_bytes - padding)
        with pytest.raises(DataError, match="id is string, not int64"):
            one.prepare([wrong])
    assert content(table) == A


def test_a_value_that_does_not_fit_is_refused_by_name(table: LakeTable) -> None:
    load(table, Mode.APPEND, pa.record_batch({"n": pa.array([1], pa.int8())}), "1")
    with (
        table.load(LoadRequest(STREAM, Mode.APPEND, pa.schema([("n", pa.int8())]))) as one,
        pytest.raises(DataError, match=r"n.*300") as caught,
    ):
        one.stage([pa.record_batch({"n": pa.array([300], pa.int64())})])
    assert caught.value.where["column"] == "n"


def test_a_truncated_staged_file_is_refused(table: LakeTable, tmp_path: Path) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        staged = one.stage([rows(A)])
        prepared = one.prepare([staged])
        path = folder_of(tmp_path) / staged.files[0].path
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(DataError, match="bytes instead of"):
            one.publish(prepared, Position("1"))
    assert not path.exists()


def test_vacuum_between_staging_and_publishing_is_noticed(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        deleted = delta(tmp_path).vacuum(0, enforce_retention_duration=False, dry_run=False, full=True)
        assert len(deleted) == 1
        with pytest.raises(Conflict, match="deleted before the commit"):
            one.publish(prepared, Position("2"))
    assert (content(table), token(table)) == (A, "1")


def test_vacuum_leaves_positions_alone(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    delta(tmp_path).vacuum(0, enforce_retention_duration=False, dry_run=False, full=True)
    delta(tmp_path).optimize.compact()
    assert token(table) == "1"
    load(table, Mode.APPEND, rows(C), "2")
    assert (content(table), token(table)) == (A + C, "2")


def test_streams_of_one_table_have_positions_of_their_own(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1", stream="one")
    load(table, Mode.APPEND, rows(C), "7", stream="Öther/%stream\n")
    assert (token(table, "one"), token(table, "Öther/%stream\n"), token(table, "none")) == ("1", "7", None)


def test_readers_of_delta_see_the_same(table: LakeTable, tmp_path: Path) -> None:
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    theirs = pa.RecordBatchReader.from_stream(delta(tmp_path).scan()).read_all()
    assert values(theirs) == content(table) == mounted(table.mount())
    assert values(delta(tmp_path).to_pyarrow_dataset().to_table()) == content(table)


def test_versions_tell_what_was_done_by_which_run(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1", run="run-1")
    load(table, Mode.MERGE, rows(B), "2", keys=("id",), run="run-2")
    told = [(version.operation, version.run, version.rows_added) for version in table.versions()]
    assert told == [("merge", "run-2", 2), ("append", "run-1", 3), ("create table", "run-1", None)]
    assert [version.version for version in table.versions(2)] == [2, 1]


def test_time_travel(table: LakeTable) -> None:
    first = load(table, Mode.REPLACE, rows(A), "1")
    load(table, Mode.REPLACE, pa.record_batch({"other": ["x"]}), "2")
    assert content(table, first.version) == A
    assert table.schema(first.version).names == ["id", "v"]
    assert table.schema().names == ["other"]
    instant = table.versions()[1].at
    assert mounted(table.mount(instant)) == A
    with pytest.raises(QueryError, match="no version at 99") as caught:
        table.mount(99)
    assert "versions 0 to 2" in caught.value.hint


def test_scan_takes_columns_and_predicates(table: LakeTable) -> None:
    load(table, Mode.APPEND, [rows(A), rows(C)], "1")
    assert values(table.scan(["v"], "id >= 3").read_all()) == [("a",), ("c",), ("c",)]
    assert values(table.scan(["v", "id"], at=1).read_all())[0] == ("a", 1)
    with pytest.raises(QueryError, match="no column nothing"):
        table.scan(["nothing"])
    with pytest.raises(QueryError, match="nothing"):
        table.scan(where="nothing > 3").read_all()


def test_a_table_that_is_not_there(table: LakeTable) -> None:
    assert not table.exists()
    assert table.position(STREAM) is None
    assert table.quarantined() is None
    for ask in (table.schema, table.mount, table.scan, table.versions):
        with pytest.raises(QueryError, match=r"no table bronze\.shop\.orders"):
            ask()


@pytest.mark.parametrize("name", ["or ders", "Ünï", "100%", "a~b", "a=b", "weird#name?"])
def test_tables_are_found_under_their_names(tmp_path: Path, name: str) -> None:
    lake = DeltaLake(tmp_path)
    names = [TableName("bronze", "shop", name), TableName("gold", "", name)]
    for one in names:
        load(table_in(tmp_path, name=one), Mode.APPEND, rows(A), "1")
    with lake.table(TableName("silver", "", "never")).load(LoadRequest("s", Mode.APPEND, SCHEMA)):
        pass
    assert list(lake.tables()) == sorted(names)
    assert content(table_in(tmp_path, name=names[0])) == A


def test_a_lake_at_a_path_that_delta_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="%"):
        DeltaLake(tmp_path / "100%")
