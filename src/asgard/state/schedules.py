"""How far every schedule has come, and whether it is paused; its jobs come into the queue in the same step.

What a schedule is stands in the project. Two clocks on one store never ask for a thing twice: a schedule
moves on from the place where a clock saw it, together with its jobs, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asgard.state.database import Database, Rows
from asgard.state.queue import NewJob, Queue


@dataclass(frozen=True)
class Progress:
    """How far a schedule has come.

    Attributes:
        reached: what it has seen last, in its own words; empty before its first look.
    """

    paused: bool
    reached: str


class ScheduleStore:
    """The schedules of one workspace, beside its queue.

    Args:
        database: the queue's own.
    """

    def __init__(self, database: Database, queue: Queue, workspace: str = "default") -> None:
        self._database = database
        self._queue = queue
        self._workspace = workspace

    def progress(self) -> tuple[float, dict[str, Progress]]:
        """The time by the database's clock, and every schedule that was ever seen."""
        with self._database.reading() as rows:
            ((now,),) = rows(f"SELECT {self._database.now}")
            found = rows(
                "SELECT schedule, paused, reached FROM asgard_schedules WHERE workspace = ?",
                (self._workspace,),
            )
        return now, {schedule: Progress(bool(paused), reached) for schedule, paused, reached in found}

    def advance(
        self, schedule: str, seen: str, reached: str, jobs: Sequence[NewJob], unless: Sequence[str] = ()
    ) -> list[str] | None:
        """Moves a schedule on and puts its jobs into the queue.

        Args:
            seen: what `progress` said; empty for a schedule that is new.
            unless: without jobs, if one of the schedule has one of these statuses.

        Returns:
            The ids of the jobs; None when somebody else was faster, or it is paused: nothing has changed.
        """
        with self._database.writing() as rows:
            known = rows(
                "SELECT paused, reached FROM asgard_schedules WHERE workspace = ? AND schedule = ?",
                (self._workspace, schedule),
            )
            paused, now_reached = known[0] if known else (0, "")
            if paused or now_reached != seen:
                return None
            self._write(rows, schedule, 0, reached)
            for status in unless:
                if rows(
                    "SELECT 1 FROM asgard_jobs WHERE workspace = ? AND schedule = ? AND status = ? LIMIT 1",
                    (self._workspace, schedule, status),
                ):
                    return []
            return [self._queue.put(rows, job) for job in jobs]

    def pause(self, schedule: str, paused: bool) -> None:
        """Stops the schedule from asking for jobs, or lets it again; jobs that are there go on."""
        with self._database.writing() as rows:
            known = rows(
                "SELECT reached FROM asgard_schedules WHERE workspace = ? AND schedule = ?",
                (self._workspace, schedule),
            )
            self._write(rows, schedule, int(paused), known[0][0] if known else "")

    def newest_done(self, schedule: str) -> str:
        """The job of the schedule that was done last; empty when there is none."""
        with self._database.reading() as rows:
            found = rows(
                "SELECT job FROM asgard_jobs WHERE workspace = ? AND schedule = ? AND status = 'done'"
                " ORDER BY finished_at DESC, job DESC LIMIT 1",
                (self._workspace, schedule),
            )
        return str(found[0][0]) if found else ""

    def _write(self, rows: Rows, schedule: str, paused: int, reached: str) -> None:
        rows(
            "INSERT INTO asgard_schedules (workspace, schedule, paused, reached) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (workspace, schedule) DO UPDATE"
            " SET paused = excluded.paused, reached = excluded.reached",
            (self._workspace, schedule, paused, reached),
        )
