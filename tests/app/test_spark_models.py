"""The same project built by DuckDB and by Spark gives the same tables (Promise 9), with positions kept.

And Spark as another hand on our tables: what it appends and tidies breaks no position, what it restores does.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asgard.app.frames.opened_project import Project
from asgard.core.errors import ConfigError, PositionLost, QueryError
from asgard.testing.content import content_hash

MODELS = {
    "silver/orders.sql": """/*
mode: merge
primary_key: id
checks: [{not_null: [id]}]
*/
SELECT id, upper(country) AS country, amount_cents::DECIMAL(12, 2) / 100 AS amount, made::DATE AS day
FROM bronze.shop.orders
QUALIFY row_number() OVER (PARTITION BY id ORDER BY id DESC) = 1
""",
    "gold/revenue.sql": """
SELECT country, date_trunc('month', day) AS month, count(*) AS orders, sum(cents) AS cents
FROM (
  SELECT o.country, o.day, b.amount_cents AS cents
  FROM silver.orders o JOIN bronze.shop.orders b ON o.id = b.id
) x
GROUP BY ALL
""",
    "gold/plain.sql": """/*
engine: spark
dialect: spark
*/
SELECT country, max_by(id, amount) AS best FROM silver.orders GROUP BY country
""",
}
PROJECT = """
data_sources:
  shop:
    type: sqlite
    path: shop.db
    tables: [{name: orders, mode: append, cursor: id}]
engines:
  default: ENGINE
"""


@pytest.fixture
def make(tmp_path: Path, spark: Any) -> Any:
    """Makes a project over its own copy of the shop, with an engine by default."""

    def made(engine: str) -> Project:
        folder = tmp_path / engine
        for name, text in MODELS.items():
            (folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "models" / name).write_text(text)
        (folder / "asgard.yml").write_text(PROJECT.replace("ENGINE", engine))
        _sell(folder, range(1, 8))
        return Project(folder)

    return made


def _sell(folder: Path, ids: range) -> None:
    with sqlite3.connect(folder / "shop.db") as shop:
        shop.execute(
            "CREATE TABLE IF NOT EXISTS orders "
            "(id INTEGER PRIMARY KEY, country TEXT, amount_cents INTEGER, made TEXT)"
        )
        rows = [(at, ("de", "fr", None)[at % 3], at * 137, f"2026-0{at % 9 + 1}-01") for at in ids]
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    shop.close()


def _contents(project: Project) -> dict[str, Any]:
    names = ("silver.orders", "gold.revenue", "gold.plain")
    return {name: content_hash(project.table(name, backend="arrow")) for name in names}


def test_the_same_project_gives_the_same_tables_on_both_engines(make: Any) -> None:
    duckdb, spark = make("duckdb"), make("spark")
    for project in (duckdb, spark):
        project.run()
    assert _contents(duckdb) == _contents(spark)
    assert duckdb.table("gold.revenue", backend="arrow").schema == (
        spark.table("gold.revenue", backend="arrow").schema
    )
    for project in (duckdb, spark):
        _sell(project.file.parent, range(8, 12))
        Project(project.file).run()
    assert _contents(duckdb) == _contents(spark)
    again = Project(spark.file).run()
    models = [outcome for outcome in again.outcomes if outcome.step in _contents(spark)]
    assert [str(outcome.status) for outcome in models] == ["unchanged"] * 3


def test_what_spark_cannot_do_the_same_stops_the_model_with_its_place(make: Any) -> None:
    project = make("spark")
    model = project.file.parent / "models" / "silver" / "orders.sql"
    model.write_text("SELECT id,\n  regexp_replace(country, 'd', 'x') AS c\nFROM bronze.shop.orders")
    with pytest.raises(QueryError, match="engine: spark refuses this: REGEXP_REPLACE") as failed:
        Project(project.file).run()
    assert failed.value.where["line"] == "2"
    assert "silver.orders" not in Project(project.file).tables()


def test_the_dialect_of_spark_needs_its_engine(make: Any) -> None:
    project = make("duckdb")
    model = project.file.parent / "models" / "gold" / "plain.sql"
    model.write_text("/*\ndialect: spark\n*/\nSELECT 1 AS a")
    with pytest.raises(ConfigError, match="dialect: spark needs engine: spark"):
        Project(project.file).run()


def test_settings_that_equal_results_rest_on_are_not_for_the_project(make: Any) -> None:
    project = make("duckdb")
    project.file.write_text(
        project.file.read_text() + '  spark: {conf: {"spark.sql.ansi.enabled": "false"}}\n'
    )
    with pytest.raises(ConfigError, match=r"spark\.sql\.ansi\.enabled"):
        Project(project.file)


# ---- Spark as another hand on our tables


def _orders(project: Project) -> Path:
    return project.file.parent / "data" / "lakehouse" / "bronze" / "shop" / "orders"


def test_spark_appends_and_tidies_and_our_next_load_goes_on(make: Any, spark: Any) -> None:
    project = make("duckdb")
    project.run("shop")
    folder = _orders(project)
    rows = spark.read.format("delta").load(str(folder))
    rows.where("id = 7").selectExpr(
        "id + 100 AS id", *[name for name in rows.columns if name != "id"]
    ).write.format("delta").mode("append").save(str(folder))
    spark.sql(f"OPTIMIZE delta.`{folder}`")
    spark.sql(f"VACUUM delta.`{folder}`")
    _sell(project.file.parent, range(8, 12))
    Project(project.file).run("shop")
    ids = Project(project.file).query("SELECT id FROM bronze.shop.orders ORDER BY id", backend="arrow")
    assert ids["id"].to_pylist() == [*range(1, 12), 107]


def test_spark_restores_and_our_next_load_stops(make: Any, spark: Any) -> None:
    project = make("duckdb")
    project.run("shop")
    _sell(project.file.parent, range(8, 12))
    Project(project.file).run("shop")
    folder = _orders(project)
    versions = sorted(int(path.stem) for path in (folder / "_delta_log").glob("*.json"))
    spark.sql(f"RESTORE delta.`{folder}` TO VERSION AS OF {versions[-2]}")
    with pytest.raises(PositionLost, match="RESTORE"):
        Project(project.file).run("shop")


def test_spark_reads_the_rows_of_a_table_as_they_are(make: Any, spark: Any) -> None:
    project = make("duckdb")
    project.run("shop")
    theirs = spark.read.format("delta").load(str(_orders(project))).toArrow()
    assert content_hash(theirs) == content_hash(project.table("bronze.shop.orders", backend="arrow"))


def test_a_model_that_changes_its_engine_goes_on_where_it_was(make: Any) -> None:
    """Back and forth: nothing is built anew, nothing twice, and every version of a row is kept."""
    project = make("duckdb")
    folder = project.file.parent
    for name in MODELS:
        (folder / "models" / name).unlink()

    def models(engine: str) -> None:
        for name, front in (("log", "mode: append"), ("past", "mode: history\nprimary_key: id")):
            text = f"/*\n{front}\nincremental: true\nengine: {engine}\n*/\n"
            text += "SELECT id, country, amount_cents FROM bronze.shop.orders WHERE id > 1"
            (folder / "models" / "silver" / f"{name}.sql").write_text(text)

    last = 7
    for engine in ("duckdb", "spark", "duckdb", "spark"):
        models(engine)
        if last > 7:
            found = Project(project.file).plan()
            assert not found.building, "another engine alone is no reason to build"
            _sell(folder, range(last + 1, last + 4))
        last += 3
        outcomes = {one.step: one for one in Project(project.file).run().outcomes}
        for name in ("silver.log", "silver.past"):
            assert outcomes[name].error is None
            assert outcomes[name].about["action"] == ("whole" if last == 10 else "increment")
        rows = Project(project.file).table("silver.log", backend="arrow").to_pylist()
        ids = sorted(row["id"] for row in rows)
        past = Project(project.file).table("silver.past", backend="arrow").to_pylist()
        assert sorted(row["id"] for row in past) == ids
        assert all(row["_asgard_valid_to"] is None for row in past)
    assert ids == list(range(2, 8)) + list(range(11, 20))
