"""The wish for a first project: from one address to an asgard.yml that runs.

The address says what the source is: `postgres://user:password@host/database`, `https://api.example.com/v1`,
`shop.sqlite`, `folder/` or `file.csv`. A password goes to `.env`, which only the owner may read, never into
asgard.yml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from asgard.app.project.workspace import Workspace
from asgard.app.sources.sources import discover
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.stream import Stream

MOST_TABLES = 20
SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3", ".db3")


@dataclass
class Draft:
    """A source as it will stand in the project file.

    Attributes:
        name: the source's name.
        lines: YAML lines below the name.
        secrets: variable to value, for `.env`.
    """

    name: str
    lines: list[str]
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """What was written, and what was seen of the source.

    Attributes:
        streams: what the source has; empty when it could not be reached.
        error: why it could not; the project was written all the same.
    """

    file: Path
    source: str
    streams: tuple[Stream, ...]
    error: AsgardError | None


def initialise(folder: Path, address: str, *, force: bool = False) -> Begun:
    """Writes asgard.yml, `.env` for a password, `.gitignore` and the models' folders, and tries the source.

    Raises:
        ConfigError: there is a project already, or the address is of no known kind.
    """
    file = folder / "asgard.yml"
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already", hint="edit it, or give --force to write it anew")
    draft = _draft(address, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_secrets(folder / ".env", draft.secrets)
    _keep_out_of_git(folder / ".gitignore")
    for layer in ("silver", "gold"):
        (folder / "models" / layer).mkdir(parents=True, exist_ok=True)
    file.write_text(_project_text(draft, ()))
    try:
        streams = tuple(discover(Workspace.open(file), draft.name))
    except AsgardError as error:
        return Begun(file, draft.name, (), error)
    file.write_text(_project_text(draft, streams))
    return Begun(file, draft.name, streams, None)


def _draft(address: str, folder: Path) -> Draft:
    parts = urlsplit(address)
    if parts.scheme in ("postgres", "postgresql"):
        return _database(address)
    if parts.scheme in ("http", "https"):
        name = _name((parts.hostname or "api").removeprefix("www.").removeprefix("api.").split(".")[0])
        base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        stream = _name(Path(parts.path).name or "items")
        entry = f"  - {{name: {stream}, path: {_quoted(parts.path or '/')}}}"
        return Draft(name, ["type: rest", f"base_url: {_quoted(base)}", "endpoints:", entry])
    path = Path(address.removeprefix("sqlite:///").removeprefix("file://")).expanduser()
    if not path.exists():
        raise ConfigError(
            f"{address!r} is neither a file or folder here nor an address of a known kind",
            hint="give postgres://user@host/database, https://..., a .sqlite file, a data file or a folder",
        )
    shown = _quoted(os.path.relpath(path, folder))
    if path.suffix in SQLITE_SUFFIXES:
        return Draft(_name(path.stem), ["type: sqlite", f"database: {shown}"])
    if path.is_dir():
        return Draft(_name(path.resolve().name), ["type: files", f"path: {shown}"])
    parent = _quoted(os.path.relpath(path.parent, folder))
    entry = f"  - {{name: {_name(path.name.split('.')[0])}, path: {_quoted(path.name)}}}"
    return Draft(_name(path.resolve().parent.name), ["type: files", f"path: {parent}", "tables:", entry])


def _database(address: str) -> Draft:
    parts = urlsplit(address)
    database = parts.path.lstrip("/") or "postgres"
    name = _name(database)
    variable = f"{name.upper()}_PASSWORD"
    connection = [
        f"  host: {_quoted(parts.hostname or 'localhost')}",
        f"  port: {parts.port or 5432}",
        f"  database: {_quoted(unquote(database))}",
        f"  username: {_quoted(unquote(parts.username or 'postgres'))}",
        f'  password: "${{{variable}}}"        # from the environment or .env',
        "  ssl_mode: require         # verify-full with ssl_root_cert also proves who the server is",
    ]
    if parts.hostname in ("localhost", "127.0.0.1", "::1", None):
        connection[-1] = "  ssl_mode: prefer          # on this machine; require or verify-full elsewhere"
    secrets = {variable: unquote(parts.password or "")}
    return Draft(name, ["type: postgres", "connection:", *connection], secrets)


def _project_text(draft: Draft, streams: Iterable[Stream]) -> str:
    lines = [
        "# What is loaded, from where, and what it must be up to. `asgard config schema` prints the",
        "# JSON Schema for editors; `asgard run` loads all, `asgard discover` shows what a source has.",
        "version: 1",
        "lake:",
        "  format: delta",
        "  location: data/lakehouse",
        "data_sources:",
        f"  {draft.name}:",
        *(f"    {line}" for line in draft.lines),
    ]
    chosen = list(streams)
    if chosen and not any(line.startswith(("tables:", "endpoints:")) for line in draft.lines):
        lines.append("    tables:")
        for stream in chosen[:MOST_TABLES]:
            lines += _table_lines(stream)
        if len(chosen) > MOST_TABLES:
            lines.append(f"      # and {len(chosen) - MOST_TABLES} more: asgard discover {draft.name}")
    return "\n".join(lines) + "\n"


def _table_lines(stream: Stream) -> list[str]:
    lines = [f"      - name: {_quoted(stream.full_name)}"]
    if stream.primary_key:
        lines.append(f"        primary_key: [{', '.join(map(_quoted, stream.primary_key))}]")
        lines.append(f"        checks: [{{unique: [{', '.join(map(_quoted, stream.primary_key))}]}}]")
    if stream.cursor_candidates:
        lines.append(f"        # cursor: {_quoted(stream.cursor_candidates[0])}    # load only what changed")
    return lines


def _name(text: str) -> str:
    plain = re.sub(r"\W+", "_", text.lower()).strip("_") or "source"
    return f"s_{plain}" if plain[0].isdigit() else plain


def _quoted(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text) and text.lower() not in ("null", "true", "false"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_secrets(file: Path, secrets: dict[str, str]) -> None:
    if not secrets:
        return
    old = file.read_text() if file.exists() else ""
    new = "".join(
        f"{name}='{_escaped(value)}'\n"
        for name, value in secrets.items()
        if not re.search(rf"^{name}=", old, re.M)
    )
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as stream:
        stream.write(new)


def _escaped(value: str) -> str:
    """As a .env file has it between single quotes."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _keep_out_of_git(file: Path) -> None:
    old = file.read_text().splitlines() if file.exists() else []
    missing = [line for line in (".env", ".asgard/", "data/") if line not in old]
    if missing:
        with file.open("a") as stream:
            stream.write("".join(f"{line}\n" for line in missing))
