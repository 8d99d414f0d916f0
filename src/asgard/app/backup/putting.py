"""Puts the parts of an archive into their places, each whole; what is replaced is set aside.

A mark in the state says that it is under way: when it was killed, what is there may be its own, and the next
restore of the same archive goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from asgard.app.backup.aftermath import Aftermath, settle_queue
from asgard.app.backup.archive import Archive, writing_to
from asgard.app.backup.last import RESTORING
from asgard.app.backup.places import Fate, Part
from asgard.app.backup.shared_rows import put_rows
from asgard.app.backup.state_files import SECRETS, secret_store
from asgard.app.backup.stores import ACCESS_STORE, HISTORY_STORE, QUEUE_STORE, Store, refuse_while_worked
from asgard.app.config.project import Project
from asgard.core.errors import ConfigError, DataError, Refused
from asgard.state.recovery import end_sessions, workspaces_of_jobs
from asgard.state.sqlite_copy import BESIDE, copy_out, put_back, put_new
from asgard.state.sqlite_database import SqliteDatabase

FORMAT = 1
LOCK = ".restore.lock"
DRAFT = ".restore.db"


class Putting:
    """One restore, under way. Only one at a time.

    Attributes:
        goes_on: one of the same archive was begun before, and not finished.
        set_aside: the folder with what was replaced; None where nothing was.
        after: what was put right.

    Raises:
        Refused: another restore is under way, or the state cannot be written.
    """

    def __init__(self, project: Project, archive: Archive, *, dry_run: bool) -> None:
        self._project = project
        self._archive = archive
        self._dry_run = dry_run
        self._state = project.state_folder
        self._lock: int | None = None
        self.set_aside: Path | None = None
        self.after = Aftermath()
        self.goes_on = self._begun() == archive.id

    def put(self, parts: Sequence[Part]) -> None:
        """Puts what is to be brought back or replaced."""
        wanted = [part for part in parts if part.fate in (Fate.BROUGHT, Fate.REPLACED)]
        for part in wanted:
            if part.place.store is QUEUE_STORE and part.fate is Fate.REPLACED and part.place.file is not None:
                _refuse_while_worked(part.place.file)
        self._begin()
        # The history before the queue: it says which attempts of its jobs there were.
        for part in sorted(wanted, key=lambda one: one.place.store is not HISTORY_STORE):
            if part.place.is_database:
                self._put_database(part)
            elif part.place.file is not None:
                self._put_document(part)
        shared = {part.place.store.name for part in wanted if part.place.store and part.place.file is None}
        put_rows(self._project, self._archive, shared, self.after)

    def finish(self) -> None:
        """All of it is done."""
        if not self._dry_run:
            with writing_to(self._state):
                (self._state / RESTORING).unlink(missing_ok=True)

    @staticmethod
    def put_file(archive: Archive, part: Part) -> None:
        """Puts a file that nobody has open."""
        place, member = part.place.file, part.place.member.name
        assert place is not None
        if part.fate not in (Fate.BROUGHT, Fate.REPLACED):
            return
        draft = place.with_name(f".{place.name}.restore")
        with writing_to(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("wb") as target:
                    for chunk in archive.read(member):
                        target.write(chunk)
                    target.flush()
                    os.fsync(target.fileno())
                draft.replace(place)
            finally:
                draft.unlink(missing_ok=True)

    # ---- under way

    def __enter__(self) -> Self:
        if not self._dry_run:
            with writing_to(self._state):
                self._state.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(self._state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(self._lock)
                    raise Refused("another restore is under way", hint="wait for its end") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _begun(self) -> str:
        with suppress(OSError, ValueError, KeyError):
            document = json.loads((self._state / RESTORING).read_text(encoding="utf-8"))
            if document["format"] == FORMAT:
                return str(document["backup"])
        return ""

    def _begin(self) -> None:
        with writing_to(self._state):
            for suffix in ("", *BESIDE):
                (self._state / f"{DRAFT}{suffix}").unlink(missing_ok=True)
            document = {"format": FORMAT, "backup": self._archive.id, "file": str(self._archive.file)}
            beside = self._state / f".{RESTORING}.new"
            beside.write_text(json.dumps(document), encoding="utf-8")
            beside.replace(self._state / RESTORING)

    def _aside(self, name: str) -> Path:
        """Where the one that is replaced goes."""
        if self.set_aside is None:
            self.set_aside = self._state / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        place = self.set_aside / name
        with writing_to(place):
            self.set_aside.mkdir(mode=0o700, exist_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
        return place

    # ---- files

    def _put_document(self, part: Part) -> None:
        file, name = part.place.file, part.place.member.name
        assert file is not None
        if part.fate is Fate.REPLACED:
            aside = self._aside(name)
            with writing_to(aside):
                aside.write_bytes(file.read_bytes())
                aside.chmod(0o600)
        if name == SECRETS:
            secret_store(self._project).put_back(b"".join(self._archive.read(name)))
        else:
            self.put_file(self._archive, part)

    # ---- databases that are files

    def _put_database(self, part: Part) -> None:
        place, store = part.place, part.place.store
        assert place.file is not None
        assert store is not None
        draft = self._state / DRAFT
        try:
            with writing_to(draft):
                handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as target:
                    for chunk in self._archive.read(place.member.name):
                        target.write(chunk)
            self._settle(draft, store)
            if part.fate is Fate.REPLACED and self._set_database_aside(place.file, place.member.name, store):
                put_back(draft, place.file, store.tables.what)
            else:
                with writing_to(place.file):
                    if not store.tables.careful:
                        draft.chmod(0o644)
                    put_new(draft, place.file)
        finally:
            for suffix in ("", *BESIDE):
                draft.with_name(draft.name + suffix).unlink(missing_ok=True)

    def _set_database_aside(self, file: Path, name: str, store: Store) -> bool:
        """Keeps what is there; False when it is none any more, and was moved away."""
        aside = self._aside(name)
        try:
            copy_out(file, aside, store.tables.what)
        except (ConfigError, DataError):
            with writing_to(aside):
                for suffix in ("", *BESIDE):
                    with suppress(FileNotFoundError):
                        file.with_name(file.name + suffix).replace(aside.with_name(aside.name + suffix))
            return False
        return True

    def _settle(self, draft: Path, store: Store) -> None:
        """Puts right what speaks of the past, before anybody sees it; an older format is made this one's."""
        database = SqliteDatabase(draft, store.tables.what)
        database.migrate(store.tables.schema, store.tables.version)
        if store is QUEUE_STORE:
            with database.writing() as rows:
                for workspace in workspaces_of_jobs(rows):
                    settle_queue(self._project, rows, database.now, workspace, self.after)
        elif store is ACCESS_STORE:
            with database.writing() as rows:
                self.after.sessions += end_sessions(rows, None)


def _refuse_while_worked(file: Path) -> None:
    """A queue that cannot be asked is not worked with either."""
    with suppress(ConfigError, DataError):
        database = SqliteDatabase(file, QUEUE_STORE.tables.what)
        with database.reading() as rows:
            for workspace in workspaces_of_jobs(rows):
                refuse_while_worked(rows, database.now, workspace)
