"""Wishes about secrets: put one into the project's own store, look at it, list, rotate, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgard.app.config.project_file import find_project
from asgard.app.config.references import References
from asgard.core.errors import ConfigError
from asgard.secrets.surroundings import Surroundings

if TYPE_CHECKING:
    from asgard.secrets.store import EncryptedStore


def set_secret(project: Path | str | None, name: str, value: str) -> dict[str, Any]:
    """Puts a secret in, or in the place of an older one.

    Args:
        project: the project file, or a folder at or below it; None for the folder of the process.

    Returns:
        The name, the store's file, and where the key rests.

    Raises:
        ConfigError: the name or the value cannot be one, or there is no project.
        Refused: the store or the key file cannot be used.
    """
    store = _store(project)
    place = store.set(name, value)
    return {"name": name, "store": str(store.file), "key": place}


def get_secret(project: Path | str | None, name: str) -> str:
    """The plain value; whoever asks shows it to nobody who did not ask.

    Raises:
        ConfigError: there is none of that name.
        Refused: the key at hand does not open it.
    """
    return _store(project).read(name).get_secret_value()


def list_secrets(project: Path | str | None) -> list[dict[str, str]]:
    """The names, and when each was set, by name. Needs no key."""
    return [entry.as_dict() for entry in _store(project).entries()]


def rotate_secrets(project: Path | str | None) -> dict[str, Any]:
    """Locks every secret anew, with a new key where the keys rest in a file.

    Raises:
        ConfigError: there are no secrets, or no key.
        Refused: the key at hand does not open them; nothing was changed.
    """
    count, place = _store(project).rotate()
    return {"secrets": count, "key": place}


def delete_secret(project: Path | str | None, name: str) -> None:
    """Takes a secret away.

    Raises:
        ConfigError: there is none of that name.
    """
    _store(project).delete(name)


def new_secret_key() -> str:
    """A key for ASGARD_SECRET_KEY, or for `masking_key`."""
    from asgard.secrets.key import new_key

    return new_key()


def _store(project: Path | str | None) -> EncryptedStore:
    from asgard.secrets.store import EncryptedStore

    file = find_project(Path(project) if project is not None else Path())
    if not file.is_file():
        raise ConfigError(f"there is no file {file}", hint="asgard init writes a first asgard.yml")
    return EncryptedStore(Surroundings(file.parent, References(file.parent).variable))
