"""Wishes about past runs: quick to answer, so nothing of the lake, engines or connectors is loaded for it."""

from __future__ import annotations

from pathlib import Path

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project_file import read_project_file, values_of
from asgard.state.journal import SqliteJournal

STATE_FOLDER = ".asgard"
WORKSPACE = "default"


def log_file(state_folder: Path, run: str) -> Path:
    """Where the events of a run are, one JSON line each."""
    return state_folder / "logs" / f"{run}.jsonl"


def place(project: str | None = None, env: str | None = None) -> tuple[Path, str]:
    """The state folder and the workspace of a project, without reading the rest of its file.

    Raises:
        ConfigError: there is no project file here or above, or it is no YAML.
    """
    mistakes = Mistakes()
    files = read_project_file(project, env, mistakes)
    keys = values_of(files.resolved(mistakes, ("state", "workspace")))
    state, workspace = keys.get("state"), keys.get("workspace")
    folder = files.folder / str(state.value if state and state.value else STATE_FOLDER)
    return folder, str(workspace.value if workspace and workspace.value else WORKSPACE)


def is_shared(project: str | None = None, env: str | None = None) -> bool:
    """Whether the project's queue lies where other machines see it, without reading the rest of its file.

    Raises:
        ConfigError: there is no project file here or above, or it is no YAML.
    """
    queue = read_project_file(project, env, Mistakes()).written.value.get("queue")
    return queue is not None and isinstance(queue.value, dict) and "postgres" in queue.value


def open_journal(project: str | None = None, env: str | None = None) -> SqliteJournal:
    """The history of the project's runs.

    Raises:
        ConfigError: there is no project file here or above, or it is no YAML.
    """
    state_folder, workspace = place(project, env)
    return SqliteJournal(journal_file(state_folder), workspace)


def journal_file(state_folder: Path) -> Path:
    """Where the history lies."""
    return state_folder / "runs.db"
