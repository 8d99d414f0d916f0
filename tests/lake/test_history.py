"""Histories against a model in plain Python: versions, ranges, late rows, deletes, re-opened keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.core.table import History
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits
from tests.lake.ground import load, table_in, unknown_files

TINY = Limits(row_group_rows=3, file_bytes=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [("id", pa.int64()), ("v", pa.string()), ("_asgard_valid_from", INSTANT), ("_asgard_valid_to", INSTANT)]
)
Version = tuple[int, str | None, int, int | None]
"""Key, value, first and last hour."""


def hour(number: int | None) -> datetime | None:
    return None if number is None else BEGIN + timedelta(hours=number)


def came(rows: Sequence[tuple[int, str | None, int]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([key for key, _, _ in rows], pa.int64()),
            pa.array([value for _, value, _ in rows], pa.string()),
            pa.array([hour(at) for _, _, at in rows], INSTANT),
            pa.nulls(len(rows), INSTANT),
        ],
        schema=SCHEMA,
    )


def by_load(table: LakeTable, at: int, rows: dict[int, str | None], *, whole: bool = False) -> None:
    """A load at an hour, by the commit's time."""
    batch = came([(key, value, at) for key, value in rows.items()])
    history = History(closes_at=hour(at) if whole else None)
    load(table, Mode.HISTORY, batch, f"t{at}", keys=("id",), history=history)


def by_cursor(table: LakeTable, *parts: Sequence[tuple[int, str | None, int]], token: str = "t") -> None:
    """A load of rows that say themselves since when they hold."""
    batches = [came(part) for part in parts]
    load(table, Mode.HISTORY, batches, token, keys=("id",), history=History(by_cursor=True))


def versions(table: LakeTable, at: int | None = None) -> list[Version]:
    found = []
    for row in table.scan(at=at).read_all().to_pylist():
        since, until = row["_asgard_valid_from"], row["_asgard_valid_to"]
        hours = [(moment - BEGIN) / timedelta(hours=1) if moment else None for moment in (since, until)]
        found.append((row["id"], row["v"], *hours))
    return sorted(found, key=lambda row: (row[0], row[2]))


def test_a_change_closes_the_version_before_and_begins_another(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a", 2: "b"})
    by_load(table, 2, {1: "a2"})
    by_load(table, 3, {1: "a2", 2: None})
    assert versions(table) == [(1, "a", 1, 2), (1, "a2", 2, None), (2, "b", 1, 3), (2, None, 3, None)]
    assert versions(table, at=1) == [(1, "a", 1, None), (2, "b", 1, None)]
    assert unknown_files(tmp_path) == set()


def test_rows_that_say_nothing_new_change_no_file(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a", 2: None})
    before = sorted(file.name for file in tmp_path.rglob("*.parquet"))
    by_load(table, 2, {1: "a", 2: None}, whole=True)
    assert sorted(file.name for file in tmp_path.rglob("*.parquet")) == before
    assert table.position("public.orders").token == "t2"  # type: ignore[union-attr]


def test_a_key_that_does_not_come_any_more_is_closed_and_opened_again(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a", 2: "b"}, whole=True)
    by_load(table, 2, {2: "b"}, whole=True)
    by_load(table, 3, {2: "b"}, whole=True)
    by_load(table, 4, {1: "a", 2: "b"}, whole=True)
    assert versions(table) == [(1, "a", 1, 2), (1, "a", 4, None), (2, "b", 1, None)]
    by_load(table, 5, {}, whole=True)
    assert versions(table) == [(1, "a", 1, 2), (1, "a", 4, 5), (2, "b", 1, 5)]


def test_a_clock_that_went_back_makes_no_version_before_those_that_are_there(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 9, {1: "a", 2: "x"}, whole=True)
    by_load(table, 5, {1: "b"}, whole=True)
    (first, second, gone) = versions(table)
    assert first[:3] == (1, "a", 9)
    assert first[3] == second[2] == pytest.approx(9)
    assert second[:2] == (1, "b")
    assert gone[3] == pytest.approx(9)
    assert gone[2] < gone[3]  # type: ignore[operator]


def test_a_late_row_goes_in_between_and_one_of_the_same_instant_corrects(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_cursor(table, [(1, "a", 1), (1, "c", 5)], [(2, "x", 1)])
    by_cursor(table, [(1, "b", 3), (2, "y", 1)])
    assert versions(table) == [(1, "a", 1, 3), (1, "b", 3, 5), (1, "c", 5, None), (2, "y", 1, None)]
    by_cursor(table, [(1, "0", 0), (1, "c", 5)])
    assert versions(table)[:2] == [(1, "0", 0, 1), (1, "a", 1, 3)]


def test_a_late_row_within_a_range_that_a_delete_ended_ends_there_too(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a"})
    by_load(table, 5, {}, whole=True)
    by_cursor(table, [(1, "b", 3), (1, "z", 8)])
    assert versions(table) == [(1, "a", 1, 3), (1, "b", 3, 5), (1, "z", 8, None)]


def test_reading_anew_keeps_the_history(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a"})
    by_load(table, 2, {1: "b"})
    table.accept("public.orders", resync=True)
    by_load(table, 3, {1: "b", 2: "n"}, whole=True)
    assert versions(table) == [(1, "a", 1, 2), (1, "b", 2, None), (2, "n", 3, None)]


def test_a_column_that_came_to_the_table_begins_versions(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a", 2: "b"})
    wider = came([(1, "a", 2), (2, "b", 2)])
    wider = wider.append_column("w", pa.array([1.5, None], pa.float64()))
    load(table, Mode.HISTORY, wider, "t2", keys=("id",), history=History())
    assert versions(table) == [(1, "a", 1, 2), (1, "a", 2, None), (2, "b", 1, None)]


def test_keys_that_the_source_has_no_more_end(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    by_load(table, 1, {1: "a", 2: "b", 3: "c"})
    by_load(table, 2, {2: "b2"})
    for at, left in ((3, [1, 2]), (4, [2]), (5, [])):
        keys = pa.RecordBatch.from_arrays([pa.array(left, pa.int64())], names=["id"])
        how = {
            "keys": ("id",),
            "vanished": True,
            "allow_missing": True,
            "history": History(closes_at=hour(at)),
        }
        load(table, Mode.HISTORY, keys, f"t{at}", **how)
    assert versions(table) == [(1, "a", 1, 4), (2, "b", 1, 2), (2, "b2", 2, 5), (3, "c", 1, 3)]
    by_load(table, 6, {3: "c"})
    assert versions(table)[-2:] == [(3, "c", 1, 3), (3, "c", 6, None)]


@pytest.mark.parametrize("by_its_cursor", [False, True])
def test_a_row_that_says_that_it_is_deleted_ends_its_key(tmp_path: Path, by_its_cursor: bool) -> None:
    table = table_in(tmp_path)
    loads: list[list[tuple[int, str, int, str | None]]] = [
        [(1, "a", 1, None), (2, "b", 1, "x"), (3, "c", 1, None)],
        [(1, "a", 2, "x")],
        [(1, "a", 3, "x"), (3, "c2", 3, None)],
        [(1, "a", 4, None)],
    ]
    for number, rows in enumerate(loads):
        gone = pa.array([row[3] for row in rows], pa.string())
        batch = came([row[:3] for row in rows]).append_column("gone", gone)
        history = History(by_cursor=by_its_cursor)
        load(table, Mode.HISTORY, batch, f"t{number}", keys=("id",), deleted="gone", history=history)
    assert versions(table) == [(1, "a", 1, 2), (1, "a", 4, None), (3, "c", 1, 3), (3, "c2", 3, None)]


def test_a_history_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="history needs a key"):
        load(table_in(tmp_path), Mode.HISTORY, came([]), "t", history=History())


TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.decimal128(38, 2), [Decimal("0.10"), Decimal("0.11"), None]),
    (pa.float64(), [0.0, -0.0, float("nan"), float("inf"), None]),
    (pa.binary(), [b"", b"\x00", None]),
    (pa.list_(pa.int64()), [[], [None], [1], None]),
    (pa.struct([("x", pa.string())]), [{"x": "a"}, {"x": None}, None]),
    (pa.timestamp("us"), [datetime(1, 1, 1), datetime(9999, 12, 31), None]),
]


@pytest.mark.parametrize(("kind", "values"), TYPES, ids=[str(kind) for kind, _ in TYPES])
def test_every_difference_of_a_value_is_a_version_and_none_is_no_version(
    tmp_path: Path, kind: pa.DataType, values: list[Any]
) -> None:
    table = table_in(tmp_path)
    for at, value in enumerate([value for value in values for _ in range(2)]):
        batch = came([(1, "same", at)]).append_column("x", pa.array([value], kind))
        load(table, Mode.HISTORY, batch, f"t{at}", keys=("id",), history=History())
    rows = table.scan().read_all().sort_by("_asgard_valid_from")
    assert repr(rows["x"].to_pylist()) == repr(pa.array(values, kind).to_pylist())


# ---- the model


class Model:
    """For each key its moments: a value from an hour on, or nothing."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[int, tuple[bool, str | None]]] = {}

    def put(self, key: int, value: str | None, at: int) -> None:
        line = self.lines.setdefault(key, {})
        before = [line[moment] for moment in sorted(line) if moment < at]
        if line.get(at) == (True, value):
            return
        if before and before[-1] == (True, value):
            line.pop(at, None)
        else:
            line[at] = (True, value)

    def close(self, key: int, at: int) -> None:
        line = self.lines[key]
        if line[max(line)][0]:
            line[at] = (False, None)

    def versions(self) -> list[Version]:
        found: list[Version] = []
        for key, line in sorted(self.lines.items()):
            moments = sorted(line)
            for moment, following in zip(moments, [*moments[1:], None], strict=True):
                if line[moment][0]:
                    found.append((key, line[moment][1], moment, following))
        return found


VALUES = st.sampled_from(["a", "b", None])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    loads=st.lists(
        st.tuples(st.dictionaries(st.integers(0, 4), VALUES, max_size=5), st.booleans()), max_size=6
    )
)
def test_loads_by_their_time_come_to_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, loads: list[tuple[dict[int, str | None], bool]]
) -> None:
    table, model = table_in(tmp_path_factory.mktemp("lake"), TINY), Model()
    first: tuple[dict[int, str | None], bool] = ({0: "a"}, True)
    for at, (rows, whole) in enumerate([first, *loads]):
        by_load(table, at, rows, whole=whole)
        for key, value in rows.items():
            model.put(key, value, at)
        for key in {*model.lines} - {*rows} if whole else ():
            model.close(key, at)
        assert versions(table) == model.versions()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    loads=st.lists(
        st.lists(
            st.tuples(st.integers(0, 2), VALUES, st.integers(0, 9)), max_size=4, unique_by=lambda r: r[::2]
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rows_with_their_own_time_come_to_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, loads: list[list[tuple[int, str | None, int]]]
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    table, model = table_in(lake, TINY), Model()
    for number, rows in enumerate(loads):
        by_cursor(table, rows, token=f"t{number}")
        for key, value, at in sorted(rows, key=lambda row: row[2]):
            model.put(key, value, at)
        assert versions(table) == model.versions()
    assert unknown_files(lake) == set()
