"""The folder of a table, or one inside of it, wherever it lies: on a disk of this machine or in a bucket.

Everything that the lake asks of storage is here: small documents, whole or not at all; data files, that are
seen when they are closed; and Delta's own handle. Names are those of files that lie directly in the folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, Self
from uuid import uuid4

from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema

PREFIX = "part-"
"""How the names of data files begin."""


class Folder(ABC):
    """A folder. What a method writes is durable when it returns."""

    filesystem: Any = None
    """Through which engines read its files; None for files of this machine."""
    escape = "~"
    """What stands for the % of encoded names: a letter like others, for Delta's kernel too."""
    asked_at_once = 1
    """How many questions it pays to ask at the same time."""

    def __truediv__(self, name: str) -> Self:
        """A folder in it; a name may have several steps."""
        return self.inside(name)

    @abstractmethod
    def __str__(self) -> str:
        """Where it is, as Delta opens it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last step of where it is."""

    @abstractmethod
    def inside(self, name: str) -> Self:
        """As `/`."""

    # ---- documents

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All of a file.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Writes a whole file in place of the one that may be there."""

    @abstractmethod
    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Writes a whole file under a name that nobody has. False when somebody has it: in a bucket also when
        it is our own, whose answer was lost."""

    @abstractmethod
    def delete(self, *names: str) -> None:
        """Deletes files; those that are gone already are fine."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """The bytes of those files that are there."""

    @abstractmethod
    def files(self, prefix: str = "") -> list[str]:
        """The names that begin so, sorted; none when there is no folder."""

    @abstractmethod
    def first_after(self, name: str) -> str | None:
        """The least name above that one."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the folders in it, sorted."""

    @abstractmethod
    def tree(self) -> dict[str, datetime]:
        """Every file in it and below, drafts too, by its path from here; when it was written."""

    def prune(self) -> None:
        """Takes empty folders away, itself too, where folders are made."""

    @abstractmethod
    def identity(self, name: str) -> tuple[object, ...]:
        """What tells a file from another one that came into its place.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def make(self) -> None:
        """Makes the folder, where folders are made."""

    @abstractmethod
    def sync(self, *names: str) -> None:
        """Puts files that another hand wrote, and their names, onto the disk."""

    # ---- data files

    @abstractmethod
    def create(self, name: str) -> Any:
        """A new data file, to be written from its beginning to its end and then given to `seal`; who gives it
        up closes and deletes it."""

    @abstractmethod
    def seal(self, file: Any) -> None:
        """Closes a data file that is whole."""

    @abstractmethod
    def absolute(self, path: str) -> str:
        """Where a data file lies, for `opened` and for engines; itself, if it is absolute."""

    @abstractmethod
    def opened(self, file: str) -> AbstractContextManager[Any]:
        """A data file, as Arrow reads it."""

    def know(self, sizes: Mapping[str, int]) -> None:
        """Is told absolute files and their sizes, which far ones need not be asked for then."""

    # ---- Delta

    @abstractmethod
    def delta(self, version: int | None = None) -> DeltaTable:
        """The table at the newest version or the given one, by a handle of its own.

        Raises:
            TableNotFoundError: there is none.
        """

    @abstractmethod
    def make_delta(self, schema: DeltaSchema, **options: Any) -> None:
        """Creates the table; the options are those of `DeltaTable.create`."""

    # ---- loads

    @abstractmethod
    def announce(self, version: int) -> Ticket:
        """Says that a load begins on the version; -1: there is no table."""

    @abstractmethod
    def lost_loads(self) -> LostLoads:
        """The loads that are lost now."""


class Ticket(ABC):
    """The announcement of a load that lives; see `leftovers`.

    Attributes:
        load: the load's name.
        given: the names that its files got.
        is_final: whether a commit that failed can appear no more. If not, files that it may name stay.
    """

    load: str
    given: set[str]
    is_final: bool

    @property
    def prefix(self) -> str:
        """How the names of the load's data files begin."""
        return f"{PREFIX}{self.load}-"

    def new_name(self) -> str:
        """A file name that nobody has; from any thread."""
        name = f"{self.prefix}{uuid4().hex[:12]}.parquet"
        self.given.add(name)
        return name

    @abstractmethod
    def doubt(self) -> None:
        """Is told that a file was not written: where it may appear yet, the ticket outlives `close`."""

    @abstractmethod
    def close(self) -> None:
        """Takes the announcement back: the load's files are all committed or deleted."""

    @abstractmethod
    def leave(self) -> None:
        """Lets it lie for a later load, that sweeps: what became of the files is not known."""


class LostLoads(Protocol):
    """Loads that nobody goes on with, found at one instant."""

    def sweep(self, ticket: Ticket) -> Sequence[str]:
        """Deletes their files that nobody committed; the names. To be called after a commit that was worked
        out on a version opened since they were found: no commit of theirs can appear then.

        Args:
            ticket: of the load that made the commit.
        """
        ...
