"""What the state machines found, each by itself."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from asgard.core.errors import Conflict
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, Table
from tests.lake.ground import (
    SCHEMA,
    STREAM,
    content,
    delta,
    load,
    mounted,
    rows,
    set_aside,
    table_in,
    token,
)
from tests.lake.iceberg.ground import as_any, iceberg_table

A, B = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")]
KEYS = pa.schema([("id", pa.int64())])


def keys_alone(table: Table, keys: list[int], *, widens: bool = False) -> None:
    """What is done at the end of a run with `detect_deletes: keys`."""
    batch = pa.RecordBatch.from_pylist([{"id": key} for key in keys], KEYS)
    request = LoadRequest(
        STREAM, Mode.MERGE, KEYS, keys=("id",), vanished=True, allow_missing=True, widens=widens
    )
    with table.load(request) as one:
        one.publish(one.prepare([one.stage([batch])]), one.position or Position())


@pytest.mark.parametrize("deed", ["delete", "update", "compact"])
def test_rows_that_delta_rs_wrote_anew_are_merged_with(tmp_path: Path, deed: str) -> None:
    """It writes strings in a type of Arrow's in which none can be left out of a batch."""
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows([*A, (7, "x")]), "1")
    load(table, Mode.APPEND, rows([(8, "x")]), "2")
    theirs: DeltaTable = delta(tmp_path)
    if deed == "delete":
        theirs.delete("id = 7")
    elif deed == "update":
        theirs.update({"v": "'x'"}, predicate="id = 7")
    else:
        theirs.optimize.compact()
    left = [] if deed == "delete" else [(7, "x")]
    load(table, Mode.MERGE, rows(B), "3", keys=("id",))
    assert content(table) == [(1, "a"), *B, *left, (8, "x")]
    keys_alone(table, [1, 8])
    assert content(table) == [(1, "a"), (8, "x")]


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_keys_alone_replace_nothing_while_a_resync_waits(tmp_path: Path, kind: str) -> None:
    """Somebody asks for a resync between a run's load and its look at the keys."""
    table = table_in(tmp_path) if kind == "delta" else as_any(iceberg_table(tmp_path))
    load(table, Mode.APPEND, rows(A), "1")
    table.accept(STREAM, resync=True)
    keys_alone(table, [1])
    assert (content(table), token(table)) == ([(1, "a")], None)
    load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    assert (content(table), token(table)) == (B, "2")  # the resync still waited


def test_keys_alone_that_are_wider_than_the_table_leave_its_rows(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    narrow = pa.schema([("id", pa.int16()), SCHEMA.field("v")])
    load(table, Mode.APPEND, rows(A, narrow), "1")
    keys_alone(table, [2], widens=True)
    assert content(table) == [(2, "a")]
    assert table.schema().field("id").type == pa.int64()


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
@pytest.mark.parametrize("resync", [False, True])
def test_what_an_undone_load_set_aside_stays_hidden_when_a_position_is_accepted(
    tmp_path: Path, resync: bool, kind: str
) -> None:
    table = table_in(tmp_path) if kind == "delta" else as_any(iceberg_table(tmp_path))
    load(table, Mode.APPEND, rows(A), "1", aside=set_aside([(50, "kept")]))
    load(table, Mode.APPEND, rows(B), "2", aside=set_aside([(51, "undone")]))
    table.undo()
    table.accept(STREAM, resync=resync)
    for _ in range(2):
        shown = table.quarantined()
        assert shown is not None
        assert [row[0] for row in mounted(shown)] == [50]
        table.accept(STREAM, resync=resync)


def test_a_stream_whose_first_load_met_a_restore_is_loaded_again(tmp_path: Path) -> None:
    """It is published on what the restore left; its position would be in doubt from its first day."""
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows(A), "1", stream="other")
    load(table, Mode.APPEND, rows(A), "2", stream="other")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        delta(tmp_path).restore(1)
        with pytest.raises(Conflict, match="changed the table"):
            one.publish(prepared, Position("1"))
    load(table, Mode.APPEND, rows(B), "1")
    assert (content(table), token(table)) == (sorted(A + B), "1")
