"""Every error that Asgard raises on purpose, branched by who must act.

The runner decides from the class whether to try again, the CLI takes its exit code from it, the API its
status; nobody parses texts. The tree (a house test holds it against the code):

    AsgardError
    |-- ConfigError              2  the person who writes the project
    |   `-- QueryError           2  a query, table or column that the source does not know
    |-- Refused                  3  whoever grants credentials and permissions
    |   `-- AuthenticationError  3  also a ConnectionError
    |-- DataError                4  the owner of the data
    |   |-- ValidationError      4  a check failed
    |   |-- SchemaChanged        4  the source's columns do not fit the table any more
    |   `-- PositionLost         4  the position cannot be trusted: resync or accept
    |-- ConnectionError          5  a system could not be used
    |   |-- AuthenticationError  3  (see Refused)
    |   `-- Unreachable          5  nobody yet: it is tried again
    |       |-- Conflict         5  another writer was faster
    |       |-- Sealed           5  whoever can unlock the store of secrets
    |       `-- OutOfSpace       5  a disk is full
    |-- Cancelled              130  the person who cancelled
    `-- Bug                     70  us
"""

from __future__ import annotations

from collections.abc import Mapping


class AsgardError(Exception):
    """An error with a fact, a place and a next step.

    Attributes:
        what: what happened, with the value that caused it.
        hint: the next step for whoever reads it; empty when there is none.
        where: where it happened, for example source, stream, column, file; ordered.
    """

    exit_code: int = 70
    retryable: bool = False

    def __init__(self, what: str, *, hint: str = "", where: Mapping[str, str] | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.where: dict[str, str] = dict(where or {})

    def at(self, **where: str) -> AsgardError:
        """Adds places that the raiser could not know; what is there already stays."""
        for key, value in where.items():
            self.where.setdefault(key, value)
        return self

    def __str__(self) -> str:
        place = ", ".join(f"{key} {value}" for key, value in self.where.items())
        text = f"{place}: {self.what}" if place else self.what
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, object]:
        """The error as JSON can carry it: type, what, hint, where, exit_code, retryable."""
        return {
            "type": type(self).__name__,
            "what": self.what,
            "hint": self.hint,
            "where": self.where,
            "exit_code": self.exit_code,
            "retryable": self.retryable,
        }


class ConfigError(AsgardError):
    """The project or a call is wrong; the same again gives the same."""

    exit_code = 2


class QueryError(ConfigError):
    """The source does not know a table, a column or the words of a query."""


class Refused(AsgardError):
    """Credentials or permissions do not allow it."""

    exit_code = 3


class DataError(AsgardError):
    """The data cannot be carried or is not good; what was published before stays as it was."""

    exit_code = 4


class ValidationError(DataError):
    """Data failed its checks and was not published."""


class SchemaChanged(DataError):
    """The columns of the source do not fit the table, and the rules allow no way to carry them."""


class PositionLost(DataError):
    """The table was restored, re-created or written by an unknown hand: its position cannot be trusted."""


class ConnectionError(AsgardError):
    """A system outside could not be used."""

    exit_code = 5


class AuthenticationError(Refused, ConnectionError):
    """A system refused who we say we are."""

    exit_code = 3


class Unreachable(ConnectionError):
    """A system did not answer, or broke off; trying again may help."""

    retryable = True


class Conflict(Unreachable):
    """Another writer committed first; what was prepared is prepared again."""


class Sealed(Unreachable):
    """A store of secrets is locked: it answers, but gives nothing out until somebody unseals it."""

    retryable = False


class OutOfSpace(Unreachable):
    """A disk is full, or memory, threads or open files are used up. Nothing was published; run again."""

    retryable = False


class Cancelled(AsgardError):
    """Somebody asked us to stop. Nothing half-done was published."""

    exit_code = 130


class Bug(AsgardError):
    """Asgard broke a rule of its own."""

    exit_code = 70
