"""What runs told, for those who ask from another machine: one line for each event, in order.

The file beside the run is its log; this is a copy in the database that the machines share, with a bound on
how much one run may say and on how long it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from asgard.state.database import Database

SCHEMA_VERSION = 1
NAME = "asgard_events"
SCHEMA = """
CREATE TABLE asgard_run_events (
    workspace TEXT NOT NULL,
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    told_at DOUBLE PRECISION NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (workspace, run, number)
);
CREATE INDEX asgard_run_events_by_age ON asgard_run_events (workspace, told_at)
"""
MOST_LINES = 20_000
"""Of one run; what it says beyond that stands in its file alone."""
LONGEST_LINE = 100_000
"""In characters; of a longer one the lists are left out here, such as the steps of a run that has ended."""


class RunEventStore:
    """The events of one workspace's runs. Safe to use from any thread.

    Args:
        database: where they lie; its tables are made by `migrate(SCHEMA, SCHEMA_VERSION)`.

    Raises:
        Unreachable: by every method: the database does not answer, or was not fast enough.
    """

    def __init__(self, database: Database, workspace: str = "default") -> None:
        self._database = database
        self._workspace = workspace

    def add(self, run: str, first: int, lines: Sequence[str]) -> None:
        """Puts lines behind those of a run; once, however often it is tried.

        Args:
            first: the number of the first of them, counted from one.
        """
        with self._database.writing() as rows:
            for number, line in enumerate(map(_bounded, lines), first):
                if number <= MOST_LINES and len(line) <= LONGEST_LINE:
                    rows(
                        "INSERT INTO asgard_run_events (workspace, run, number, told_at, line)"
                        f" VALUES (?, ?, ?, {self._database.now}, ?) ON CONFLICT DO NOTHING RETURNING number",
                        (self._workspace, run, number, line),
                    )

    def after(self, run: str, number: int, limit: int) -> list[tuple[int, str]]:
        """The next events of a run behind a number, each with its own."""
        with self._database.reading() as rows:
            found = rows(
                "SELECT number, line FROM asgard_run_events WHERE workspace = ? AND run = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                (self._workspace, run, number, limit),
            )
        return [(int(found_number), str(line)) for found_number, line in found]

    def runs(self, limit: int, before: float | None) -> list[tuple[str, str, str]]:
        """The runs that told that they began, the newest first: each with its first event and its last.

        Args:
            before: only those that told it before, seconds since 1970 by the database's clock.
        """
        page = "AND told_at < ? " if before is not None else ""
        asked = (self._workspace, *(() if before is None else (before,)), limit)
        with self._database.reading() as rows:
            first = rows(
                f"SELECT run, line FROM asgard_run_events WHERE workspace = ? AND number = 1 {page}"
                "ORDER BY told_at DESC, run DESC LIMIT ?",
                asked,
            )
            names = [run for run, _ in first]
            last = rows(
                "SELECT e.run, e.line FROM asgard_run_events e JOIN (SELECT run, max(number) AS number"
                f" FROM asgard_run_events WHERE workspace = ? AND run IN ({', '.join('?' * len(names))})"
                " GROUP BY run) l ON e.run = l.run AND e.number = l.number WHERE e.workspace = ?",
                (self._workspace, *names, self._workspace),
            ) if names else []  # fmt: skip
        ends = {str(run): str(line) for run, line in last}
        return [(str(run), str(line), ends.get(str(run), str(line))) for run, line in first]

    def forget(self, keep_days: float) -> None:
        """Takes away what was told longer ago."""
        with self._database.writing() as rows:
            rows(
                "DELETE FROM asgard_run_events WHERE workspace = ?"
                f" AND told_at < {self._database.now} - ? RETURNING number",
                (self._workspace, keep_days * 86400),
            )


def _bounded(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    with suppress(ValueError):
        said = json.loads(line)
        return json.dumps({key: one for key, one in said.items() if not isinstance(one, list | dict)})
    return line
