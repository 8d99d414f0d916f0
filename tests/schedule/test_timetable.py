"""When something is due: the wall clock with its two odd days a year, and plain intervals."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.core.errors import ConfigError
from asgard.schedule.timetable import Timetable, instant_text

BERLIN = "Europe/Berlin"
INSTANTS = st.floats(min_value=1_700_000_000, max_value=1_900_000_000)
TABLES = st.sampled_from(
    [
        Timetable(every_seconds=90.0),
        Timetable(every_seconds=86400.0),
        Timetable(cron="*/7 * * * *"),
        Timetable(cron="30 2 * * *", zone=BERLIN),
        Timetable(cron="0 * * * *", zone="America/St_Johns"),
        Timetable(cron="0 0 1 * *", zone=BERLIN),
        Timetable(cron="15 9 * * MON-FRI", zone="Asia/Tokyo"),
    ]
)


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@given(TABLES, INSTANTS)
def test_looking_ahead_and_looking_back_agree(table: Timetable, now: float) -> None:
    after, latest = table.after(now), table.latest(now)
    assert after is not None
    assert latest is not None
    assert latest <= now < after
    assert table.latest(after) == after
    assert table.after(latest) == after
    assert list(table.between(latest, after)) == [after]
    assert list(table.between(now, now)) == []


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("2026-03-27T12:00+01:00", "2026-03-28T02:30+01:00"),
        ("2026-03-28T12:00+01:00", "2026-03-29T03:00+02:00"),  # there is no half past two
        ("2026-03-29T12:00+02:00", "2026-03-30T02:30+02:00"),
        ("2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),  # there are two: the first counts
        ("2026-10-25T02:45+02:00", "2026-10-26T02:30+01:00"),
    ],
)
def test_a_line_follows_the_wall_clock_through_summer_time(day: str, due: str) -> None:
    assert Timetable(cron="30 2 * * *", zone=BERLIN).after(instant(day)) == instant(due)


def test_a_line_of_every_half_hour_follows_the_time_that_passes() -> None:
    since, upto = instant("2026-10-25T01:30+02:00"), instant("2026-10-25T03:30+01:00")
    due = list(Timetable(cron="*/30 * * * *", zone=BERLIN).between(since, upto))
    assert [later - earlier for earlier, later in pairwise([since, *due])] == [1800.0] * 6


@pytest.mark.parametrize(
    ("cron", "zone"), [("99 * * * *", "UTC"), ("0 0 * * *", "Mars/Olympus"), ("0 0", "UTC")]
)
def test_what_is_no_line_or_zone_is_refused_by_name(cron: str, zone: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Timetable(cron=cron, zone=zone)
    assert (zone if zone != "UTC" else cron) in caught.value.what
    assert caught.value.hint


def test_a_line_that_is_never_due_has_no_next_time() -> None:
    assert Timetable(cron="0 0 29 2 *").after(instant("2026-01-01T00:00+00:00")) == instant(
        "2028-02-29T00:00+00:00"
    )
    assert instant_text(instant("2028-02-29T00:00+00:00")) == "2028-02-29T00:00:00+00:00"
