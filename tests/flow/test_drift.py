"""Drift under a contract, on the whole road: a scripted source, the real lake, the real engine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import DataError, SchemaChanged
from asgard.core.events import Kind
from asgard.core.stream import Mode
from asgard.engines.duckdb import DuckDBEngine
from asgard.quality.drift import Contract, Rule, rules
from tests.flow.scripted import SCHEMA, Script, rows
from tests.flow.test_ingest import Road

WIDER = SCHEMA.append(pa.field("extra", pa.string()))
TEXT = pa.schema([SCHEMA.field("id"), SCHEMA.field("v"), pa.field("n", pa.string())])


@pytest.fixture
def road(tmp_path: Path) -> Road:
    """A road whose table has one row."""
    road = Road(tmp_path / "lake")
    road.ingest(Script({"a": [rows((1, "x", 1))]}), Mode.APPEND)
    return road


def script(schema: pa.Schema, *values: tuple[Any, ...]) -> Script:
    return Script({"a": [rows(*values, schema=schema)]}, schema=schema)


def table_of(road: Road, *columns: str, at: int | None = None) -> list[dict[str, Any]]:
    found = road.table.scan(list(columns), at=at).read_all().to_pylist()
    return sorted(found, key=lambda row: row["id"])


def aside_of(road: Road) -> list[tuple[Any, ...]]:
    mount = road.table.quarantined()
    assert mount is not None
    with DuckDBEngine(64 * MEBIBYTE) as engine:
        engine.attach("aside", mount)
        found = engine.query("SELECT id, v, n, _asgard_reason AS reason FROM aside ORDER BY id").read_all()
    return [tuple(row.values()) for row in found.to_pylist()]


def told(road: Road) -> dict[str, Any]:
    return dict(road.told(Kind.SCHEMA_CHANGED)[-1].data)


# ---- columns


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE, Mode.REPLACE])
def test_a_new_column_that_is_left_out_is_counted(road: Road, mode: Mode) -> None:
    came = script(WIDER, (2, "y", 2, "new"), (3, "z", 3, None))
    outcome = road.ingest(came, mode, keys=("id",), contract=Contract(columns=Rule.DISCARD_VALUE))
    kept = [] if mode is Mode.REPLACE else [(1, "x", 1)]
    assert road.content() == [*kept, (2, "y", 2), (3, "z", 3)]
    assert "extra" not in road.table.schema().names
    assert outcome.as_dict()["schema_changes"]["discarded"] == {"extra": {"values": 1}}
    assert told(road)["discarded"] == {"extra": {"values": 1}}


def test_rows_with_a_new_column_are_set_aside_with_its_value(road: Road) -> None:
    came = script(WIDER, (2, "y", 2, "new"), (3, "z", 3, None))
    outcome = road.ingest(came, Mode.APPEND, contract=Contract(columns=Rule.DISCARD_ROW))
    assert road.content() == [(1, "x", 1), (3, "z", 3)]
    assert aside_of(road) == [(2, "y", 2, "schema_contract: extra is a new column: new")]
    assert outcome.commits[0].quarantined == 1
    assert outcome.discarded == {"extra": {"rows": 1}}


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.REPLACE])
def test_a_frozen_table_takes_no_new_column_and_loses_none(road: Road, mode: Mode) -> None:
    renamed = pa.schema([SCHEMA.field("id"), pa.field("w", pa.string()), SCHEMA.field("n")])
    with pytest.raises(SchemaChanged, match="w: is new, string; v: does not come any more") as caught:
        road.ingest(script(renamed, (2, "y", 2)), mode, contract=rules("freeze"))
    assert "--full-refresh" in caught.value.hint
    assert road.content() == [(1, "x", 1)]
    assert len(road.table.versions()) == 2


def test_a_column_that_vanished_and_one_that_came_keep_what_was_there(road: Road) -> None:
    renamed = pa.schema([SCHEMA.field("id"), pa.field("w", pa.string()), SCHEMA.field("n")])
    outcome = road.ingest(script(renamed, (2, "y", 2)), Mode.APPEND, contract=Contract(columns=Rule.EVOLVE))
    assert table_of(road, "id", "v", "w") == [
        {"id": 1, "v": "x", "w": None},
        {"id": 2, "v": None, "w": "y"},
    ]
    changes = outcome.as_dict()["schema_changes"]
    assert (changes["added"], changes["missing"]) == (["w"], ["v"])
    assert changes["renamed"] == [["v", "w"]]


def test_full_refresh_takes_what_comes(road: Road) -> None:
    road.ingest(script(WIDER, (2, "y", 2, "new")), contract=rules("freeze"), anew=True)
    assert table_of(road, "id", "extra") == [{"id": 2, "extra": "new"}]


# ---- types


def test_values_that_do_not_fit_become_null(road: Road) -> None:
    came = script(TEXT, (2, "y", "seven"), (3, "z", None))
    outcome = road.ingest(came, Mode.APPEND, contract=Contract(types=Rule.DISCARD_VALUE))
    assert road.content() == [(1, "x", 1), (2, "y", None), (3, "z", None)]
    assert outcome.discarded == {"n": {"values": 1}}


def test_rows_with_values_that_do_not_fit_are_set_aside_with_them(road: Road) -> None:
    came = script(TEXT, (2, "y", "seven"), (3, "z", None))
    road.ingest(came, Mode.MERGE, keys=("id",), contract=rules("discard_row"))
    assert road.content() == [(1, "x", 1), (3, "z", None)]
    assert aside_of(road) == [(2, "y", None, "schema_contract: n is no int64: seven")]


@pytest.mark.parametrize("rule", [None, Rule.FREEZE, Rule.EVOLVE])
def test_text_is_never_made_of_numbers_silently(road: Road, rule: Rule | None) -> None:
    with pytest.raises(SchemaChanged, match="n: the table has int64, string comes"):
        road.ingest(script(TEXT, (2, "y", "seven")), Mode.APPEND, contract=Contract(types=rule))
    assert road.content() == [(1, "x", 1)]


def test_a_key_is_never_left_out(road: Road) -> None:
    texts = pa.schema([pa.field("id", pa.string()), SCHEMA.field("v"), SCHEMA.field("n")])
    with pytest.raises(SchemaChanged, match="cannot be left out: id"):
        road.ingest(script(texts, ("a", "y", 2)), Mode.MERGE, keys=("id",), contract=rules("discard_value"))
    assert road.content() == [(1, "x", 1)]


# ---- in the middle of a stream


@pytest.mark.parametrize("contract", [Contract(), rules("evolve"), rules("freeze")])
def test_a_column_in_the_middle_of_a_stream_stops_all_of_it(road: Road, contract: Contract) -> None:
    came = Script({"a": [rows((2, "y", 2)), rows((3, "z", 3, "new"), schema=WIDER)]})
    with pytest.raises(SchemaChanged, match="extra came in the middle of the stream"):
        road.ingest(came, Mode.APPEND, contract=contract)
    assert road.content() == [(1, "x", 1)]


def test_a_column_in_the_middle_of_a_stream_is_discarded_by_the_same_rules(road: Road) -> None:
    def came() -> Script:
        return Script({"a": [rows((2, "y", 2)), rows((3, "z", 3, "new"), schema=WIDER)]})

    road.ingest(came(), Mode.APPEND, contract=rules("discard_row"))
    assert road.content() == [(1, "x", 1), (2, "y", 2)]
    assert aside_of(road) == [(3, "z", 3, "schema_contract: extra is a new column: new")]
    outcome = road.ingest(came(), Mode.MERGE, keys=("id",), contract=rules("discard_value"))
    assert road.content() == [(1, "x", 1), (2, "y", 2), (3, "z", 3)]
    assert outcome.discarded == {"extra": {"values": 1}}


def test_a_type_in_the_middle_of_a_stream_is_handled_by_value(road: Road) -> None:
    came = Script({"a": [rows((2, "y", 2)), rows((3, "z", "3"), (4, "w", None), schema=TEXT)]})
    with pytest.raises(DataError, match="cannot be carried as int64"):
        road.ingest(came, Mode.APPEND, contract=rules("evolve"))
    assert road.content() == [(1, "x", 1)]
    road.ingest(came, Mode.APPEND, contract=Contract(types=Rule.DISCARD_ROW))
    assert road.content() == [(1, "x", 1), (2, "y", 2), (4, "w", None)]


def test_of_numbers_the_values_decide(tmp_path: Path) -> None:
    narrow = pa.schema([SCHEMA.field("id"), pa.field("v", pa.decimal128(6, 2)), pa.field("n", pa.int32())])
    wide = pa.schema([SCHEMA.field("id"), pa.field("v", pa.decimal128(10, 3)), pa.field("n", pa.int64())])
    road = Road(tmp_path / "lake")
    road.ingest(script(narrow, (1, Decimal("1.25"), 1)), Mode.APPEND)
    came = script(wide, (2, Decimal("2.250"), 2**31 - 1), (3, Decimal("2.255"), 2**31))
    outcome = road.ingest(came, Mode.APPEND, contract=rules("discard_value"))
    assert road.content() == [(1, Decimal("1.25"), 1), (2, Decimal("2.25"), 2**31 - 1), (3, None, None)]
    assert outcome.discarded == {"n": {"values": 1}, "v": {"values": 1}}


# ---- wider types, for every mode


NARROW = pa.schema([SCHEMA.field("id"), SCHEMA.field("v"), pa.field("n", pa.int32())])
NARROW_KEY = pa.schema([pa.field("id", pa.int32(), nullable=False), SCHEMA.field("v"), SCHEMA.field("n")])


@pytest.mark.parametrize("mode", list(Mode)[:3])
def test_a_column_becomes_wider_under_evolve(tmp_path: Path, mode: Mode) -> None:
    road = Road(tmp_path / "lake")
    road.ingest(script(NARROW, (1, "x", 1), (2, "y", 2)), mode, keys=("id",))
    before = road.table.versions(1)[0].version
    came = script(SCHEMA, (2, "y", 2**40), (3, "z", 3))
    outcome = road.ingest(came, mode, keys=("id",), contract=Contract(types=Rule.EVOLVE))
    kept = {Mode.REPLACE: [], Mode.MERGE: [(1, "x", 1)], Mode.APPEND: [(1, "x", 1), (2, "y", 2)]}
    assert road.content() == [*kept[mode], (2, "y", 2**40), (3, "z", 3)]
    assert table_of(road, "id", "n", at=before) == [{"id": 1, "n": 1}, {"id": 2, "n": 2}]
    if mode is not Mode.REPLACE:
        assert outcome.as_dict()["schema_changes"]["rewritten"] == {"n": ["int32", "int64"]}


@pytest.mark.parametrize(("narrow", "whole"), [(NARROW, True), (NARROW, False), (NARROW_KEY, True)])
def test_a_history_whose_column_becomes_wider_has_no_new_versions_of_rows_that_say_the_same(
    tmp_path: Path, narrow: pa.Schema, whole: bool
) -> None:
    road = Road(tmp_path / "lake")
    mode = Mode.REPLACE if whole else Mode.MERGE
    wishes: dict[str, Any] = {"keys": ("id",), "history": "", "contract": Contract(types=Rule.EVOLVE)}
    road.ingest(script(narrow, (1, "x", 1), (2, "y", 2), (4, "w", -4)), mode, **wishes)
    outcome = road.ingest(script(SCHEMA, (1, "x", 1), (2, "y", 2**40), (4, "w", -4)), mode, **wishes)
    found = road.table.scan(["id", "n", "_asgard_valid_to"]).read_all().to_pylist()
    versions = sorted((row["id"], row["n"], row["_asgard_valid_to"] is None) for row in found)
    assert versions == [(1, 1, True), (2, 2, False), (2, 2**40, True), (4, -4, True)]
    assert outcome.evolution.rewritten
    assert road.table.schema().field("n").type == road.table.schema().field("id").type == pa.int64()


def test_waves_of_a_first_load_widen_the_table_once_and_tell_it_once(tmp_path: Path) -> None:
    road = Road(tmp_path / "lake")
    more = NARROW.append(pa.field("gone", pa.string()))
    road.ingest(script(more, (0, "x", 1, "stays")), Mode.APPEND)
    splits = {name: [rows((number, name, 2**40))] for number, name in enumerate("abcde", 1)}
    came = Script(splits, token="t", resumable=True)
    outcome = road.ingest(came, Mode.APPEND, contract=rules("evolve"))
    assert [row[0] for row in road.content()] == [0, 1, 2, 3, 4, 5]
    assert len(outcome.commits) == 3
    assert outcome.evolution.rewritten == {"n": ("int32", "int64")}
    assert outcome.evolution.missing == ("gone",)
    assert len(road.told(Kind.SCHEMA_CHANGED)) == 1
    assert table_of(road, "id", "gone")[:2] == [{"id": 0, "gone": "stays"}, {"id": 1, "gone": None}]
