"""What is put right in tables of shared state that came back from a backup: they speak of a past.

Workers of then hold nothing now, people who were signed in are not any more, and what a clock that ran ahead
wrote down must not keep anything waiting. Every function takes part in a transaction that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping

from asgard.state.database import Rows


def workspaces_of_jobs(rows: Rows) -> list[str]:
    """The workspaces that share the queue."""
    found = rows("SELECT workspace FROM asgard_jobs UNION SELECT workspace FROM asgard_schedules")
    return sorted(workspace for (workspace,) in found)


def unfinished_jobs(rows: Rows, workspace: str) -> list[str]:
    """The ids of the jobs that wait or run."""
    found = rows("SELECT job FROM asgard_jobs WHERE workspace = ? AND finished_at IS NULL", (workspace,))
    return [job for (job,) in found]


def held_jobs(rows: Rows, now: str, workspace: str) -> list[str]:
    """The ids of the jobs that workers hold now."""
    found = rows(
        f"SELECT job FROM asgard_jobs WHERE workspace = ? AND status = 'running' AND lease_until > {now}",
        (workspace,),
    )
    return [job for (job,) in found]


def release_jobs(rows: Rows, now: str, workspace: str, last_attempts: Mapping[str, int]) -> int:
    """Jobs that ran then are as if their worker had died: the next worker takes them back.

    Args:
        now: SQL for the database's clock.
        last_attempts: of jobs, the newest attempt that the history of runs knows: another one of the same
            number would be the same run.

    Returns:
        How many jobs ran.
    """
    ran = rows(
        "UPDATE asgard_jobs SET lease_until = 0 WHERE workspace = ? AND status = 'running' RETURNING job",
        (workspace,),
    )
    for job, attempt in last_attempts.items():
        rows(
            "UPDATE asgard_jobs SET attempt = ? WHERE workspace = ? AND job = ? AND attempt < ?"
            " RETURNING job",
            (attempt, workspace, job, attempt),
        )
    # From a clock that ran ahead: due after as long as then, not when that clock would have said so.
    rows(
        f"UPDATE asgard_jobs SET due_at = {now} + (due_at - created_at), created_at = {now}"
        f" WHERE workspace = ? AND status = 'queued' AND created_at > {now} RETURNING job",
        (workspace,),
    )
    return len(ran)


def reached_by_schedules(rows: Rows, workspace: str) -> dict[str, str]:
    """How far every schedule had come, in its own words."""
    found = rows("SELECT schedule, reached FROM asgard_schedules WHERE workspace = ?", (workspace,))
    return dict(found)


def move_schedule(rows: Rows, workspace: str, schedule: str, reached: str) -> None:
    """Says how far a schedule has come."""
    rows(
        "UPDATE asgard_schedules SET reached = ? WHERE workspace = ? AND schedule = ? RETURNING schedule",
        (reached, workspace, schedule),
    )


def end_sessions(rows: Rows, workspace: str | None) -> int:
    """Nobody is signed in any more; gives how many were.

    Args:
        workspace: None for all of them.
    """
    of, given = ("", ()) if workspace is None else (" WHERE workspace = ?", (workspace,))
    return len(rows(f"DELETE FROM asgard_sessions{of} RETURNING session", given))
