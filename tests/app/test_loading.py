"""Loading with one call, from real databases and files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import asgard
from asgard.app.demo.server import serving_collections
from asgard.app.frames.connector import BaseConnector
from asgard.core import registry
from asgard.core.events import Event
from tests.servers.postgres import Server

ORDERS = {
    "id": [1, 2, 3],
    "customer": ["ash", None, "elm"],
    "amount": [Decimal("10.50"), Decimal("0.10"), None],
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount DECIMAL(10, 2))")
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)", [(1, "ash", 10.5), (2, None, 0.1), (3, "elm", None)]
        )
        database.commit()
    return path


@pytest.mark.parametrize("backend", ["pandas", "polars", "arrow", "duckdb"])
def test_a_table_in_every_frame(shop: Path, backend: str) -> None:
    frame = asgard.load_from_connector("sqlite", {"database": str(shop)}, table="orders", backend=backend)
    kinds = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.Table}
    assert type(frame).__module__ == "_duckdb" if backend == "duckdb" else isinstance(frame, kinds[backend])
    table = pa.table(frame)
    assert table.to_pydict() == ORDERS


def test_every_shape_of_a_configuration(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "SELECT id FROM orders ORDER BY id DESC"
    block = {"type": "sqlite", "connection": {"database": str(shop)}, "query": query}
    file = tmp_path / "orders.yml"
    file.write_text(
        "data:\n  type: sqlite\n  connection: {database: '${SHOP}'}\n"
        f"  query: {query}\n  target_column: id\n"
    )
    monkeypatch.setenv("SHOP", str(shop))
    config: Any = file
    loads = [
        asgard.load_data(block),
        asgard.load_data({"data": block}),
        asgard.load_data(config),
        asgard.load_data(str(file)),
        asgard.load_from_connector("sqlite", block),
        asgard.load_from_connector("sqlite", {"database": str(shop)}, query=query),
        asgard.load_from_connector("sqlite", {"connection": {"path": str(shop)}, "query": query}),
    ]
    assert [frame["id"].tolist() for frame in loads] == [[3, 2, 1]] * len(loads)
    assert loads[2].attrs == {"target_column": "id"}


def test_a_configuration_needs_a_type(shop: Path) -> None:
    with pytest.raises(asgard.ConfigError, match="has no type"):
        asgard.load_data({"database": str(shop)})
    with pytest.raises(asgard.ConfigError, match="this is list"):
        asgard.load_data([1])
    with pytest.raises(asgard.ConfigError, match="is for 'postgres', this connector is 'sqlite'"):
        asgard.SQLiteConnector({"type": "postgres", "database": str(shop)})


def test_the_facade_over_sqlite(shop: Path) -> None:
    with asgard.SQLiteConnector({"database": str(shop)}) as connector:
        assert connector.get_schema() == {
            "orders": {"id": "int64", "customer": "string", "amount": "decimal128(10, 2)"}
        }
        chunks = list(connector.load_data_streaming("SELECT id FROM orders ORDER BY 1", 2, backend="arrow"))
        assert [chunk["id"].to_pylist() for chunk in chunks] == [[1, 2], [3]]
        with pytest.raises(asgard.QueryError):
            connector.load_data("SELECT nothing FROM nowhere")
        with pytest.raises(asgard.ValidationError) as caught:
            connector.load_data(table="orders", target_column="amonut")
        assert caught.value.hint == "did you mean amount?"


def test_a_missing_database_is_told(tmp_path: Path) -> None:
    heard: list[Event] = []
    stop = asgard.listen(heard.append)
    connector = asgard.SQLiteConnector({"database": str(tmp_path / "gone.sqlite")})
    assert connector.validate_connection() is False
    assert "there is no database file" in str(connector.error)
    with pytest.raises(asgard.ConfigError):
        connector.connect()
    stop()
    assert [event.data["outcome"] for event in heard] == ["failed", "failed"]


def test_connect_gives_a_connected_connector(shop: Path) -> None:
    with asgard.connect("sqlite", database=str(shop)) as connector:
        assert isinstance(connector, asgard.SQLiteConnector)
        assert connector.load_data("SELECT count(*) AS n FROM orders")["n"].tolist() == [3]


# ---- files


@pytest.fixture
def orders_csv(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text("id,customer\n1,ash\n2,elm\n")
    return path


def test_csv(orders_csv: Path) -> None:
    assert asgard.load_csv(orders_csv, backend="arrow").to_pydict() == {
        "id": [1, 2],
        "customer": ["ash", "elm"],
    }
    orders_csv.with_name("semicolons.csv").write_text(orders_csv.read_text().replace(",", ";"))
    semicolons = str(orders_csv.with_name("semicolons.csv"))
    frame = asgard.load_csv(semicolons, delimiter=";", limit=1, target_column="customer")
    assert frame["id"].tolist() == [1]
    assert frame.attrs == {"target_column": "customer"}
    assert asgard.load_data(orders_csv)["customer"].tolist() == ["ash", "elm"]
    with pytest.raises(asgard.ConfigError, match="delimitr"):
        asgard.load_csv(orders_csv, delimitr=";")


@pytest.mark.parametrize(
    "config",
    [
        {"type": "csv"},
        {"type": "file", "file_type": "csv"},
        {"type": "csv", "target_column": "id", "backend": "auto", "chunk_size": 5},
    ],
)
def test_a_file_as_a_whole_data_source_config(orders_csv: Path, config: dict[str, Any]) -> None:
    config = {**config, "source": str(orders_csv)}
    for shape in (config, asgard.DataSourceConfig(**config)):
        assert asgard.load_data(shape)["customer"].tolist() == ["ash", "elm"]
        found = asgard.load_from_connector(config["type"], shape, backend="polars")
        assert found["id"].to_list() == [1, 2]


def test_the_type_decides_where_the_suffix_does_not(orders_csv: Path) -> None:
    renamed = orders_csv.rename(orders_csv.with_suffix(".txt"))
    assert asgard.load_csv(renamed)["id"].tolist() == [1, 2]


def test_files_by_the_connectors_own_words(orders_csv: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"path": str(orders_csv)},
        {"folder": str(orders_csv.parent), "name": "orders"},
        {
            "path": str(orders_csv.parent),
            "tables": [{"name": "bought", "path": "ord*.csv", "with_file": False}],
        },
        {"type": "csv", "path": str(orders_csv), "delimiter": ","},
    ]
    for shape in shapes:
        assert asgard.FileConnector(shape).load_data(backend="arrow").to_pydict() == {
            "id": [1, 2],
            "customer": ["ash", "elm"],
        }
    assert asgard.FileConnector({"path": str(orders_csv.parent)}).get_schema() == {
        "orders": {"id": "int64", "customer": "string"}
    }


def test_excel(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["id", "customer"], [1, "ash"], [2, "elm"]):
        sheet.append(row)
    path = tmp_path / "orders.xlsx"
    book.save(path)
    frame = asgard.load_excel(path)
    assert (frame["id"].tolist(), frame["customer"].tolist()) == ([1, 2], ["ash", "elm"])
    assert asgard.load_data({"type": "excel", "source": str(path)})["customer"].tolist() == ["ash", "elm"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(asgard.ConfigError):
        asgard.load_csv(tmp_path / "gone.csv")
    with pytest.raises(asgard.ConfigError, match="there is no file"):
        asgard.load_data(tmp_path / "gone.yml")


# ---- REST


def test_an_api_in_every_shape() -> None:
    rows = [{"carrier": f"{n:02}", "fleet": n} for n in range(12)]
    with serving_collections({"airlines": rows}) as address:
        block = {
            "type": "api",
            "api_config": {"base_url": address, "endpoint": "airlines", "auth_type": None},
        }
        with asgard.GenericAPIConnector({"base_url": address}) as connector:
            loads = [
                connector.load_data(table="airlines", backend="arrow"),
                asgard.load_data(block, backend="arrow"),
                asgard.load_data(asgard.DataSourceConfig(**block), backend="arrow"),
                asgard.load_from_connector(
                    "api", {"base_url": address, "path": "/airlines"}, backend="arrow"
                ),
                asgard.load_data({**block, "query": "per_page=7"}, backend="arrow"),
            ]
            assert [table.to_pylist() for table in loads] == [rows] * len(loads)
            sizes = [len(chunk) for chunk in connector.load_data_streaming(None, 8, table="airlines")]
            assert sizes == [8, 4]
            with pytest.raises(asgard.ConfigError):
                connector.load_data(table="planes")
    assert asgard.GenericAPIConnector({"base_url": address, "max_retries": 0}).validate_connection() is False


# ---- PostgreSQL


@pytest.fixture
def postgres(pg16: Server, pg_database: str) -> dict[str, Any]:
    with pg16.connect(pg_database) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric(10, 2))")
        connection.execute("INSERT INTO orders VALUES (1, 'ash', 10.50), (2, NULL, 0.10), (3, 'elm', NULL)")
        connection.execute(
            "CREATE TABLE numbers AS SELECT n, md5(n::text) AS t FROM generate_series(1, 5000) n"
        )
    return {
        "host": pg16.host, "port": pg16.port, "database": pg_database,
        "username": pg16.user, "password": pg16.password, "ssl_mode": "disable",
    }  # fmt: skip


def test_postgres(postgres: dict[str, Any]) -> None:
    with asgard.PostgreSQLConnector(postgres) as connector:
        assert pa.table(connector.load_data(table="orders")).to_pydict() == ORDERS
        ordered = connector.load_data("SELECT n FROM numbers ORDER BY n DESC", backend="arrow")
        assert ordered["n"].to_pylist() == list(range(5000, 0, -1))
        chunks = connector.load_data_streaming("SELECT n, t FROM numbers ORDER BY n", 999, backend="arrow")
        sizes = [chunk.num_rows for chunk in chunks]
        assert sizes == [999, 999, 999, 999, 999, 5]
        assert sorted(connector.load_data(table="numbers")["n"].tolist()) == list(range(1, 5001))
        assert connector.get_schema("orders")["public.orders"]["amount"] == "decimal128(10, 2)"
        with pytest.raises(asgard.QueryError):
            connector.load_data("SELECT * FROM nowhere")


def test_postgres_as_a_whole_data_source_config(postgres: dict[str, Any]) -> None:
    config = asgard.DataSourceConfig(
        type="postgres",
        connection=asgard.DatabaseConnection(**postgres),
        query="SELECT customer FROM orders WHERE id = 3",
        target_column="customer",
    )
    assert asgard.load_data(config)["customer"].tolist() == ["elm"]
    assert asgard.load_from_connector("postgresql", config.model_dump())["customer"].tolist() == ["elm"]


def test_a_wrong_password_is_an_authentication_error(postgres: dict[str, Any]) -> None:
    connector = asgard.PostgreSQLConnector({**postgres, "password": "wr0ng c@nary"})
    with pytest.raises(asgard.AuthenticationError) as caught:
        connector.connect()
    assert isinstance(caught.value, asgard.ConnectionError)
    assert "c@nary" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    with pytest.raises(asgard.ConnectionError):
        asgard.PostgreSQLConnector({**postgres, "port": 1, "connection_timeout": 2}).connect()


# ---- connectors of one's own

TREES = '''
from asgard import BaseConnector


class Trees(BaseConnector):
    """Strict: five methods."""

    def connect(self):
        self.connection = self.config["forest"]
        return True

    def disconnect(self):
        self.connection = None

    def validate_connection(self):
        return self.connection is not None

    def load_data(self, query=None, **kwargs):
        return [{"tree": "ash", "forest": self.connection}, {"tree": "elm", "forest": self.connection}]

    def get_schema(self):
        return {"data": {"tree": "string", "forest": "string"}}
'''
PROJECT = """
lake: {location: lake}
data_sources:
  wood: {type: trees, forest: dark, tables: [{name: data, checks: [{not_null: tree}]}]}
"""
WANTED = {"forest": ["dark", "dark"], "tree": ["ash", "elm"]}


def test_a_registered_class_runs_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    space: dict[str, Any] = {"__name__": "trees"}
    exec(TREES, space)
    asgard.register_connector("trees", space["Trees"])
    assert asgard.get_connector_class("trees") is space["Trees"]
    assert (
        asgard.load_from_connector("trees", {"forest": "deep"}, backend="polars")["forest"].to_list()
        == ["deep"] * 2
    )
    assert asgard.load_data({"type": "trees", "forest": "deep"})[0] == {"tree": "ash", "forest": "deep"}
    (tmp_path / "asgard.yml").write_text(PROJECT)
    project = asgard.Project(tmp_path / "asgard.yml")
    events: list[Event] = []
    stop = asgard.listen(events.append)
    for _ in range(2):  # replaced, not added
        assert project.run("wood").status == "done"
        found = project.query("SELECT forest, tree FROM bronze.wood.data ORDER BY tree", backend="arrow")
        assert found.to_pydict() == WANTED
    stop()
    assert project.tables() == ["bronze.wood.data"]
    assert sorted(project.table("wood.data")["tree"].tolist()) == ["ash", "elm"]
    assert {"connection", "run.started", "step.committed", "run.finished"} <= {str(e.kind) for e in events}


def test_a_run_that_fails_raises_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})

    class Broken(BaseConnector):
        def connect(self) -> bool:
            raise KeyError("forest")

        def disconnect(self) -> None:
            pass

        def validate_connection(self) -> bool:
            return False

        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            return []

        def get_schema(self) -> dict[str, Any]:
            return {}

    asgard.register_connector("trees", Broken)
    (tmp_path / "asgard.yml").write_text(PROJECT)
    project = asgard.Project(tmp_path)
    with pytest.raises(asgard.ConnectionError, match="connect of connector trees failed: KeyError: 'forest'"):
        project.run()
    assert project.run(check=False).status == "failed"
    assert project.tables() == []


def test_an_entry_point_is_found_by_the_command(tmp_path: Path) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    info = site / "trees-1.0.dist-info"
    info.mkdir(parents=True)
    home.mkdir()
    (site / "trees.py").write_text(TREES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trees\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asgard.connectors]\ntrees = trees:Trees\n")
    (home / "asgard.yml").write_text(PROJECT)
    environment = {**os.environ, "PYTHONPATH": str(site), "NO_COLOR": "1"}
    command = [sys.executable, "-W", "error", "-c", "from asgard.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "run", "--json"], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = subprocess.run(
        [*command, "query", "--csv", "SELECT forest, tree FROM bronze.wood.data ORDER BY tree"],
        cwd=home, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stdout.splitlines() == ["forest,tree", "dark,ash", "dark,elm"], asked.stderr


def test_importing_asgard_loads_nothing_heavy() -> None:
    heavy = ["pyarrow", "pydantic", "duckdb", "deltalake", "pandas", "polars", "numpy", "yaml", "click"]
    ask = f"import sys, asgard; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_public_names_are_there() -> None:
    assert {name for name in asgard.__all__ if getattr(asgard, name, None) is None} == set()
    assert set(asgard.__all__) <= set(dir(asgard))
    assert issubclass(asgard.AuthenticationError, asgard.ConnectionError)
    with pytest.raises(AttributeError, match="has no attribute 'NowhereConnector'"):
        _ = asgard.NowhereConnector  # type: ignore[attr-defined]
