"""The road of one stream: a scripted source, the real lake, the real engine."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.budget import MEBIBYTE, Budget
from asgard.core.cancel import Cancel
from asgard.core.check import Check, OnFail
from asgard.core.errors import Cancelled, DataError, SchemaChanged, Unreachable, ValidationError
from asgard.core.events import Event, Kind
from asgard.core.stream import Mode, Selection
from asgard.core.table import Table, TableName
from asgard.engines.duckdb import DuckDBEngine
from asgard.flow.ingest import Pipeline, ingest
from asgard.flow.outcome import Outcome
from asgard.flow.retry import retrying
from asgard.flow.setting import Setting
from asgard.lake.delta.lake import DeltaLake
from tests.flow.scripted import SCHEMA, Script, ScriptedSource, rows

NAME = TableName("bronze", "scripted", "t")
POSITIVE = Check("non_negative", ("n",), name="n is not negative", on_fail=OnFail.STOP)


class Road:
    """A lake of its own, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.lake = DeltaLake(folder)
        self.events: list[Event] = []
        self.cancel = Cancel()

    @property
    def table(self) -> Table:
        return self.lake.table(NAME)

    def setting(self, run: str = "run-1", parallel: int = 2) -> Setting:
        return Setting(
            run=run,
            budget=Budget(512 * MEBIBYTE, parallel),
            cancel=self.cancel,
            emit=self.events.append,
            open_engine=DuckDBEngine,
            resolve=lambda name: self.lake.table(name).mount(),
            step=str(NAME),
        )

    def ingest(self, script: Script, mode: Mode = Mode.REPLACE, **wishes: Any) -> Outcome:
        keys, cursor = wishes.pop("keys", ()), wishes.pop("cursor", None)
        run = wishes.pop("run", "run-1")
        selection = Selection(script.stream, mode, keys, cursor)
        pipeline = Pipeline(ScriptedSource(script), selection, self.table, **wishes)
        return ingest(pipeline, self.setting(run))

    def content(self) -> list[tuple[Any, ...]]:
        if not self.table.exists():
            return []
        found = self.table.scan(["id", "v", "n"]).read_all().to_pylist()
        return sorted(tuple(row.values()) for row in found)

    def told(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(tmp_path / "lake")


def test_splits_are_read_in_parallel_into_one_commit(road: Road) -> None:
    together = threading.Barrier(2, timeout=30)

    def meet(split: str, number: int) -> None:
        if number == 0:
            together.wait()

    script = Script({"a": [rows((1, "x", 1)), rows((2, "y", 2))], "b": [rows((3, None, None))]}, on_read=meet)
    outcome = road.ingest(script)
    assert road.content() == [(1, "x", 1), (2, "y", 2), (3, None, None)]
    assert len(outcome.commits) == 1
    assert outcome.rows_read == outcome.commits[0].total_rows == 3
    assert len(script.threads) == 2


def test_rows_carry_when_and_by_which_run_they_came(road: Road) -> None:
    road.ingest(Script({"a": [rows((1, "x", 1))]}), run="run-7")
    (row,) = road.table.scan().read_all().to_pylist()
    assert row["_asgard_run_id"] == "run-7"
    assert row["extracted_at"].tzinfo is not None


@pytest.mark.parametrize("batch_rows", [0, 1, 2, 3])
def test_an_empty_stream_makes_an_empty_table_with_its_columns(road: Road, batch_rows: int) -> None:
    script = Script({"a": [rows(*[(n, "v", n) for n in range(batch_rows)])]})
    road.ingest(script)
    assert len(road.content()) == batch_rows
    assert road.table.schema().names[:3] == SCHEMA.names


def test_the_position_of_the_last_commit_is_where_the_next_plan_begins(road: Road) -> None:
    script = Script({"a": [rows((1, "x", 1))]}, token="t1")
    road.ingest(script, Mode.MERGE, keys=("id",), cursor="n")
    script.token, script.splits = "t2", {"a": [rows((1, "z", 5), (2, "y", 2))]}
    road.ingest(script, Mode.MERGE, keys=("id",), cursor="n")
    assert script.planned[0] is None or script.planned[0].token is None
    assert script.planned[1] is not None
    assert script.planned[1].token == "t1"
    assert [position.token for position in script.acknowledged] == ["t1", "t2"]
    assert road.content() == [(1, "z", 5), (2, "y", 2)]


def test_a_full_refresh_reads_from_the_beginning(road: Road) -> None:
    script = Script({"a": [rows((1, "x", 1))]}, token="t1")
    road.ingest(script, Mode.MERGE, keys=("id",), cursor="n")
    script.splits = {"a": [rows((9, "n", 9))]}
    road.ingest(script, Mode.REPLACE, keys=("id",), cursor="n", anew=True)
    assert script.planned[1] is None
    assert road.content() == [(9, "n", 9)]


def test_waves_of_a_resumable_plan_are_published_one_by_one_and_finished_later(road: Road) -> None:
    splits = {name: [rows((number, name, number))] for number, name in enumerate("abcde")}

    def die(split: str, number: int) -> None:
        if split == "d":
            raise Unreachable("the source went away")

    script = Script(splits, token="low", resumable=True, on_read=die)
    with pytest.raises(Unreachable) as caught:
        road.ingest(script, Mode.MERGE, keys=("id",), cursor="n")
    assert caught.value.where["source"] == "scripted"
    assert [row[1] for row in road.content()] == ["a", "b"], "the wave in flight is lost, no more"
    script.on_read = lambda split, number: None
    road.ingest(script, Mode.MERGE, keys=("id",), cursor="n")
    assert [row[1] for row in road.content()] == list("abcde")
    finishing, catching_up = script.planned[1], script.planned[2]
    assert finishing is not None
    assert finishing.half_read
    assert set(finishing.splits) == {"a", "b"}
    assert catching_up is not None
    assert (catching_up.token, catching_up.half_read) == ("low", False)


def test_a_failed_replace_leaves_the_last_good_version(road: Road) -> None:
    road.ingest(Script({"a": [rows((1, "good", 1))]}))

    def die(split: str, number: int) -> None:
        if number == 1:
            raise Unreachable("gone")

    with pytest.raises(Unreachable):
        road.ingest(Script({"a": [rows((2, "half", 2)), rows((3, "half", 3))]}, on_read=die))
    assert road.content() == [(1, "good", 1)]


def test_an_unreachable_source_is_tried_again_from_the_last_commit(road: Road) -> None:
    failures = iter([True, True, False])

    def stumble(split: str, number: int) -> None:
        if next(failures):
            raise Unreachable("not yet")

    script = Script({"a": [rows((1, "x", 1))]}, on_read=stumble)
    outcome = retrying(lambda: road.ingest(script), road.setting(), pauses=(0.0, 0.0, 0.0))
    assert road.content() == [(1, "x", 1)]
    assert outcome.commits[-1].total_rows == 1
    assert [event.data["attempt"] for event in road.told(Kind.RETRIED)] == [1, 2]


def test_what_trying_again_cannot_help_is_not_tried_again(road: Road) -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise DataError("bad")

    with pytest.raises(DataError):
        retrying(work, road.setting(), pauses=(0.0,))
    assert calls == [1]


def test_a_failing_check_publishes_nothing_and_names_itself(road: Road) -> None:
    road.ingest(Script({"a": [rows((1, "good", 1))]}, token="t1"), checks=(POSITIVE,))
    with pytest.raises(ValidationError) as caught:
        road.ingest(Script({"a": [rows((2, "bad", -2))]}, token="t2"), checks=(POSITIVE,))
    assert "n is not negative" in caught.value.hint
    assert road.content() == [(1, "good", 1)]


def test_bad_rows_are_set_aside_with_their_reason(road: Road) -> None:
    check = replace(POSITIVE, on_fail=OnFail.QUARANTINE)
    batch = rows((1, "good", 1), (2, "bad", -2), (3, "good", None), (4, "bad", -4))
    outcome = road.ingest(Script({"a": [batch]}), checks=(check,))
    assert road.content() == [(1, "good", 1), (3, "good", None)]
    assert outcome.commits[0].quarantined == 2
    aside = road.table.quarantined()
    assert aside is not None
    with DuckDBEngine(64 * MEBIBYTE) as engine:
        engine.attach("aside", aside)
        found = engine.query("SELECT id, _asgard_reason AS reason FROM aside ORDER BY id").read_all()
    assert found.to_pylist() == [
        {"id": 2, "reason": "n is not negative"},
        {"id": 4, "reason": "n is not negative"},
    ]
    (checked,) = road.told(Kind.CHECKED)
    assert checked.data["results"][0]["failed_rows"] == 2


def test_a_replace_replaces_what_was_set_aside_too(road: Road) -> None:
    check = replace(POSITIVE, on_fail=OnFail.QUARANTINE)
    for bad in (-2, -3):
        road.ingest(Script({"a": [rows((1, "good", 1), (2, "bad", bad))]}), checks=(check,))
    aside = road.table.quarantined()
    assert aside is not None
    with DuckDBEngine(64 * MEBIBYTE) as engine:
        engine.attach("aside", aside)
        assert engine.query("SELECT n FROM aside").read_all().to_pylist() == [{"n": -3}]


def test_a_merge_is_checked_as_the_table_would_be(road: Road) -> None:
    unique = Check("unique", ("v",), name="v is unique")
    road.ingest(Script({"a": [rows((1, "x", 1))]}, token="t1"), Mode.MERGE, keys=("id",), checks=(unique,))
    with pytest.raises(ValidationError):
        road.ingest(Script({"a": [rows((2, "x", 2))]}), Mode.MERGE, keys=("id",), checks=(unique,))
    road.ingest(Script({"a": [rows((1, "y", 1), (2, "x", 2))]}), Mode.MERGE, keys=("id",), checks=(unique,))
    assert road.content() == [(1, "y", 1), (2, "x", 2)]


def test_a_new_column_is_added_and_told(road: Road) -> None:
    road.ingest(Script({"a": [rows((1, "x", 1))]}), Mode.APPEND)
    wider = SCHEMA.append(pa.field("extra", pa.string()))
    outcome = road.ingest(Script({"a": [rows((2, "y", 2, "new"), schema=wider)]}, schema=wider), Mode.APPEND)
    assert outcome.evolution.added == ("extra",)
    assert road.told(Kind.SCHEMA_CHANGED)[0].data["added"] == ["extra"]
    found = road.table.scan(["id", "extra"]).read_all().to_pylist()
    assert sorted(found, key=lambda row: row["id"]) == [{"id": 1, "extra": None}, {"id": 2, "extra": "new"}]


def test_a_vanished_column_stops_the_load_unless_it_is_allowed(road: Road) -> None:
    road.ingest(Script({"a": [rows((1, "x", 1))]}), Mode.APPEND)
    narrower = pa.schema([SCHEMA.field("id"), SCHEMA.field("v")])
    script = Script({"a": [rows((2, "y"), schema=narrower)]}, schema=narrower)
    with pytest.raises(SchemaChanged, match="does not come any more"):
        road.ingest(script, Mode.APPEND)
    road.ingest(script, Mode.APPEND, allow_missing=True)
    assert road.content() == [(1, "x", 1), (2, "y", None)]


def test_names_that_the_lake_cannot_carry_are_mapped_and_checks_find_them(road: Road) -> None:
    odd = pa.schema([("order id", pa.int64()), ("Order ID", pa.int64()), ("extracted_at", pa.string())])
    check = Check("not_null", ("order id",), name="id is there")
    script = Script({"a": [rows((1, 2, "mine"), schema=odd)]}, schema=odd, keys=())
    road.ingest(script, checks=(check,))
    names = road.table.schema().names
    assert len(set(map(str.casefold, names))) == 5
    with pytest.raises(ValidationError):
        road.ingest(
            Script({"a": [rows((None, 2, "mine"), schema=odd)]}, schema=odd, keys=()), checks=(check,)
        )
    assert road.table.schema().names == names


def test_warnings_of_a_plan_reach_the_outcome_and_the_screen(road: Road) -> None:
    outcome = road.ingest(Script({"a": []}, warnings=["not safe"]))
    assert outcome.warnings == ["not safe"]
    assert road.told(Kind.WARNING)[0].data == {"what": "not safe"}


def test_a_cancel_stops_between_batches_and_publishes_nothing(road: Road) -> None:
    def cancel(split: str, number: int) -> None:
        if number == 1:
            road.cancel.cancel("enough")

    with pytest.raises(Cancelled, match="enough"):
        road.ingest(Script({"a": [rows((n, "x", n)) for n in range(50)]}, on_read=cancel))
    assert not road.table.exists()


@pytest.mark.parametrize("fault", [ValueError("foreign"), MemoryError()])
def test_a_foreign_error_in_one_split_stops_the_others(road: Road, fault: Exception) -> None:
    others: list[int] = []

    def fail(split: str, number: int) -> None:
        if split == "bad":
            raise fault
        others.append(number)

    long = [rows((n, "x", n)) for n in range(2000)]
    with pytest.raises(type(fault)):
        road.ingest(Script({"bad": [rows((0, "b", 0))], "long": long}, on_read=fail))
    assert len(others) < 2000
    assert not road.table.exists()


def test_values_that_do_not_fit_stop_the_load_by_name(road: Road) -> None:
    exact = pa.schema([("id", pa.int64()), ("at", pa.timestamp("ns"))])
    script = Script({"a": [rows((1, 1), schema=exact)]}, schema=exact, keys=())
    with pytest.raises(DataError, match="at") as caught:
        road.ingest(script)
    assert caught.value.hint
