"""How often anomalies are found where there are none, and where there are some, over a year of loads."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from asgard.core.check import Check
from asgard.core.stream import Mode
from asgard.core.table import Mount, TableName
from asgard.quality.anomalies import LONGEST
from asgard.quality.families import Asked
from asgard.quality.registry import TABLE_KINDS
from asgard.quality.tables import AuditContext

WEEK = (1, 1.05, 1.1, 1.05, 1.2, 0.4, 0.3)
DAYS, SERIES = 365, 6
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
Past = list[tuple[datetime, float]]


def figures(kind: str, chance: random.Random) -> Iterator[float]:
    """One load a day, which varies by a twentieth, or by a tenth."""
    for day in range(DAYS):
        usual = {
            "flat": 10_000.0,
            "small": 100.0,
            "weekly": 10_000 * WEEK[day % 7],
            "weekly and growing": 10_000 * WEEK[day % 7] * (1 + 0.002 * day),
            "yearly": 10_000 * (1 + 0.25 * math.sin(2 * math.pi * day / 365)),
        }[kind]
        yield usual * chance.gauss(1, 0.1 if kind == "small" else 0.05)


def is_alarm(past: Past, at: datetime, rows: float) -> bool:
    options = {
        "metric": "rows", "sensitivity": "medium", "direction": "both", "min_runs": 7, "weekdays": True,
    }  # fmt: skip
    context = AuditContext(Mode.REPLACE, None, at, _nowhere, None, lambda check: past)
    asked = Asked([{"value": int(rows)}], pa.schema([]), context)
    return not TABLE_KINDS["anomaly"].judge(Check("anomaly", (), options, name="a"), asked).passed


def _nowhere(name: TableName) -> Mount:
    raise KeyError(name)


@pytest.mark.parametrize(
    ("kind", "most_false", "least_found"),
    [
        ("flat", 0.005, 1.0),
        ("small", 0.005, 0.9),
        ("weekly", 0.005, 1.0),
        ("weekly and growing", 0.01, 0.97),
        ("yearly", 0.01, 0.85),
    ],
)
def test_false_alarms_are_rare_and_halves_and_doubles_are_found(
    kind: str, most_false: float, least_found: float
) -> None:
    judged = alarms = planted = found = 0
    for seed in range(SERIES):
        past: Past = []
        for day, rows in enumerate(figures(kind, random.Random(seed))):
            at = FIRST + timedelta(days=day)
            judged += len(past) >= 7
            alarms += is_alarm(past, at, rows)
            if day > 60 and day % 30 == 17:
                planted += 3
                found += sum(is_alarm(past, at, rows * times) for times in (0.1, 0.5, 2.0))
            past = [*past, (at, rows)][-LONGEST:]
    assert judged > SERIES * 350
    assert alarms / judged <= most_false
    assert found / planted >= least_found
