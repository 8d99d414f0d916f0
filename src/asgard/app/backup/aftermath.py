"""What is put right in state that came back: jobs, schedules and sessions speak of the day of the backup."""

from __future__ import annotations

from dataclasses import dataclass, field

from asgard.app.config.project import Project
from asgard.app.jobs.schedules import schedules_of
from asgard.app.runs.history import journal_file
from asgard.schedule.timetable import Timetable
from asgard.state.database import Rows
from asgard.state.journal import SqliteJournal
from asgard.state.recovery import move_schedule, reached_by_schedules, release_jobs, unfinished_jobs

A_MOMENT_SECONDS = 0.001


@dataclass
class Aftermath:
    """What was put right.

    Attributes:
        jobs: that ran at the backup, and wait now, as if their worker had died.
        schedules: that go on from another instant than they had come to.
        sessions: that are ended.
    """

    jobs: int = 0
    schedules: list[str] = field(default_factory=list)
    sessions: int = 0


def settle_queue(project: Project, rows: Rows, now: str, workspace: str, after: Aftermath) -> None:
    """Settles the jobs and schedules of a workspace, within a transaction.

    Args:
        now: SQL for the database's clock.
    """
    attempts = {}
    if workspace == project.workspace and journal_file(project.state_folder).exists():
        journal = SqliteJournal(journal_file(project.state_folder), workspace)
        attempts = {job: journal.last_attempt(job) for job in unfinished_jobs(rows, workspace)}
    after.jobs += release_jobs(rows, now, workspace, attempts)
    ((instant,),) = rows(f"SELECT {now}")
    known = schedules_of(project) if workspace == project.workspace else {}
    for name, reached in reached_by_schedules(rows, workspace).items():
        moved = caught_up(reached, known[name].table if name in known else None, instant)
        if moved is not None:
            move_schedule(rows, workspace, name, moved)
            after.schedules.append(name)


def caught_up(reached: str, table: Timetable | None, now: float) -> str | None:
    """How far a schedule has come after all; None where it stays.

    What was due since the backup was run then, or is made up for by one job now, and not by one each. An
    instant that is yet to come is a clock's that ran ahead: it would keep the schedule still until then.
    """
    try:
        seen = float(reached)
    except ValueError:  # of what is no time: jobs or files that were seen
        return None
    if seen > now:
        return repr(now)
    latest = table.latest(now) if table is not None else None
    if latest is None or latest - A_MOMENT_SECONDS <= seen:
        return None
    return repr(latest - A_MOMENT_SECONDS)
