"""The quarantine twin: seen with the commit of its load, grown with the table's columns, never half."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.delta.publish import Publisher
from asgard.lake.delta.table import LakeTable
from tests.lake.ground import SCHEMA, STREAM, content, load, mounted, rows, set_aside, table_in


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_in(tmp_path)


def seen(table: LakeTable) -> list[tuple[object, ...]]:
    mount = table.quarantined()
    return mounted(mount) if mount else []


def test_rows_are_seen_with_the_reason_once_the_load_is_committed(table: LakeTable) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows([(1, "a")])])])
        aside = one.quarantine([set_aside([(2, "b")], "not_null: v"), set_aside([(3, "c")], "between: id")])
        assert seen(table) == []
        commit = one.publish(prepared, Position("1"), aside)
    assert commit.quarantined == 2
    assert seen(table) == [(2, "b", "not_null: v"), (3, "c", "between: id")]
    assert content(table) == [(1, "a")]


def test_every_load_adds_its_rows(table: LakeTable) -> None:
    for number in range(3):
        load(table, Mode.APPEND, rows([(number, "ok")]), f"{number}", aside=set_aside([(number, "bad")]))
    load(table, Mode.APPEND, rows([]), "s", stream="other", aside=set_aside([(9, "bad")]))
    assert [row[0] for row in seen(table)] == [0, 1, 2, 9]


def test_a_replace_replaces_what_was_set_aside(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows([(1, "a")]), "1", aside=set_aside([(10, "bad")]))
    load(table, Mode.REPLACE, rows([(2, "b")]), "2", aside=set_aside([(20, "bad")]))
    assert [row[0] for row in seen(table)] == [20]
    load(table, Mode.APPEND, rows([(3, "c")]), "3", aside=set_aside([(30, "bad")]))
    assert [row[0] for row in seen(table)] == [20, 30]
    load(table, Mode.REPLACE, rows([(4, "d")]), "4")
    assert seen(table) == []
    table.undo()
    assert [row[0] for row in seen(table)] == [20, 30]
    table.accept(STREAM, resync=True)
    assert [row[0] for row in seen(table)] == [20, 30]
    load(table, Mode.APPEND, rows([(5, "e")]), "5", aside=set_aside([(50, "bad")]))
    assert [row[0] for row in seen(table)] == [50]
    table.undo()
    assert [row[0] for row in seen(table)] == [20, 30]
    assert table.position(STREAM) is None
    load(table, Mode.APPEND, rows([(6, "f")]), "6")
    assert content(table) == [(6, "f")]


def test_undo_step_by_step_shows_what_belonged_to_each_version(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows([(1, "a")]), "1", aside=set_aside([(10, "bad")]))
    load(table, Mode.REPLACE, rows([(2, "b")]), "2", aside=set_aside([(20, "bad")]))
    load(table, Mode.APPEND, rows([(3, "c")]), "3", aside=set_aside([(30, "bad")]))
    load(table, Mode.REPLACE, rows([(4, "d")]), "4", aside=set_aside([(40, "bad")]))
    load(table, Mode.APPEND, rows([(5, "e")]), "5", aside=set_aside([(50, "bad")]))
    for left in ([40], [20, 30], [20], [10]):
        table.undo()
        assert [row[0] for row in seen(table)] == left
    load(table, Mode.APPEND, rows([(6, "f")]), "6", aside=set_aside([(60, "bad")]))
    assert [row[0] for row in seen(table)] == [10, 60]
    load(table, Mode.APPEND, rows([(7, "g")]), "7")
    assert [row[0] for row in seen(table)] == [10, 60]  # what was undone does not come back


def test_undo_of_a_whole_run_shows_what_was_set_aside_before_it(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows([(1, "a")]), "1", run="r1", aside=set_aside([(10, "bad")]))
    load(table, Mode.REPLACE, rows([(2, "b")]), "2", run="r2", aside=set_aside([(20, "bad")]))
    load(table, Mode.APPEND, rows([(3, "c")]), "s", run="r2", stream="other", aside=set_aside([(30, "bad")]))
    table.undo("r2")
    assert [row[0] for row in seen(table)] == [10]
    assert content(table) == [(1, "a")]


def test_rows_of_a_load_that_was_left_are_gone(table: LakeTable, tmp_path: Path) -> None:
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        one.quarantine([set_aside([(2, "b")])])
    assert table.quarantined() is None
    assert list(tmp_path.rglob("*.parquet")) == []


def test_rows_of_a_failed_commit_are_never_seen(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    load(table, Mode.APPEND, rows([(1, "a")]), "1", aside=set_aside([(10, "kept")]))

    def failed(self: Publisher, change: object, number: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Publisher, "_commit", failed)
    for _ in range(2):
        with pytest.raises(Exception, match="Input/output error"):
            load(table, Mode.APPEND, rows([(2, "b")]), "2", aside=set_aside([(20, "lost")]))
    monkeypatch.undo()
    for number in range(4):
        assert [row[0] for row in seen(table)] == [10, *range(30, 30 + number)]
        load(table, Mode.APPEND, rows([(2, "b")]), "2", aside=set_aside([(30 + number, "kept")]))


def test_it_grows_with_the_columns_and_begins_anew_with_other_types(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows([]), "1", aside=set_aside([(1, "a")]))
    wider = pa.schema([*SCHEMA, ("n", pa.timestamp("us"))])
    grown = set_aside([(2, "b")]).append_column("n", pa.nulls(1, pa.timestamp("us")))
    load(table, Mode.APPEND, pa.RecordBatch.from_pylist([], wider), "2", aside=grown)
    assert seen(table) == [(1, "a", None, "bad"), (2, "b", None, "bad")]
    other = pa.schema([("id", pa.string()), ("_asgard_reason", pa.string())])
    load(
        table,
        Mode.REPLACE,
        pa.RecordBatch.from_pylist([], pa.schema([("id", pa.string())])),
        "3",
        aside=pa.RecordBatch.from_pylist([{"id": "x", "_asgard_reason": "y"}], other),
    )
    assert seen(table) == [("x", "y")]
    table.undo()
    assert seen(table) == [(1, "a", None, "bad"), (2, "b", None, "bad")]
