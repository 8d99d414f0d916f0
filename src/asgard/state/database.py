"""What a store of shared state needs of a database, so that its statements are written once.

Who writes holds the one lock of the database before it reads: no decision is made on what another is just
changing. Readers wait for nobody. Time is the database's own clock: machines may disagree about the time,
their database does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from asgard.core.errors import ConfigError

Rows = Callable[..., list[tuple[Any, ...]]]
"""Runs one statement with its parameters (`?` in the text) and gives all its rows."""

PATIENCE_SECONDS = 30
"""How long a writer waits for the lock."""


class Database(Protocol):
    """What a store of shared state needs of a database."""

    now: str
    """SQL for the seconds since 1970 by the database's clock, as a double."""

    def reading(self) -> AbstractContextManager[Rows]:
        """Statements that only read, each for itself."""
        ...

    def writing(self) -> AbstractContextManager[Rows]:
        """One transaction, alone among all that write; an error takes it back.

        Raises:
            Unreachable: the lock or the server could not be had, or the connection broke off: then the
                transaction may have been committed or not.
        """
        ...

    def close(self) -> None:
        """Ends the connections of all threads, which must be through with them."""
        ...


def newer_format(where: str, found: int, known: int) -> ConfigError:
    """The error of a store that a newer version wrote."""
    return ConfigError(
        f"{where} has format {found}, this version reads {known}",
        hint="run the version of Asgard that wrote it, or a newer one",
    )
