"""The files of a project's state that are no databases: logs, measurements, suites, encrypted secrets.

Suites, checkpoints, validations and secrets are documents: another one in its place would be a loss. Logs
and measurements only grow: the one that is there is as good as the one in a backup, or better.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asgard.app.config.project import Project
from asgard.app.config.references import References
from asgard.secrets.store import EncryptedStore
from asgard.secrets.surroundings import Surroundings

SECRETS = "secrets.json"
DOCUMENTS = ("expectations/suites", "expectations/checkpoints", "expectations/validations")
GROWING = ("logs", "jobs", "measurements")
FOLDERS = (*DOCUMENTS, *GROWING)
ENDINGS = (".json", ".jsonl", ".log")


def files_below(state_folder: Path, folder: str) -> Iterator[tuple[str, Path]]:
    """The files of one folder, each with its name in an archive."""
    place = state_folder / folder
    if place.is_dir():
        for path in sorted(place.iterdir()):
            if path.is_file() and path.suffix in ENDINGS and not path.name.startswith("."):
                yield f"{folder}/{path.name}", path


def place_of(state_folder: Path, member: str) -> Path | None:
    """Where a member of these folders belongs; None for what is no such member."""
    folder, _, name = member.rpartition("/")
    if folder not in FOLDERS or name.startswith(".") or "\\" in name or not name.endswith(ENDINGS):
        return None
    return state_folder / folder / name


def secret_store(project: Project) -> EncryptedStore:
    """The project's encrypted store, whether it is there or not."""
    return EncryptedStore(Surroundings(project.folder, References(project.folder).variable))
