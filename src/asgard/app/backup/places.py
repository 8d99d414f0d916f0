"""Where each member of an archive belongs in a project, and what becomes of what is there already."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from asgard.app.backup import own_files, positions, stores
from asgard.app.backup.archive import Archive, chunks_of, writing_to
from asgard.app.backup.manifest import Member
from asgard.app.backup.state_files import GROWING, SECRETS, place_of, secret_store
from asgard.app.backup.stores import Store, files_of
from asgard.app.config.project import Project
from asgard.core.errors import ConfigError


class Existing(StrEnum):
    """What becomes of what is there, and is another one than the backup's."""

    REFUSE = "refuse"
    KEEP = "keep"
    REPLACE = "replace"


class Fate(StrEnum):
    """What becomes of a member."""

    BROUGHT = "brought back"
    REPLACED = "put in place of another"
    SAME = "there already"
    KEPT = "another one is there, and stays"


@dataclass(frozen=True)
class Place:
    """Where a member belongs.

    Attributes:
        file: None for rows of a shared database.
        store: the database that it belongs to.
        grows: the one that is there is as good, or better.
        has_rows: of rows, whether the store has others already.
    """

    member: Member
    file: Path | None
    store: Store | None = None
    grows: bool = False
    has_rows: bool = False

    @property
    def is_database(self) -> bool:
        """Whether others may have it open."""
        return self.store is not None and self.file is not None

    def is_there(self) -> bool:
        """Whether something is in its place that it would replace."""
        return self.has_rows if self.file is None else self.file.exists()

    def is_same(self) -> bool:
        """Whether what is there is what the backup has; of a database that cannot be told."""
        if self.file is None or self.is_database or self.file.stat().st_size != self.member.size_bytes:
            return False
        digest = hashlib.sha256()
        with writing_to(self.file), self.file.open("rb") as source:
            for chunk in chunks_of(source):
                digest.update(chunk)
        return digest.hexdigest() == self.member.sha256


@dataclass(frozen=True)
class Part:
    """A member, and what became of it."""

    place: Place
    fate: Fate

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        member = self.place.member
        return {"part": member.name, "bytes": member.size_bytes, "fate": str(self.fate)}


def places(project: Project, archive: Archive, with_rows: Collection[str]) -> Iterator[Place]:
    """Where everything of the state and of the project's own files belongs; tables are apart.

    Args:
        with_rows: the shared stores that have rows.

    Raises:
        ConfigError: the archive has something that this version does not know.
    """
    databases = files_of(project)
    secrets = secret_store(project).file
    shared = {store.member_of(table): store for store in stores.STORES for table in store.shared}
    for name, member in archive.members.items():
        if name in databases:
            store, file = databases[name]
            # A catalog that is there knows later versions: it is never taken back.
            yield Place(member, file, store, grows=store is stores.CATALOG_STORE)
        elif name in shared and project.queue.postgres is not None:
            yield Place(member, None, shared[name], has_rows=shared[name].name in with_rows)
        elif name == SECRETS:
            yield Place(member, secrets)
        elif (file_of := place_of(project.state_folder, name)) is not None:
            yield Place(member, file_of, grows=name.startswith(tuple(f"{one}/" for one in GROWING)))
        elif name.startswith(f"{own_files.FOLDER}/"):
            yield Place(member, own_place(project.folder, name))
        elif not name.startswith(f"{positions.FOLDER}/"):
            raise ConfigError(
                f"the backup has {name}, which this version cannot put anywhere",
                hint="restore it with the version of Asgard that made it, or a newer one",
            )


def own_place(folder: Path, name: str) -> Path:
    """Where one of the project's own files belongs; never outside of its folder.

    Raises:
        ConfigError: its name leads elsewhere.
    """
    steps = PurePosixPath(name).parts[1:]
    if not steps or any(step in ("..", "/") or step.startswith(".") or "\\" in step for step in steps):
        raise ConfigError(f"the backup has a file {name!r} that is no file of a project")
    return folder.joinpath(*steps)


def fate_of(place: Place, existing: Existing, *, is_ours: bool) -> Fate | None:
    """What becomes of a member; None: it is to be refused.

    Args:
        is_ours: a restore of this backup was begun and not finished: what is there may be its own.
    """
    if not place.is_there():
        return Fate.BROUGHT
    if place.is_same():
        return Fate.SAME
    if place.grows:
        return Fate.KEPT
    if existing is Existing.KEEP:
        return Fate.KEPT
    return Fate.REPLACED if existing is Existing.REPLACE or is_ours else None
