"""Wishes about past runs: quick to answer, so nothing of the lake, engines or connectors is loaded for it."""

from __future__ import annotations

from pathlib import Path

from asgard.app.location import locate
from asgard.state.journal import SqliteJournal


def state_folder(project: str | None = None, env: str | None = None) -> Path:
    """Where the project's history and logs are.

    Raises:
        ConfigError: there is no project file here or above.
    """
    return locate(project, env).state_folder


def open_journal(project: str | None = None, env: str | None = None) -> SqliteJournal:
    """The history of the project's runs.

    Raises:
        ConfigError: there is no project file here or above.
    """
    place = locate(project, env)
    return SqliteJournal(place.state_folder / "runs.db", place.workspace)
