"""Defects put into a day: none of them reaches a table that people use, and no good row is held back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.app.quality_project import CHECKS, QualityProject, orders

Row = dict[str, Any]
DEFECTS: dict[str, Callable[[Row, random.Random], Row]] = {
    "no id": lambda row, _: row | {"id": None},
    "no customer": lambda row, _: row | {"customer": None},
    "no e-mail": lambda row, _: row | {"email": None},
    "no amount": lambda row, _: row | {"net": None},
    "e-mail without at": lambda row, _: row | {"email": row["email"].replace("@", " ")},
    "e-mail with a space": lambda row, _: row | {"email": row["email"] + " x@y.z"},
    "status in capitals": lambda row, _: row | {"status": row["status"].upper()},
    "status with a space": lambda row, _: row | {"status": row["status"] + " "},
    "empty status": lambda row, _: row | {"status": ""},
    "unknown status": lambda row, _: row | {"status": "lost"},
    "country of three letters": lambda row, _: row | {"country": "DEU"},
    "country that is none": lambda row, _: row | {"country": "ZZ"},
    "customer of another form": lambda row, _: row | {"customer": row["customer"].replace("-", "_")},
    "customer with more behind": lambda row, _: row | {"customer": row["customer"] + "\n"},
    "negative amount": lambda row, _: row | {"net": -row["net"], "gross": -row["net"] + row["tax"]},
    "amount beyond all": lambda row, _: row | {"net": 10**7, "gross": 10**7 + row["tax"]},
    "sum that is wrong": lambda row, chance: row | {"gross": row["gross"] + chance.choice((-1, 1, 1000))},
    "gross below net": lambda row, _: row | {"tax": -1, "gross": row["net"] - 1},
    "day that does not exist": lambda row, _: row | {"ordered": "2026-02-30"},
    "day of another form": lambda row, _: row | {"ordered": "06/15/2026"},
    "broken JSON": lambda row, _: row | {"payload": row["payload"][:-1]},
    "JSON without items": lambda row, _: row | {"payload": "{}"},
    "items that are no number": lambda row, _: row | {"payload": '{"items": "3"}'},
    "no items": lambda row, _: row | {"payload": '{"items": 0}'},
}
"""What goes wrong with rows, each of them with one row alone."""


def seeded(day: int, rows: int, defects: int, chance: random.Random) -> tuple[list[Row], set[Any]]:
    """A day with defects in it, and the ids of the rows that are good."""
    found = orders(day, rows)
    kinds = list(DEFECTS)
    places = chance.sample(range(rows), defects)
    for number, place in enumerate(places):
        found[place] = DEFECTS[kinds[number % len(kinds)]](found[place], chance)
    good = {row["id"] for place, row in enumerate(found) if place not in places}
    return found, good


def _in_gold(project: QualityProject) -> set[int]:
    groups = project.opened().table("gold.revenue", backend="arrow").to_pylist()
    return {id for group in groups for id in group["ids"]}


@pytest.mark.parametrize("count", [300, pytest.param(1_000, marks=pytest.mark.long)])
def test_no_defect_reaches_gold_and_no_good_row_is_held_back(tmp_path: Path, count: int) -> None:
    asked = [{**check, "on_fail": "quarantine"} for check in CHECKS]
    project = QualityProject(tmp_path, asked)
    chance = random.Random(20260615)
    first, good = seeded(1, 4 * count, count, chance)
    project.day(1, first)
    summary = project.run()
    assert all(outcome.error is None for outcome in summary.outcomes)
    assert _in_gold(project) == good
    # A second day on top of the first: keys of yesterday that come again are defects of the whole table.
    second, later = seeded(2, 2 * count, count // 2, chance)
    repeated = chance.sample(sorted(good), 10)
    for id, row in zip(repeated, [row for row in second if row["id"] in later], strict=False):
        later.discard(row["id"])
        row["id"] = id
    project.day(2, second)
    project.run()
    assert _in_gold(project) == good | later
    aside = project.opened().table("bronze.shop.orders", backend="arrow").num_rows
    assert aside == len(good | later)


def test_one_defect_stops_the_load_where_it_may_not_be_set_aside(tmp_path: Path) -> None:
    """Every defect alone, in a day that is clean but for it: gold stays what it was."""
    project = QualityProject(tmp_path, CHECKS)
    project.day(1, orders(1))
    project.run()
    before = _in_gold(project)
    chance = random.Random(1)
    for number, (name, spoil) in enumerate(list(DEFECTS.items())[::4]):
        rows = orders(2)
        rows[number] = spoil(rows[number], chance)
        project.day(2, rows)
        summary = project.run()
        assert any(outcome.error is not None for outcome in summary.outcomes), name
        assert _in_gold(project) == before, name


def test_clean_days_raise_no_alarm(tmp_path: Path) -> None:
    """Ten clean days, checks of figures and of history among what is asked: not one of them fails."""
    asked = [
        *CHECKS,
        {"anomaly": {"metric": "rows", "min_runs": 4, "sensitivity": "high"}},
        {"anomaly": {"metric": "mean", "column": "net", "min_runs": 4}},
        {"anomaly": {"metric": "null_share", "column": "email", "min_runs": 4}},
        {"statistic": {"column": "net", "metric": "median", "min": 1000, "max": 1300}},
    ]
    project = QualityProject(tmp_path, asked)
    chance = random.Random(7)
    alarms = []
    for day in range(1, 11):
        project.day(day, orders(day, 195 + chance.randrange(11)))
        for outcome in project.run().outcomes:
            assert outcome.error is None
            alarms += [result.message for result in outcome.checks if not result.passed]
    assert alarms == []
    # A day that is a tenth of the others is one.
    project.day(11, orders(11, 20))
    stopped = [str(outcome.error) for outcome in project.run().outcomes if outcome.error is not None]
    assert "rows is 20" in stopped[0]
