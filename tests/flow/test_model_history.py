"""Models that keep every version of a row: built whole or by what came, with late rows, under kills."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.app.models.plan import plan
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.core.stream import Mode
from tests.flow.lab import Lab
from tests.flow.test_incremental import RUN_BOUNDARIES
from tests.nursery import Nursery

DAY = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = "SELECT id, state FROM bronze.shop.orders"
BY_CHANGE = "SELECT id, state, changed FROM bronze.shop.orders WHERE id > 0"
BY_ID: dict[str, Any] = {"mode": "history", "primary_key": "id"}
SINCE: dict[str, Any] = {**BY_ID, "valid_from": "changed", "incremental": True}
Told = tuple[int | None, str, int]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.flow.nursery")
    yield nursery
    nursery.close()


def states(*rows: Told) -> pa.Table:
    """Rows of id, state, and the day on which it changed."""
    columns = {"id": pa.int64(), "state": pa.string(), "changed": pa.timestamp("us", "UTC")}
    found = [{"id": key, "state": state, "changed": DAY + timedelta(days=day)} for key, state, day in rows]
    return pa.Table.from_pylist(found, pa.schema(columns.items()))


def versions(lab: Lab) -> list[tuple[int, str, bool]]:
    """Key, state, and whether it still holds, by key and time; ranges of a key never overlap."""
    known: list[tuple[int, str, bool]] = []
    before: dict[str, Any] = {}
    for row in ranges(lab):
        if before.get("id") == row["id"]:
            assert before["until"] is not None, row
            assert before["until"] <= row["since"], row
        assert row["until"] is None or row["since"] < row["until"]
        before = row
        known.append((row["id"], row["state"], row["until"] is None))
    return known


def ranges(lab: Lab) -> list[dict[str, Any]]:
    workspace = lab.workspace()
    sql = "SELECT id, state, _asgard_valid_from AS since, _asgard_valid_to AS until FROM t ORDER BY id, since"
    with workspace.open_engine(64 << 20) as engine:
        engine.attach("t", workspace.table("silver.orders").mount())
        found: list[dict[str, Any]] = engine.query(sql).read_all().to_pylist()
    return found


def days(lab: Lab) -> list[tuple[int, str, int, int | None]]:
    """Key, state, and from which day to which it held."""
    return [
        (row["id"], row["state"], (row["since"] - DAY).days, row["until"] and (row["until"] - DAY).days)
        for row in ranges(lab)
    ]


def attempted(lab: Lab) -> Summary:
    return run(lab.workspace(), RunWish(), lambda event: None)


def refused(lab: Lab) -> str:
    """What a build that fails says, and what next."""
    (outcome,) = attempted(lab).outcomes
    assert outcome.error is not None
    assert outcome.error.hint
    assert outcome.error.where["model"] == "silver.orders"
    return outcome.error.what


def test_changes_ends_and_returns(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, **BY_ID)
    lab.load("shop.orders", states((1, "new", 0), (2, "new", 0)))
    assert lab.actions() == {"silver.orders": "whole"}
    assert lab.actions() == {"silver.orders": "nothing"}
    lab.load("shop.orders", states((1, "paid", 1)), Mode.REPLACE)
    lab.run()
    assert versions(lab) == [(1, "new", False), (1, "paid", True), (2, "new", False)]
    lab.load("shop.orders", states((1, "paid", 2), (2, "new", 2)), Mode.REPLACE)
    lab.run()
    there = [(1, "new", False), (1, "paid", True), (2, "new", False), (2, "new", True)]
    assert versions(lab) == there
    lab.run(full=True)
    assert versions(lab) == there, "to read everything again makes no version"


def test_versions_begin_when_the_row_says_so_and_late_ones_go_in_between(lab: Lab) -> None:
    lab.model("silver.orders", BY_CHANGE, **SINCE)
    lab.load("shop.orders", states((1, "new", 0), (1, "sent", 10), (2, "new", 3)))
    lab.run()
    assert days(lab) == [(1, "new", 0, 10), (1, "sent", 10, None), (2, "new", 3, None)]
    lab.load("shop.orders", states((1, "paid", 5), (2, "new", 7)))
    (outcome,) = lab.run().outcomes
    assert (outcome.about["action"], outcome.rows_read) == ("increment", 2)
    assert days(lab) == [
        (1, "new", 0, 5), (1, "paid", 5, 10), (1, "sent", 10, None), (2, "new", 3, 7), (2, "new", 7, None)
    ]  # fmt: skip


def test_what_was_changed_upstream_is_read_whole_because_keys_may_have_ended(lab: Lab) -> None:
    lab.model("silver.orders", BY_CHANGE, **SINCE)
    lab.load("shop.orders", states((1, "new", 0), (2, "new", 0)))
    lab.run()
    lab.load("shop.orders", states((1, "new", 0)), Mode.REPLACE)
    (outcome,) = lab.run().outcomes
    assert outcome.about["action"] == "whole"
    because = "bronze.shop.orders: rows went or were changed, and only all rows tell which keys ended"
    assert outcome.warnings == [f"built whole: {because}"]
    assert versions(lab) == [(1, "new", True), (2, "new", False)]


def test_a_table_that_was_replaced_becomes_a_history_and_never_the_other_way_round(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN)
    lab.load("shop.orders", states((1, "new", 0), (2, "new", 0)))
    lab.run()
    lab.model("silver.orders", PLAIN, **BY_ID)
    lab.run()
    assert versions(lab) == [(1, "new", True), (2, "new", True)]
    lab.load("shop.orders", states((1, "paid", 1), (2, "new", 0)), Mode.REPLACE)
    lab.run()
    there = [(1, "new", False), (1, "paid", True), (2, "new", True)]
    for front in ({}, {"mode": "append"}, {"mode": "merge", "primary_key": "id"}):
        lab.model("silver.orders", PLAIN, **front)
        assert refused(lab).startswith("the table holds a history, and mode:")
        (planned,) = plan(lab.workspace()).blocked
        assert planned.blocked.startswith("the table holds a history")
    assert versions(lab) == there


def test_checks_are_asked_of_versions(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, **BY_ID, checks=[{"unique": "id"}, {"not_null": "state"}])
    lab.load("shop.orders", states((1, "new", 0)))
    lab.run()
    lab.load("shop.orders", states((1, "paid", 1)), Mode.REPLACE)
    (outcome,) = lab.run().outcomes
    assert [one.passed for one in outcome.checks] == [True, True]


@pytest.mark.parametrize(
    ("rows", "front", "what"),
    [
        ([(None, "new", 0)], BY_ID, "the key column id is null in 1 of the rows"),
        ([(1, "new", 0), (1, "paid", 1)], BY_ID, "1 value of id comes more than once, in 2 of 2 rows"),
        ([(1, "new", 0), (1, "paid", 0)], SINCE, "1 value of id, _asgard_valid_from comes more than once"),
        ([(1, "new", 0)], {**BY_ID, "valid_from": "since"}, "the SELECT has no column 'since'"),
        ([(1, "new", 0)], {**BY_ID, "valid_from": "state"}, "valid_from: state is string"),
        ([(1, "new", 0)], {"mode": "history", "primary_key": "nr"}, "the key columns nr do not come"),
    ],
)
def test_what_can_be_no_version_is_refused(
    lab: Lab, rows: list[Told], front: dict[str, Any], what: str
) -> None:
    sql = BY_CHANGE if rows[0][0] else "SELECT id, state, changed FROM bronze.shop.orders"
    lab.model("silver.orders", sql, **front)
    lab.load("shop.orders", states(*rows))
    assert what in refused(lab)
    assert not lab.workspace().lake.table(lab.workspace().models[0].name).exists()


def test_a_version_whose_beginning_is_null_is_refused(lab: Lab) -> None:
    lab.model("silver.orders", "SELECT id, state, NULL::DATE AS changed FROM bronze.shop.orders", **SINCE)
    lab.load("shop.orders", states((1, "new", 0)))
    assert refused(lab).startswith("changed is null in 1 rows")


def test_kills_lose_no_version_and_make_none_twice(nursery: Nursery, lab: Lab) -> None:
    """The history of a log of changes is the same however often its builds were killed."""
    dice = random.Random(11)
    lab.model("silver.orders", BY_CHANGE, **SINCE)
    log: list[tuple[int, str, int]] = [(1, "a", 0)]
    lab.load("shop.orders", states(*log))
    kills, project = 0, lab.folder / "asgard.yml"
    for boundary in RUN_BOUNDARIES:
        taken = {(key, day) for key, _, day in log}
        free = [(key, day) for key in (1, 2, 3) for day in range(60) if (key, day) not in taken]
        came = [(key, dice.choice("abc"), day) for key, day in dice.sample(free, 2)]
        lab.load("shop.orders", states(*came))
        log += came
        status = nursery.run(project=project, kill_at=boundary)
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
    assert nursery.run(project=project) == 0
    assert kills >= len(RUN_BOUNDARIES) - 2
    assert days(lab) == _history_of(log)


def _history_of(log: list[tuple[int, str, int]]) -> list[tuple[int, str, int, int | None]]:
    """The same in plain Python: each row of the log holds until the next one of its key."""
    made: list[tuple[int, str, int, int | None]] = []
    for key in sorted({key for key, _, _ in log}):
        told = sorted((day, state) for one, state, day in log if one == key)
        ends = [*(day for day, _ in told[1:]), None]
        made += [(key, state, day, end) for (day, state), end in zip(told, ends, strict=True)]
    return made
