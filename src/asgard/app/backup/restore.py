"""The wish to have back what a backup holds, where state or what lies beside the tables is lost.

Nothing is changed before all of the archive was read and found whole. What is there already is left alone, or
set aside, as the wish says. Each part comes into its place whole, so that a restore that is killed can be run
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asgard.app.access.access import local_principal, open_access, record
from asgard.app.backup import own_files
from asgard.app.backup.aftermath import Aftermath
from asgard.app.backup.archive import Archive
from asgard.app.backup.last import LastBackup, last_backup, note_backup
from asgard.app.backup.manifest import Manifest
from asgard.app.backup.places import Existing, Fate, Part, Place, fate_of, own_place, places
from asgard.app.backup.positions import TableFound, restore_tables
from asgard.app.backup.putting import Putting
from asgard.app.backup.shared_rows import stores_with_rows
from asgard.app.backup.state_files import SECRETS, secret_store
from asgard.app.backup.stores import ACCESS_STORE, CATALOG_STORE, kind_of, refuse_newer_stores
from asgard.app.config.project import Project, load_project
from asgard.app.config.project_file import FILE_NAMES
from asgard.app.project.workspace import Workspace
from asgard.core.errors import ConfigError, Refused

CLOCKS_APART = timedelta(minutes=5)
SHOWN_IN_AN_ERROR = 5
Tell = Callable[[str, int], None]
"""Is told a member that was read, and its bytes."""


@dataclass(frozen=True)
class RestoreWish:
    """What is to be restored, and where.

    Attributes:
        source: the archive.
        into: the project's folder; None for the project of this folder.
        existing: what becomes of what is there, and is another one.
        dry_run: changes nothing, and says what would be done.
    """

    source: Path
    into: Path | None = None
    existing: Existing = Existing.REFUSE
    dry_run: bool = False


@dataclass(frozen=True)
class Restored:
    """What was done, or would be.

    Attributes:
        tables: of the lake; empty where it cannot be said yet.
        set_aside: the folder with what was replaced; None where nothing was.
        key_place: where the key of the secrets rests; None where it is not at hand, or there are no secrets.
        notes: what a person has to know, a sentence each.
    """

    file: Path
    manifest: Manifest
    dry_run: bool
    parts: tuple[Part, ...]
    tables: tuple[TableFound, ...]
    after: Aftermath = field(default_factory=Aftermath)
    set_aside: Path | None = None
    key_place: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def needs_a_person(self) -> bool:
        """Whether a table is in a state that somebody has to decide about."""
        return any(table.needs_a_person for table in self.tables)

    def as_dict(self) -> dict[str, Any]:
        """As JSON; what is not known is absent."""
        known = {
            "backup": str(self.file),
            "made_at": self.manifest.made_at.isoformat(),
            "dry_run": self.dry_run or None,
            "parts": [part.as_dict() for part in self.parts],
            "tables": [table.as_dict() for table in self.tables],
            "jobs_that_wait_again": self.after.jobs,
            "schedules_moved": self.after.schedules,
            "sessions_ended": self.after.sessions,
            "set_aside": str(self.set_aside) if self.set_aside else None,
            "key": self.key_place,
            "notes": list(self.notes),
        }
        return {name: value for name, value in known.items() if value is not None}


def restore(
    wish: RestoreWish,
    project: str | Path | None = None,
    env: str | None = None,
    tell: Tell = lambda name, size: None,
) -> Restored:
    """Brings back what was lost.

    Args:
        project, env: as `Workspace.open` takes them; `wish.into` goes before the project.

    Raises:
        DataError: the archive is damaged; nothing was changed.
        ConfigError: a newer version made it, or it is of another project's kind.
        Refused: something is there that would be replaced, or a worker is running; nothing was changed.
        OutOfSpace, Unreachable: a part could not be written; running it again goes on.
    """
    with Archive(wish.source) as archive:
        archive.check(tell)
        refuse_newer_stores(archive.manifest.stores)
        own = _own_files_first(wish, archive)
        opened = _project(wish, project, env, archive)
        if opened is None:  # a dry run into a folder where there is no project yet
            return Restored(wish.source, archive.manifest, True, tuple(own), (), notes=_notes(archive))
        _refuse_another(opened, archive.manifest)
        with Putting(opened, archive, dry_run=wish.dry_run) as putting:
            planned = _planned(opened, archive, wish.existing, is_ours=putting.goes_on)
            mine = {part.place.member.name for part in own}
            parts = [part for part in planned if part.place.member.name not in mine]
            if not wish.dry_run:
                putting.put(parts)
            tables = tuple(restore_tables(Workspace(opened), archive, dry_run=wish.dry_run))
            putting.finish()
        done = Restored(
            wish.source,
            archive.manifest,
            wish.dry_run,
            (*own, *parts),
            tables,
            putting.after,
            putting.set_aside,
        )
        return replace(done, **_ends(opened, archive, done))


# ---- which project


def _own_files_first(wish: RestoreWish, archive: Archive) -> list[Part]:
    """The project's own files, where a folder is named that has no project yet: without them it is none."""
    if wish.into is None or any((wish.into / name).is_file() for name in FILE_NAMES):
        return []
    if not archive.manifest.with_project:
        raise ConfigError(
            f"there is no project in {wish.into}, and none in the backup",
            hint="put asgard.yml there first; asgard backup --with-project keeps the project's own files",
        )
    found = []
    for name in archive.below(f"{own_files.FOLDER}/"):
        place = Place(archive.members[name], own_place(wish.into.absolute(), name))
        fate = fate_of(place, wish.existing, is_ours=False)
        if fate is None:
            raise _refusal([place])
        found.append(Part(place, fate))
    if not wish.dry_run:
        for part in found:
            Putting.put_file(archive, part)
    return found


def _project(
    wish: RestoreWish, project: str | Path | None, env: str | None, archive: Archive
) -> Project | None:
    if (
        wish.into is not None
        and wish.dry_run
        and not any((wish.into / name).is_file() for name in FILE_NAMES)
    ):
        return None
    return load_project(wish.into or project, env, with_sources=False)


def _refuse_another(project: Project, manifest: Manifest) -> None:
    if manifest.workspace != project.workspace:
        raise ConfigError(
            f"the backup is of workspace {manifest.workspace}, this project's is {project.workspace}",
            hint="set workspace in asgard.yml, or choose the project with --project",
        )
    if manifest.kind != kind_of(project):
        raise ConfigError(
            f"the backup's queue and users lay in {manifest.kind}, this project's lie in {kind_of(project)}",
            hint="set queue.postgres in asgard.yml as it was then, restore, and only then move them",
        )


# ---- what is done


def _planned(project: Project, archive: Archive, existing: Existing, *, is_ours: bool) -> list[Part]:
    parts, refused = [], []
    with_rows = stores_with_rows(project)
    for place in places(project, archive, with_rows):
        fate = fate_of(place, existing, is_ours=is_ours)
        if fate is None:
            refused.append(place)
        else:
            parts.append(Part(place, fate))
    if refused:
        raise _refusal(refused)
    return parts


def _refusal(refused: list[Place]) -> Refused:
    names = [place.member.name for place in refused]
    more = f" and {len(names) - SHOWN_IN_AN_ERROR} more" if len(names) > SHOWN_IN_AN_ERROR else ""
    return Refused(
        f"there is another {', '.join(names[:SHOWN_IN_AN_ERROR])}{more} already; nothing was changed",
        hint="--keep leaves what is there and brings back what is missing; --overwrite puts the backup's in "
        "its place, and sets aside what is there",
    )


def _ends(project: Project, archive: Archive, done: Restored) -> dict[str, Any]:
    """What is left to be said, and to be written down."""
    notes = list(_notes(archive))
    if archive.manifest.environment != project.environment:
        named = [f"environment {name}" if name else "production" for name in
                 (archive.manifest.environment, project.environment)]  # fmt: skip
        notes.append(f"the backup is of {named[0]}, and was restored into {named[1]}")
    key_place = None
    brought = {part.place.member.name for part in done.parts if part.fate in (Fate.BROUGHT, Fate.REPLACED)}
    if archive.manifest.secrets is not None and (SECRETS not in brought or not done.dry_run):
        key_place = secret_store(project).key_at_hand()
        if key_place is None:
            notes.append(
                f"the key of the {archive.manifest.secrets.count} secrets is not at hand: bring "
                f"{archive.manifest.secrets.key_id}.key, or set ASGARD_SECRET_KEY"
            )
    access = {part.place.store is ACCESS_STORE for part in done.parts if part.place.member.name in brought}
    if True in access:
        notes.append(
            "tokens and passwords are those of the backup: what was revoked or changed since is as it was"
        )
    if CATALOG_STORE.member in brought:
        notes.append(
            "Iceberg's tables are as they were at the backup: the next runs read again what came since"
        )
    notes += [
        f"rows of {table.table} that had been set aside are lost: they are data, and not in the backup"
        for table in done.tables
        if table.quarantine_lost
    ]
    if not done.dry_run:
        if last_backup(project.state_folder) is None:
            note_backup(project.state_folder, LastBackup.of(archive.file.absolute(), archive.manifest))
        if any(store.name == ACCESS_STORE.name for store in archive.manifest.stores):
            with open_access(project) as opened:
                record(opened, local_principal(), "restore", str(archive.file))
    return {"notes": tuple(notes), "key_place": key_place}


def _notes(archive: Archive) -> tuple[str, ...]:
    made_at = archive.manifest.made_at
    if made_at > datetime.now(UTC) + CLOCKS_APART:
        return (
            f"the backup is of {made_at:%Y-%m-%d %H:%M} UTC, which is yet to come by this machine's clock",
        )
    return ()
