"""Wishes about runs, wherever they ran: those of this machine, and what others that share the queue told.

A machine remembers its own runs in a file. Of another one's runs the events are known: the first says what
was asked, each step its end, the last how all ended.
"""

from __future__ import annotations

import json
import platform
from datetime import datetime
from typing import Any

from asgard.app.config.project import Project
from asgard.app.runs.history import journal_file
from asgard.app.runs.run_events import goes_on_elsewhere, lines_of, told_runs
from asgard.core.events import Kind
from asgard.state.journal import SqliteJournal

CLOCKS_DIFFER_SECONDS = 600.0
"""By so much the clocks of two machines may differ, and a run may be late in telling that it began."""
RUNS_MEANWHILE = 500
"""So many runs may begin in that time, for none to be left out between two pages."""


def runs_anywhere(project: Project, limit: int, before: str = "") -> list[dict[str, Any]]:
    """The runs, the newest first.

    Args:
        before: a run's id: only those that started before it.

    Raises:
        Unreachable, AuthenticationError: the database that machines share cannot be used.
    """
    journal = _journal(project)
    if project.queue.postgres is None:
        return list(journal.runs(limit, before))
    upto = _started(project, before) if before else None
    if before and upto is None:
        return []
    mine = [{**run, "machine": platform.node()} for run in journal.runs(limit, upto or "")]
    told_before = _seconds(upto[0]) + CLOCKS_DIFFER_SECONDS if upto else None
    known = {run["run"] for run in mine}
    others = []
    for run, first, last in told_runs(project, limit + RUNS_MEANWHILE, told_before):
        if run not in known and journal.run(run) is None:
            others.append(_told(project, run, json.loads(first), json.loads(last)))
    found = sorted((*mine, *others), key=_key, reverse=True)
    return [run for run in found if upto is None or _key(run) < upto][:limit]


def run_anywhere(project: Project, run: str) -> dict[str, Any] | None:
    """One run with its steps, those that have ended while it goes on; None when nobody told of it.

    Raises:
        Unreachable, AuthenticationError: the database that machines share cannot be used.
    """
    journal = _journal(project)
    if (found := journal.run(run)) is not None:
        return {**found, "steps": journal.steps(run)}
    if project.queue.postgres is None:
        return None
    steps: dict[str, dict[str, Any]] = {}
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for line in lines_of(project, run):
        last = json.loads(line)
        first = first or last
        if last["event"] == Kind.STEP_FINISHED:
            steps[last["step"]] = {k: v for k, v in last.items() if k not in ("at", "event", "run")}
    return {**_told(project, run, first, last), "steps": list(steps.values())} if first else None


def _told(project: Project, run: str, first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """A run of another machine by its first and its last event."""
    known: dict[str, Any] = {"run": run, "selector": first.get("selector", ""), "started_at": first["at"]}
    if "machine" in first:
        known["machine"] = first["machine"]
    if last["event"] == Kind.RUN_FINISHED:
        told = ("status", "exit_code", "seconds", "steps")
        ended: dict[str, Any] = {key: last[key] for key in told if key in last}
        return {**known, **ended, "finished_at": last["at"]}
    # A run that nobody put into the queue says itself when it ends; nobody says it if it was killed.
    return {**known, "status": "running" if goes_on_elsewhere(project, run) else "not known"}


def _started(project: Project, run: str) -> tuple[str, str] | None:
    found = run_anywhere(project, run)
    return _key(found) if found is not None else None


def _key(run: dict[str, Any]) -> tuple[str, str]:
    return datetime.fromisoformat(run["started_at"]).isoformat(timespec="microseconds"), run["run"]


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _journal(project: Project) -> SqliteJournal:
    return SqliteJournal(journal_file(project.state_folder), project.workspace)
