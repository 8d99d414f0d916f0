"""Checks that a table's own figures suggest, each with the evidence; a person decides which are meant.

What is true of all rows today is proposed, not what is probably true: no check of these fails on the rows
that it was made from. Few rows prove little, and propose little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.types as at

from asgard.quality.kinds import PATTERNS
from asgard.quality.profile import JSON, SHAPES, Profile

FEWEST_ROWS = 20
"""Below so many rows nothing is proposed but what must be there."""
FEWEST_EACH = 3.0
"""Values of a set come so often on average, at least."""
MOST_NUMBERS = 5
LONGEST_WORD = 40
STALE = timedelta(days=30)
"""A table whose newest time is older is no table that is kept new."""


@dataclass(frozen=True)
class Suggestion:
    """A check that a table's figures suggest.

    Attributes:
        entry: as it stands below `checks:`.
        evidence: why, in one sentence with the figures.
    """

    entry: dict[str, Any]
    evidence: str


def suggestions(found: Sequence[Profile], now: datetime) -> list[Suggestion]:
    """The checks that the profiles of a table suggest, in the order of its columns."""
    made: list[Suggestion] = []
    rows = found[0].rows if found else 0
    if rows:
        low = max(rows // 2, 1)
        made.append(
            Suggestion({"row_count": {"min": low}}, f"there are {rows:,} rows now, half of it are wanted")
        )
    for profile in found:
        if profile.name.startswith("_"):
            continue  # what a connector says of its files
        made += _of_column(profile, now)
    return made


def _of_column(profile: Profile, now: datetime) -> Iterator[Suggestion]:
    name, rows = profile.name, profile.rows
    if rows and not profile.nulls:
        yield Suggestion({"not_null": name}, f"none of {rows:,} rows is without {name}")
    if profile.there < FEWEST_ROWS:
        return
    if profile.is_unique and not at.is_timestamp(profile.type):
        yield Suggestion({"unique": name}, f"{profile.there:,} values of {name} are all different")
    elif _is_set(profile):
        values = [_value(profile, value) for value, _ in profile.values]
        shown = ", ".join(f"{value} ({count:,})" for value, count in profile.values[:5])
        yield Suggestion(
            {"accepted_values": {"column": name, "values": values}},
            f"{name} has {profile.distinct} different values in {profile.there:,} rows: {shown}",
        )
    if profile.is_number and not profile.is_unique:
        yield from _of_numbers(profile)
    if profile.shapes and not _is_set(profile):
        yield from _of_texts(profile)
    if at.is_timestamp(profile.type) or at.is_date(profile.type):
        yield from _of_times(profile, now)


def _is_set(profile: Profile) -> bool:
    """Whether the values are words of a list; days, documents and figures are few at first, and then more."""
    if not profile.values or profile.there < FEWEST_EACH * profile.distinct:
        return False
    if at.is_integer(profile.type):
        return profile.distinct <= MOST_NUMBERS
    return not set(profile.shapes) - {"country"} and profile.longest <= LONGEST_WORD and profile.longest > 0


def _value(profile: Profile, value: str) -> Any:
    return int(value) if at.is_integer(profile.type) else value


def _of_numbers(profile: Profile) -> Iterator[Suggestion]:
    if profile.least is None or "nan" in (profile.least, profile.greatest):
        return
    if not profile.negative:
        yield Suggestion(
            {"non_negative": profile.name},
            f"the least of {profile.there:,} values of {profile.name} is {profile.least}, "
            f"the greatest {profile.greatest}",
        )
    elif profile.negative < profile.there:
        numbers = [_number(profile, bound) for bound in (profile.least, profile.greatest)]
        if None not in numbers:
            low, high = numbers
            yield Suggestion(
                {"between": {"column": profile.name, "min": low, "max": high}, "severity": "warning",
                 "on_fail": "warn"},
                f"{profile.there:,} values of {profile.name} lie between {low} and {high}",
            )  # fmt: skip


def _number(profile: Profile, bound: str | None) -> Any:
    """A bound as YAML: whole numbers as they are, others as text, whose digits are all there."""
    if bound is None or bound in ("nan", "inf", "-inf"):
        return None
    return int(bound) if at.is_integer(profile.type) else bound


def _of_texts(profile: Profile) -> Iterator[Suggestion]:
    shape = profile.shapes[0]
    what = f"all {profile.there:,} values of {profile.name} are of the form {shape}"
    if shape == JSON:
        yield Suggestion({"is_json": profile.name}, what)
    elif shape == "iso_date":
        yield Suggestion({"time_format": {"column": profile.name, "format": "%Y-%m-%d"}}, what)
    else:
        pattern = shape if shape in PATTERNS else SHAPES[shape]
        yield Suggestion({"matches": {"column": profile.name, "pattern": pattern}}, what)
        if profile.shortest == profile.longest and shape not in PATTERNS:
            length = {"column": profile.name, "min": profile.shortest, "max": profile.longest}
            said = f"all {profile.there:,} values of {profile.name} have {profile.longest} characters"
            yield Suggestion({"length": length}, said)


def _of_times(profile: Profile, now: datetime) -> Iterator[Suggestion]:
    """Freshness, of the column whose newest value is near now."""
    try:
        newest = datetime.fromisoformat(str(profile.greatest))
    except ValueError:
        return
    newest = newest if newest.tzinfo else newest.replace(tzinfo=UTC)
    age = now - newest
    if age > STALE or age < -STALE:
        return
    days = max(age.days + 1, 1)
    within = f"{max(2 * days, 1)}d"
    yield Suggestion(
        {"fresh": {"column": profile.name, "within": within}, "severity": "warning", "on_fail": "warn"},
        f"the newest {profile.name} is {profile.greatest}, {age.days} days ago",
    )
