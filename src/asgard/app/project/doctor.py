"""What is wrong with a project, its state, its tables and its sources, found without changing any of them.

Each part is examined for itself: what one finds, or fails of, does not keep the next from being looked at.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asgard.app.backup.last import last_backup, unfinished_restore
from asgard.app.config.lakes import CatalogSpec, LakeSpec
from asgard.app.config.project import Project, load_project
from asgard.app.config.yaml_text import Node
from asgard.app.project.workspace import Workspace
from asgard.app.runs.history import journal_file
from asgard.app.sources.sources import check_sources
from asgard.core.errors import AsgardError
from asgard.core.table import Table, TableName

LEAST_FREE_BYTES = 2_000_000_000
"""A disk with less is told: a merge or a sort may have to spill that much."""
MANY_SMALL_FILES = 200
MANY_OVER_ONE_KEY = 16
MANY_LOG_ENTRIES = 10_000
SMALL_FILE_BYTES = 16_000_000
CLOCKS_APART = timedelta(minutes=5)
OLD_BACKUP = timedelta(days=7)
MOST_RUNS_COUNTED = 1000
SECRET_WORDS = (
    *("password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "account_key"),
    "credential",
)
UNVERIFIED_TLS = ("allow", "prefer", "require")
DOTENV = ".env"


class Grade(StrEnum):
    """How a finding is meant."""

    GOOD = "good"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        about: the thing: `project`, `history`, `lake`, `table bronze.shop.orders`, `source shop`.
        what: the fact.
        hint: the next step; empty where there is none to take.
    """

    about: str
    grade: Grade
    what: str
    hint: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, str]:
        """As JSON."""
        known = {"about": self.about, "grade": str(self.grade), "what": self.what, "hint": self.hint}
        return {key: value for key, value in known.items() if value}


def examine(
    project: str | None = None, env: str | None = None, *, with_sources: bool = True, deep: bool = False
) -> Iterator[Finding]:
    """Looks at everything that a project stands on, part by part.

    Args:
        project, env: as `Workspace.open` takes them.
        with_sources: False connects to no source.
        deep: opens every data file of every table instead of seeing that it is there.
    """
    yield Finding("asgard", Grade.GOOD, _versions())
    try:
        opened = load_project(project, env)
    except AsgardError as error:
        yield _failed("project", error)
        return
    yield Finding("project", Grade.GOOD, f"{opened.file} with {_count(len(opened.sources), 'source')}")
    workspace = Workspace(opened)
    yield from _secrets(opened)
    yield from _state(opened)
    yield from _backup(opened)
    yield from _lake(workspace, deep)
    yield from _sources(workspace, with_sources)


def _failed(about: str, error: AsgardError) -> Finding:
    return Finding(about, Grade.FAILURE, error.what, error.hint, error.exit_code)


def _versions() -> str:
    parts = [f"{name} {version(name)}" for name in ("duckdb", "deltalake", "pyarrow")]
    python = f"Python {platform.python_version()} on {sys.platform}"
    return f"{version('asgard-platform')}, {python}, {', '.join(parts)}"


# ---- secrets


def _secrets(project: Project) -> Iterator[Finding]:
    if project.files is not None:
        for path, node in _literal_secrets(project.files.written, ""):
            place = f"{node.where.file}:{node.where.line}: " if node.where else ""
            yield Finding(
                "secrets",
                Grade.WARNING,
                f"{place}{path} is written out in the file",
                'asgard secrets set NAME keeps it encrypted; then write "${store:NAME}"',
            )
    dotenv = project.folder / DOTENV
    if dotenv.is_file() and dotenv.stat().st_mode & 0o077:
        yield Finding("secrets", Grade.WARNING, f"{dotenv} can be read by others", f"chmod 600 {dotenv}")


def _literal_secrets(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            below = f"{path}.{key}" if path else str(key)
            if isinstance(child.value, str) and _is_secret(str(key)):
                if child.value and "${" not in child.value:
                    yield below, child
            else:
                yield from _literal_secrets(child, below)
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            yield from _literal_secrets(child, f"{path}[{number}]")


def _is_secret(key: str) -> bool:
    return any(key.lower().endswith(word) for word in SECRET_WORDS)


# ---- state and disks


def _state(project: Project) -> Iterator[Finding]:
    folder = project.state_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        history = Workspace(project).journal if journal_file(folder).exists() else None
        runs = list(history.runs(limit=1)) if history else []
    except AsgardError as error:
        yield _failed("history", error)
    except OSError as error:
        yield Finding("history", Grade.FAILURE, f"{folder}: {error.strerror}", "check the folder's rights", 3)
    else:
        yield _last_run(folder, runs[0] if runs else None)
    yield from _disk("history", folder)


def _last_run(folder: Path, run: dict[str, Any] | None) -> Finding:
    if run is None:
        return Finding("history", Grade.GOOD, f"{folder}, no run yet")
    said = f"{folder}, the last run {run['run']} is {run['status']}"
    if run["status"] in ("lost", "failed"):
        return Finding("history", Grade.WARNING, said, f"asgard runs show {run['run']} says why")
    return Finding("history", Grade.GOOD, said)


def _disk(about: str, folder: Path) -> Iterator[Finding]:
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    if not os.access(there, os.W_OK):
        yield Finding(about, Grade.FAILURE, f"{there} cannot be written", "check the folder's rights", 3)
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        yield Finding(
            about,
            Grade.WARNING,
            f"{free / 1e9:.1f} GB are free on the disk of {there}",
            "loads stop when it is full and lose nothing; free space, or put `lake.location` and `state` "
            "on another disk",
        )


def _backup(project: Project) -> Iterator[Finding]:
    folder = project.state_folder
    begun = unfinished_restore(folder)
    if begun:
        what = f"a restore of {begun} was begun and not finished"
        yield Finding("backup", Grade.FAILURE, what, f"run it again: asgard restore {begun}", 4)
    last = last_backup(folder)
    if last is None:
        yield Finding("backup", Grade.GOOD, "none is known; asgard backup makes one")
        return
    there = "" if last.file.exists() else ", which is not there any more"
    said = f"the last is of {last.made_at:%Y-%m-%d %H:%M} UTC, {last.file}{there}"
    missed = _runs_since(project, last.made_at)
    if missed and datetime.now(UTC) - last.made_at > OLD_BACKUP:
        what = f"{said}: a restore would miss {_count(missed, 'run')} of the history"
        yield Finding("backup", Grade.WARNING, what, f"asgard backup {last.file.parent}/")
    else:
        yield Finding("backup", Grade.GOOD, f"{said}, {_count(missed, 'run')} since")


def _runs_since(project: Project, instant: datetime) -> int:
    if not journal_file(project.state_folder).exists():
        return 0
    try:
        runs = Workspace(project).journal.runs(limit=MOST_RUNS_COUNTED)
        return sum(datetime.fromisoformat(run["started_at"]) > instant for run in runs)
    except AsgardError:  # which the history's own finding tells
        return 0


# ---- tables

_RESTORE = "put the file back from a backup, or read the table anew with asgard resync"


def _lake(workspace: Workspace, deep: bool) -> Iterator[Finding]:
    location = workspace.project.lake.location
    if "://" not in location:
        yield from _disk("lake", workspace.project.folder / location)
    try:
        names = list(workspace.lake.tables())
    except AsgardError as error:
        yield _failed("lake", error)
        return
    yield Finding(
        "lake", Grade.GOOD, f"{location} with {_count(len(names), 'table')}{_kept(workspace.project.lake)}"
    )
    yield from _catalog(workspace.project.lake.catalog)
    for name in names:
        try:
            yield from _table(name, workspace.lake.table(name), deep)
        except AsgardError as error:
            yield _failed(f"table {name}", error)


def _kept(lake: LakeSpec) -> str:
    """How its tables are kept, where it is not Delta's way."""
    if lake.format == "delta":
        return ""
    where = lake.catalog.uri if lake.catalog and lake.catalog.uri else "catalog.db in it"
    return f" of Iceberg (pyiceberg {version('pyiceberg')}), catalog {where}"


def _catalog(catalog: CatalogSpec | None) -> Iterator[Finding]:
    found = urlsplit(catalog.uri or "") if catalog else None
    if found is not None and found.scheme == "http" and not _is_loopback(found.hostname or ""):
        yield Finding(
            "lake",
            Grade.WARNING,
            f"the catalog {found.hostname} is asked without TLS: anybody between can read its token",
            "write https:// in lake.catalog.uri",
        )


def _table(name: TableName, table: Table, deep: bool) -> Iterator[Finding]:
    about = f"table {name}"
    mount, newest = table.mount(), table.versions(1)[0]
    if newest.at > datetime.now(UTC) + CLOCKS_APART:
        yield Finding(
            about,
            Grade.WARNING,
            f"version {newest.version} was committed at {newest.at:%Y-%m-%d %H:%M} UTC, which is yet to come",
            "set this machine's clock; until then `--at` with an instant finds another version than you mean",
        )
    if mount.filesystem is not None or (mount.reader is not None and not mount.marked):
        return
    files = (*mount.files, *mount.marked)
    lost = [file for file in files if not os.path.exists(file)]
    if lost:
        yield Finding(
            about,
            Grade.FAILURE,
            f"version {newest.version} misses {_count(len(lost), 'data file')}, first {Path(lost[0]).name}",
            _RESTORE,
            4,
        )
        return
    gone = sum(map(len, mount.marked.values()))  # raises where the marks of a file are damaged
    if deep:
        yield from _footers(about, files, None if mount.rows is None else mount.rows + gone)
    yield from _upkeep(about, table)
    small = sum(os.path.getsize(file) < SMALL_FILE_BYTES for file in files)
    if small > MANY_SMALL_FILES:
        yield Finding(
            about,
            Grade.WARNING,
            f"{small:,} of its {len(files):,} files are small: queries open each",
            "asgard maintain puts them together, and `run --follow` does beside its loads",
        )


def _upkeep(about: str, table: Table) -> Iterator[Finding]:
    due = table.upkeep()
    told = []
    if due.depth >= MANY_OVER_ONE_KEY:
        told.append(f"{due.depth:,} of its files lie over one {' and '.join(due.order_by)}: merges open each")
    if due.entries > MANY_LOG_ENTRIES:
        told.append(f"its log tells of {due.entries:,} versions")
    if told:
        hint = "asgard maintain sees to it; `maintenance: {every: daily}` has a worker do it"
        yield Finding(about, Grade.WARNING, "; ".join(told), hint)


def _footers(about: str, files: tuple[str, ...], rows: int | None) -> Iterator[Finding]:
    import pyarrow as pa
    from pyarrow import parquet

    found = 0
    for file in files:
        try:
            found += parquet.read_metadata(file).num_rows
        except (OSError, pa.ArrowInvalid) as error:
            yield Finding(about, Grade.FAILURE, f"{Path(file).name} cannot be read: {error}", _RESTORE, 4)
            return
    if rows is not None and found != rows:
        yield Finding(
            about, Grade.FAILURE, f"its files hold {found:,} rows, its log says {rows:,}", _RESTORE, 4
        )


# ---- sources


def _sources(workspace: Workspace, connect: bool) -> Iterator[Finding]:
    for name, spec in workspace.project.sources.items():
        if spec.unavailable is not None:
            yield _failed(f"source {name}", spec.unavailable)
            continue
        yield from _encryption(name, spec.config)
    if not connect:
        return
    names = [name for name, spec in workspace.project.sources.items() if spec.unavailable is None]
    for tried in check_sources(workspace, names, lambda event: None) if names else ():
        about = f"source {tried.source}"
        if tried.error is not None:
            yield _failed(about, tried.error)
        else:
            yield Finding(about, Grade.GOOD, f"{tried.type}, answered in {tried.seconds * 1000:.0f} ms")


def _encryption(name: str, config: Any) -> Iterator[Finding]:
    connection = getattr(config, "connection", None) or config
    mode, host = getattr(connection, "ssl_mode", None), getattr(connection, "host", None)
    if mode is None or not host or _is_loopback(str(host)):
        return
    if mode == "disable":
        what, hint = (
            f"{host} is asked without TLS: anybody between can read along",
            "set ssl_mode: verify-full",
        )
    elif mode in UNVERIFIED_TLS:
        what = f"ssl_mode: {mode} does not verify that {host} is who it says"
        hint = "set ssl_mode: verify-full, with ssl_root_cert where the authority is your own"
    else:
        return
    yield Finding(f"source {name}", Grade.WARNING, what, hint)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
