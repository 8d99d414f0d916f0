"""Folders on a disk of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import TableNotFoundError

from asgard.lake import disk
from asgard.lake.folder import Folder
from asgard.lake.leftovers import LocalTicket, Swept, announce, sweep


class LocalFolder(Folder):
    """A folder of this machine.

    Args:
        path: of the folder; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's own."""
        return self.path.name

    def inside(self, name: str) -> Self:
        """As Folder."""
        return type(self)(self.path / name)

    def read(self, name: str) -> bytes:
        """As Folder."""
        return (self.path / name).read_bytes()

    def put(self, name: str, content: bytes) -> None:
        """As Folder."""
        disk.put(self.path / name, content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """As Folder; True for one writer alone, whatever happens."""
        return disk.put_if_absent(self.path / name, content)

    def delete(self, *names: str) -> None:
        """As Folder."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """As Folder."""
        return (self.path / name).exists()

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """As Folder."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = os.path.getsize(self.path / name)
        return found

    def files(self, prefix: str = "") -> list[str]:
        """As Folder; those that begin with a dot are drafts of `disk`."""
        with suppress(FileNotFoundError), os.scandir(self.path) as inside:
            return sorted(
                one.name
                for one in inside
                if one.name.startswith(prefix) and not one.name.startswith(".") and one.is_file()
            )
        return []

    def first_after(self, name: str) -> str | None:
        """As Folder."""
        with suppress(FileNotFoundError), os.scandir(self.path) as inside:
            return min((one.name for one in inside if one.name > name), default=None)
        return None

    def folders(self) -> list[str]:
        """As Folder."""
        with suppress(FileNotFoundError), os.scandir(self.path) as inside:
            return sorted(one.name for one in inside if one.is_dir())
        return []

    def tree(self) -> dict[str, datetime]:
        """As Folder."""
        found = {}
        for place, _, names in os.walk(self.path):
            for name in names:
                with suppress(FileNotFoundError):
                    path = os.path.join(place, name)
                    at = datetime.fromtimestamp(os.stat(path).st_mtime, UTC)
                    found[os.path.relpath(path, self.path)] = at
        return dict(sorted(found.items()))

    def prune(self) -> None:
        """As Folder."""
        for place, _, _ in os.walk(self.path, topdown=False):
            with suppress(OSError):  # it is not empty, or somebody took it away
                os.rmdir(place)

    def identity(self, name: str) -> tuple[object, ...]:
        """As Folder."""
        status = os.stat(self.path / name)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def make(self) -> None:
        """As Folder."""
        disk.make_folder(self.path)

    def sync(self, *names: str) -> None:
        """As Folder."""
        for name in names:
            disk.sync_file(self.path / name)
        disk.sync_folder(self.path)

    def create(self, name: str) -> Any:
        """As Folder.

        Raises:
            FileExistsError: there is one of that name.
        """
        return (self.path / name).open("xb")

    def seal(self, file: Any) -> None:
        """As Folder."""
        file.flush()
        os.fsync(file.fileno())
        file.close()

    def absolute(self, path: str) -> str:
        """As Folder."""
        if path.startswith("file://"):
            return unquote(path.removeprefix("file://"))
        return os.path.join(self.path, path)

    @contextmanager
    def opened(self, file: str) -> Iterator[Any]:
        """As Folder."""
        yield file

    def delta(self, version: int | None = None) -> DeltaTable:
        """As Folder."""
        if not (self.path / "_delta_log").is_dir():
            raise TableNotFoundError(str(self.path))
        return DeltaTable(self.path, version=version)

    def make_delta(self, schema: DeltaSchema, **options: Any) -> None:
        """As Folder."""
        DeltaTable.create(self.path, schema, **options)

    def announce(self, version: int) -> LocalTicket:
        """As Folder."""
        return announce(self, version)

    def lost_loads(self) -> Swept:
        """As Folder: what they did not commit, nobody commits any more, and it is swept at once."""
        return Swept(tuple(sweep(self)))


def as_folder(place: Path | Folder) -> Folder:
    """A path is a folder of this machine."""
    return LocalFolder(place) if isinstance(place, Path) else place
