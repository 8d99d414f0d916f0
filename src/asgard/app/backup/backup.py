"""The wish to keep what a project remembers: its state, its secrets as they are encrypted, its positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asgard.app.access.access import local_principal, open_access, record
from asgard.app.backup import own_files
from asgard.app.backup.archive import Draft
from asgard.app.backup.last import LastBackup, note_backup
from asgard.app.backup.manifest import Manifest, SecretsKept, StoreKept
from asgard.app.backup.positions import keep_tables
from asgard.app.backup.state_files import FOLDERS, SECRETS, files_below, secret_store
from asgard.app.backup.stores import ACCESS_STORE, keep_stores, kind_of
from asgard.app.config.lakes import is_far
from asgard.app.config.project import Project
from asgard.app.project.workspace import Workspace
from asgard.core.errors import AsgardError, ConfigError, Refused

ENDING = ".asgard.zip"
Tell = Callable[[str, int], None]
"""Is told a member that is in, and its bytes."""


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes:
        size_bytes: of the file.
        failed: by table, why its records are not in it.
    """

    file: Path
    size_bytes: int
    manifest: Manifest
    failed: Mapping[str, AsgardError] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        told = self.manifest
        secrets = {"key_id": told.secrets.key_id, "secrets": told.secrets.count} if told.secrets else None
        known = {
            "backup": str(self.file),
            "bytes": self.size_bytes,
            "made_at": told.made_at.isoformat(),
            "asgard": told.asgard,
            "members": len(told.members),
            "tables": {table.table: table.version for table in told.tables},
            "secrets": secrets,
            "with_project": told.with_project,
            "failed": {table: error.as_dict() for table, error in self.failed.items()} or None,
        }
        return {name: value for name, value in known.items() if value is not None}


def backup(
    workspace: Workspace,
    destination: str,
    tell: Tell = lambda name, size: None,
    *,
    with_project: bool = False,
) -> Backup:
    """Writes a backup while the project is used; the rows of tables are not in it.

    Args:
        workspace: opened with its sources, if `with_project`.
        destination: a file that is not there yet, or a folder: then the file is called after project and
            instant.
        with_project: puts the project's own files in: its YAML, models and contracts.

    Raises:
        Refused: it cannot be written there, or would lie within what it is a backup of.
        OutOfSpace: the disk is full; nothing is left of it.
        ConfigError: a file of the project has a secret written in it.
        DataError: a store is damaged.
        Unreachable: a database or the lake does not answer.
    """
    project, made_at = workspace.project, datetime.now(UTC)
    names = own_files.own_files(project) if with_project else []
    own_files.refuse_written_secrets(project, names)
    file = _file_of(project, destination, made_at)
    with Draft(file) as draft:
        # Tables first: what the state says of runs is never older than what their loads left.
        failed: dict[str, AsgardError] = {}
        tables = tuple(keep_tables(workspace, draft, tell, failed))
        stores = keep_stores(project, draft, tell)
        secrets = _keep_secrets(project, draft, tell)
        for name in FOLDERS:
            for member, path in files_below(project.state_folder, name):
                _keep_file(draft, member, path, tell)
        for own in names:
            _keep_file(draft, f"{own_files.FOLDER}/{own.as_posix()}", project.folder / own, tell)
        manifest = draft.finish(
            Manifest(
                version("asgard-platform"), made_at, project.name, project.workspace, project.environment,
                project.lake.location, kind_of(project), with_project, stores, tables, secrets,
            )
        )  # fmt: skip
    note_backup(project.state_folder, LastBackup.of(file, manifest))
    _write_down(project, stores, file)
    return Backup(file, file.stat().st_size, manifest, failed)


def _file_of(project: Project, destination: str, made_at: datetime) -> Path:
    if is_far(destination):
        raise ConfigError(
            f"a backup is a file of this machine, not {destination}",
            hint="name a file or a folder, and let the store's own tool carry it there",
        )
    place = Path(destination).expanduser().absolute()
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in project.name)
    if place.is_dir() or destination.endswith("/"):
        place /= f"{name}-{made_at:%Y%m%dT%H%M%S%fZ}{ENDING}"
    inside = place.resolve()
    if not is_far(project.lake.location):
        _refuse_within(inside, project.folder / project.lake.location, "the lake")
    _refuse_within(inside, project.state_folder, "the state")
    return place


def _refuse_within(place: Path, folder: Path, what: str) -> None:
    if place.is_relative_to(folder.resolve()):
        raise Refused(
            f"{place} lies within {what}, {folder}: it would be lost together with it",
            hint="name a place on another disk",
        )


def _keep_file(draft: Draft, member: str, path: Path, tell: Tell) -> None:
    try:
        source = path.open("rb")
    except FileNotFoundError:  # forgotten meanwhile
        return
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", hint="look at its owner") from error
    with source:
        tell(member, draft.add(member, _to_its_end(source)).size_bytes)


def _to_its_end(source: Any) -> Iterator[bytes]:
    """What is there now: a log that grows as fast as it is read comes to an end."""
    left = Path(source.name).stat().st_size
    while left > 0 and (chunk := source.read(min(left, 1 << 18))):
        left -= len(chunk)
        yield chunk


def _keep_secrets(project: Project, draft: Draft, tell: Tell) -> SecretsKept | None:
    store = secret_store(project)
    content = store.content()
    if content is None:
        return None
    document = store.parsed(content)
    tell(SECRETS, draft.add(SECRETS, [content]).size_bytes)
    return SecretsKept(document["id"], len(document["secrets"]))


def _write_down(project: Project, stores: tuple[StoreKept, ...], file: Path) -> None:
    """To the audit log, where there is one."""
    if any(store.name == ACCESS_STORE.name for store in stores):
        with open_access(project) as access:
            record(access, local_principal(), "backup", str(file))
