"""The key of the encrypted store, and where it rests: never beside what it locks.

It is looked for in ASGARD_SECRET_KEY (several with commas between them: the first one locks, all of them
open), then in the file that ASGARD_SECRET_KEY_FILE names, then in a file of the store's own below the user's
configuration folder. A file holds one key a line, and only its owner may read it.

Reference: https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgard.core.errors import ConfigError, Refused
from asgard.secrets.private_file import write_privately
from asgard.secrets.surroundings import Surroundings

VARIABLE = "ASGARD_SECRET_KEY"
FILE_VARIABLE = "ASGARD_SECRET_KEY_FILE"
INSTALL = "pip install 'asgard-platform[secrets]'"


@dataclass(frozen=True)
class KeyRing:
    """Keys, the one that locks first.

    Attributes:
        place: where they came from, for people.
        file: the key file; None for a variable.
        own: the file serves this store alone, so that keys may be dropped from it.
    """

    place: str
    keys: tuple[str, ...] = field(repr=False)
    file: Path | None = None
    own: bool = False

    def fernet(self) -> Any:
        """What locks and opens.

        Raises:
            ConfigError: there is no key, or one is none.
        """
        fernet = _fernet_module()
        if not self.keys:
            raise ConfigError(
                f"there is no key for the encrypted store: {self.place} has none",
                hint=f"bring that file from where the store was made, or set {VARIABLE}",
            )
        try:
            return fernet.MultiFernet([fernet.Fernet(key) for key in self.keys])
        except ValueError:
            raise ConfigError(
                f"a key in {self.place} is no key", hint="asgard secrets key prints a new one"
            ) from None


def new_key() -> str:
    """A key that nobody has: 32 random bytes as URL-safe base64."""
    return str(_fernet_module().Fernet.generate_key().decode())


def found_ring(surroundings: Surroundings, store_id: str) -> KeyRing:
    """The keys for a store, wherever they rest; empty where a file would be made.

    Raises:
        ConfigError: the key lies within the project.
        Refused: others than its owner may read it.
    """
    if given := surroundings.variable(VARIABLE):
        if VARIABLE not in os.environ:
            raise ConfigError(
                f"{VARIABLE} stands in .env, beside what it locks",
                hint=f"put it into the environment, or into a file elsewhere that {FILE_VARIABLE} names",
            )
        return KeyRing(
            f"environment variable {VARIABLE}", tuple(filter(None, map(str.strip, given.split(","))))
        )
    named = surroundings.variable(FILE_VARIABLE)
    file = Path(named).expanduser() if named else _own_file(surroundings, store_id)
    file = file if file.is_absolute() else surroundings.folder / file
    if file.resolve().is_relative_to(surroundings.folder.resolve()):
        raise ConfigError(
            f"the key file {file} lies within the project, beside what it locks",
            hint=f"move it elsewhere, and name it in {FILE_VARIABLE}",
        )
    return KeyRing(f"file {file}", _keys_of(file), file, own=not named)


def write_ring(file: Path, keys: tuple[str, ...]) -> None:
    """Puts keys into a file, durably, for its owner alone.

    Raises:
        Refused: it cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_privately(file, "".join(f"{key}\n" for key in keys).encode())
    except OSError as error:
        raise Refused(
            f"the key file {file} cannot be written: {error.strerror}",
            hint=f"name another in {FILE_VARIABLE}",
        ) from error


def _keys_of(file: Path) -> tuple[str, ...]:
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(1 << 16).decode("ascii", "replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Refused(
            f"the key file {file} cannot be read: {error.strerror}", hint="look at its owner"
        ) from error
    if mode & 0o077:
        raise Refused(f"others than its owner may read the key file {file}", hint=f"chmod 600 {file}")
    return tuple(filter(None, map(str.strip, text.splitlines())))


def _own_file(surroundings: Surroundings, store_id: str) -> Path:
    told = surroundings.variable("XDG_CONFIG_HOME")
    home = Path(told) if told else Path.home() / ".config"
    return home / "asgard" / "keys" / f"{store_id}.key"


def _fernet_module() -> Any:
    try:
        from cryptography import fernet
    except ImportError as error:
        raise ConfigError(
            "the encrypted store needs a package that is not installed", hint=INSTALL
        ) from error
    return fernet
