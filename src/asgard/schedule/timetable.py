"""The instants at which something is due: a cron line in a time zone, or every so many seconds.

Every so many seconds means the multiples since 1970 began: 15 minutes are due at :00, :15, :30 and :45,
whenever the clock was started. A cron line follows the wall clock: an hour that summer time leaves out is
made up for at its end, one that comes twice counts once; but lines of every hour or oftener follow the time
that passes.

Reference: https://manpages.debian.org/cron/crontab.5.en.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from asgard.core.errors import ConfigError


@dataclass(frozen=True)
class Timetable:
    """Either `cron` or `every_seconds` is given.

    Raises:
        ConfigError: the line or the zone is none.
    """

    cron: str | None = None
    every_seconds: float | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.cron is not None:
            self.after(datetime.now(UTC).timestamp())

    def after(self, instant: float) -> float | None:
        """The first instant later than this one, both in seconds since 1970; None when there is none."""
        if self.every_seconds is not None:
            return (math.floor(instant / self.every_seconds) + 1) * self.every_seconds
        return next(self._line(instant, backwards=False), None)

    def latest(self, instant: float) -> float | None:
        """The last instant that is not later than this one."""
        if self.every_seconds is not None:
            return math.floor(instant / self.every_seconds) * self.every_seconds
        # A line begins beside its start, which is due itself when it is a whole minute.
        return next(self._line(instant + 60, backwards=True, upto=instant), None)

    def between(self, since: float, upto: float) -> Iterator[float]:
        """The instants later than `since` and not later than `upto`."""
        due = self.after(since)
        while due is not None and due <= upto:
            yield due
            due = self.after(due)

    def _line(self, instant: float, *, backwards: bool, upto: float = math.inf) -> Iterator[float]:
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(
                f"{self.zone!r} is no time zone", hint="write it as Europe/Berlin, or leave it out for UTC"
            ) from None
        try:
            start = datetime.fromtimestamp(instant, UTC).astimezone(zone)
            for due in CronSim(self.cron or "", start, reverse=backwards):
                if due.timestamp() <= upto:
                    yield due.astimezone(UTC).timestamp()
        except CronSimError as error:
            raise ConfigError(
                f"{self.cron!r} is no cron line: {error}",
                hint="five fields: minute, hour, day of month, month, day of week; 0 2 * * * is 2 o'clock",
            ) from None


def instant_text(instant: float) -> str:
    """An instant for people and JSON: `2026-03-29T01:00:00+00:00`."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=instant)).isoformat(timespec="seconds")
