"""Arithmetic on times that are text, in the text's own form: a cursor never passes through a time object
that could round it or give it another shape.

Texts of one form sort as their times do. Knows ISO 8601 dates and times; leaves the meaning of a zone alone.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:(?P<between>[T ])(?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:(?P<point>[.,])(?P<fraction>\d+))?)?)?"
    r"(?P<zone> ?(?:Z|[+-]\d\d(?::?\d\d)?|UTC))?"
)


def lowered(text: str, seconds: float) -> str | None:
    """The same time so many seconds earlier, written as the text is; None when it is no time.

    What the form cannot say (parts of its last digit, hours of a date) lowers it further, never less.

    >>> lowered("2024-03-01 00:00:00.500000000Z", 1)
    '2024-02-29 23:59:59.500000000Z'
    >>> lowered("2024-03-01", 3600)
    '2024-02-29'
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    digits = len(found["fraction"] or "")
    try:
        day = datetime.fromisoformat(found["date"])
        clock = timedelta(hours=int(found["hour"] or 0), minutes=int(found["minute"] or 0))
        moment = day + clock + timedelta(seconds=int(found["second"] or 0))
        unit = 86_400 if not found["between"] else 60 if found["second"] is None else 1
        ticks = Decimal(str(seconds)) * 10**digits if digits else Decimal(str(seconds)) / unit
        whole = int(ticks.to_integral_value(ROUND_CEILING))
        if not digits:
            return _written(moment - timedelta(seconds=whole * unit), "", found)
        left = int(found["fraction"]) - whole
        moment += timedelta(seconds=left // 10**digits)
        return _written(moment, str(left % 10**digits).zfill(digits), found)
    except (ValueError, OverflowError):
        return None


def _written(moment: datetime, fraction: str, form: re.Match[str]) -> str:
    text = moment.date().isoformat()
    if form["between"]:
        text += f"{form['between']}{moment:%H:%M}"
    if form["second"] is not None:
        text += f":{moment:%S}"
    if fraction:
        text += form["point"] + fraction
    return text + (form["zone"] or "")
