"""The demo, whole, on Iceberg: the same tables as on Delta, and all that is done with them afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgard.app.demo import demo
from asgard.app.models.plan import plan
from asgard.app.project.doctor import examine
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, run
from asgard.app.tables.diff import DiffWish, diff, diff_as_dict
from asgard.app.tables.tables import query
from asgard.testing.content import content_hash
from tests.lake.iceberg.ground import theirs

TABLES = [
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
FLIGHTS = "bronze.flights_db.flights"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoSite:
    """The demo's project with another format, run once."""
    site = demo.prepare(tmp_path_factory.mktemp("demo"))
    text = site.project.read_text()
    assert "format: delta" in text
    site.project.write_text(text.replace("format: delta", "format: iceberg"))
    with demo.serving(site):
        summary = run(Workspace.open(site.project), RunWish(), lambda event: None)
    assert summary.status == "done", summary.as_dict()
    return site


def test_bronze_to_gold_are_there_with_what_was_set_aside(site: demo.DemoSite) -> None:
    workspace = Workspace.open(site.project)
    assert demo.tour(workspace).tables == TABLES
    assert demo.tour(workspace).chart[:3] == [("05:00", 0.7), ("06:00", 1.6), ("07:00", 1.9)]
    assert all("quarantine" in str(log) for log in site.folder.rglob("_delta_log"))
    with query(workspace, "SELECT count(*) AS n FROM gold.punctuality", None) as rows:
        assert rows.read_all().to_pylist() == [{"n": 16}]


def test_pyiceberg_reads_every_table_as_we_do(site: demo.DemoSite) -> None:
    workspace = Workspace.open(site.project)
    for name, count, _ in TABLES:
        table: Any = workspace.table(name)
        ours, other = table.scan().read_all(), theirs(table).scan().to_arrow()
        assert other.num_rows == count
        assert content_hash(other.select(ours.schema.names).cast(ours.schema)) == content_hash(ours)


def test_another_run_goes_on_and_plans_know_it(site: demo.DemoSite) -> None:
    before = content_hash(Workspace.open(site.project).table(FLIGHTS).scan().read_all())
    assert plan(Workspace.open(site.project)).building == ()
    summary = run(Workspace.open(site.project), RunWish(("flights_db.flights",)), lambda event: None)
    assert (summary.status, summary.outcomes[0].rows_read) == ("done", 781), summary.as_dict()
    workspace = Workspace.open(site.project)
    assert content_hash(workspace.table(FLIGHTS).scan().read_all()) == before
    same = diff(lambda environment: workspace, DiffWish(FLIGHTS, at_a=1, at_b=2))
    assert diff_as_dict(same)["equal"]
    assert "silver.flights" in {str(one.name) for one in plan(workspace).building}
    assert workspace.table(FLIGHTS).undo().version == 3
    assert content_hash(Workspace.open(site.project).table(FLIGHTS).scan().read_all()) == before


def test_doctor_finds_it_well(site: demo.DemoSite) -> None:
    found = list(examine(str(site.project), with_sources=False, deep=True))
    assert [str(one.grade) for one in found if one.about.startswith("table")] == []
    [lake] = [one.what for one in found if one.about == "lake" and "tables" in one.what]
    assert lake.startswith("lakehouse with 10 tables of Iceberg (pyiceberg 0.12")
    assert lake.endswith("catalog catalog.db in it")


def test_delta_does_not_open_it(site: demo.DemoSite, tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text(f"lake: {{location: '{site.folder}/lakehouse'}}\n")
    found = [one for one in examine(str(tmp_path), with_sources=False) if one.about == "lake"]
    assert "has tables of Iceberg" in found[-1].what
    assert "set lake.format: iceberg" in found[-1].hint


PROJECT = """
lake: {{format: iceberg}}
engines: {{default: {engine}}}
data_sources:
  shop: {{type: files, path: ., tables: [{{name: orders, primary_key: id, mode: merge}}]}}
"""
MODELS = {
    "silver/orders.sql": "/*\nmode: merge\nprimary_key: id\n*/\n"
    "SELECT id, upper(country) AS country, amount::DECIMAL(12, 2) AS amount FROM bronze.shop.orders",
    "gold/revenue.sql": "SELECT country, sum(amount) AS revenue FROM silver.orders GROUP BY country",
}


def test_both_engines_build_the_same_tables_on_it(tmp_path: Path, spark: Any) -> None:
    contents = []
    for engine in ("duckdb", "spark"):
        folder = tmp_path / engine
        for name, text in MODELS.items():
            (folder / "models" / name).parent.mkdir(parents=True)
            (folder / "models" / name).write_text(text)
        (folder / "asgard.yml").write_text(PROJECT.format(engine=engine))
        for first in (1, 4):  # the second run has three rows of the first again
            lines = [f"{n},{'de' if n % 2 else 'fr'},{n * first}.50" for n in range(first, first + 6)]
            (folder / "orders.csv").write_text("\n".join(["id,country,amount", *lines]) + "\n")
            summary = run(Workspace.open(folder), RunWish(), lambda event: None)
            assert summary.status == "done", summary.as_dict()
        workspace = Workspace.open(folder)
        names = ("bronze.shop.orders", "silver.orders", "gold.revenue")
        contents.append({name: content_hash(workspace.table(name).scan()) for name in names})
        assert contents[-1]["silver.orders"]["*rows"] == "9"
    assert contents[0] == contents[1]
