"""`schema_contract` from a source to a table, as a person sets it up: SQLite and files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.console import Console

TABLE = "bronze.shop.orders"


class Shop:
    """A database whose columns change."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER)")
        self.execute("INSERT INTO orders VALUES (1, 10)")

    def execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.console.folder / "shop.db")) as connection, connection:
            for sql in statements:
                connection.execute(sql)

    def project(self, *, contract: Any = None, source: Any = None, overall: Any = None, **entry: Any) -> None:
        """The project with what it, its source and its table say of drift."""
        table = {"name": "orders", "mode": "append", **entry}
        shop: dict[str, Any] = {"type": "sqlite", "path": "shop.db", "tables": [table]}
        for keys, said in ((table, contract), (shop, source)):
            keys |= {"schema_contract": said} if said else {}
        self.console.project({"shop": shop}, **({"schema_contract": overall} if overall else {}))

    def run(self, *arguments: str) -> dict[str, Any]:
        """The step of a run that ends well."""
        said = self.console.asgard("run", *arguments, "--json")
        assert said.code == 0, said
        (ended,) = [event for event in said.events if event["event"] == "step.finished"]
        return ended

    def rows(self) -> list[tuple[Any, ...]]:
        columns = "* EXCLUDE (extracted_at, _asgard_run_id)"
        said = self.console.asgard("query", f"SELECT {columns} FROM {TABLE} ORDER BY ALL", "--json")
        assert said.code == 0, said
        return [tuple(row.values()) for row in said.events]


@pytest.fixture
def shop(console: Console) -> Shop:
    return Shop(console)


def test_the_nearest_word_counts_for_each_part(shop: Shop) -> None:
    shop.project(overall="freeze")
    shop.run()
    shop.execute("ALTER TABLE orders ADD COLUMN extra TEXT", "INSERT INTO orders VALUES (2, 20, 'new')")
    said = shop.console.asgard("run")
    assert said.code == 4
    assert "schema_contract freezes columns: extra: is new, string" in said.err
    shop.project(overall="freeze", source={"columns": "discard_value"})
    ended = shop.run()
    assert ended["schema_changes"]["discarded"] == {"extra": {"values": 1}}
    assert shop.rows() == [(1, 10), (1, 10), (2, 20)]
    shop.project(overall="freeze", source={"columns": "discard_value"}, contract={"columns": "evolve"})
    assert shop.run()["schema_changes"]["added"] == ["extra"]
    assert (2, 20, "new") in shop.rows()


def test_a_run_tells_what_was_discarded_wherever_it_is_looked_at(shop: Shop) -> None:
    shop.project(contract="discard_row")
    shop.run()
    shop.execute("ALTER TABLE orders ADD COLUMN extra TEXT", "INSERT INTO orders VALUES (2, 20, 'new')")
    said = shop.console.asgard("run")
    assert "extra: 1 row set aside" in said.err
    (run, *_) = shop.console.asgard("runs", "--json").json
    (step,) = shop.console.asgard("runs", "show", run["run"], "--json").json
    assert step["schema_changes"] == {
        "added": [], "widened": {}, "missing": [], "discarded": {"extra": {"rows": 1}}
    }  # fmt: skip
    assert "extra: 1 row set aside" in shop.console.asgard("runs", "show", run["run"]).out
    assert shop.rows() == [(1, 10), (1, 10)]


def test_what_runs_told_about_columns_stands_in_the_report(shop: Shop) -> None:
    shop.project(contract="evolve", checks=[{"not_null": ["id"]}])
    shop.run()
    shop.execute("ALTER TABLE orders ADD COLUMN extra TEXT")
    (run, ended) = (shop.run()["run"], shop.console.asgard("runs", "--json").json[0])
    assert ended["run"] == run
    assert ended["steps"][0]["schema_changes"]["added"] == ["extra"]
    assert shop.console.asgard("checks", "report", "-o", "report.html").code == 0
    page = (shop.console.folder / "report.html").read_text()
    assert "What changed about columns" in page
    assert "new columns: extra" in page


def test_a_renamed_column_keeps_its_old_values_and_old_versions_are_as_they_were(shop: Shop) -> None:
    shop.project(contract={"columns": "evolve"}, mode="merge", primary_key="id")
    version = shop.run()["version"]
    shop.execute("ALTER TABLE orders RENAME COLUMN n TO m", "INSERT INTO orders VALUES (2, 20)",
                 "DELETE FROM orders WHERE id = 1")  # fmt: skip
    ended = shop.run()
    assert ended["schema_changes"]["renamed"] == [["n", "m"]]
    assert shop.rows() == [(1, 10, None), (2, None, 20)]
    said = shop.console.asgard("query", f"SELECT id, n FROM {TABLE}", "--at", str(version), "--json")
    assert [tuple(row.values()) for row in said.events] == [(1, 10)]


def test_frozen_tables_let_no_new_table_in(shop: Shop) -> None:
    shop.execute("CREATE TABLE customers (id INTEGER)")
    shop.project(contract={"tables": "freeze"}, name="*", mode="replace")
    assert shop.console.asgard("run").code == 0
    shop.execute("CREATE TABLE parcels (id INTEGER)", "INSERT INTO orders VALUES (2, 20)")
    said = shop.console.asgard("run")
    assert said.code == 4
    assert "parcels is new, and schema_contract freezes the tables of *" in said.err
    assert shop.rows() == [(1, 10), (2, 20)]
    tables = [table["table"] for table in shop.console.asgard("tables", "--json").json]
    assert tables == ["bronze.shop.customers", TABLE]


def test_a_history_that_ends_what_does_not_come_sets_no_row_aside(shop: Shop) -> None:
    shop.project(contract="discard_row", mode="history", primary_key="id")
    said = shop.console.asgard("run")
    assert said.code == 2
    assert "would end their keys" in said.err


@pytest.mark.parametrize(
    "word", ["evolv", {"columns": "drop"}, {"tables": "discard_row"}, {"rows": "freeze"}]
)
def test_a_word_that_does_not_exist_is_told_where_it_stands(shop: Shop, word: Any) -> None:
    shop.project(contract=word)
    said = shop.console.asgard("run")
    assert said.code == 2
    assert "schema_contract" in said.err


# ---- files


def write(folder: Path, name: str, rows: dict[str, pa.Array]) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(rows), folder / name)


def test_a_later_file_with_a_wider_column_widens_the_table(console: Console) -> None:
    folder = console.folder / "in"
    write(folder, "1.parquet", {"id": pa.array([1], pa.int32()), "day": pa.array([19_000], pa.date32())})
    entry = {"name": "orders", "path": "in/*.parquet", "mode": "append"}
    source = {"type": "files", "files": [entry], "schema_contract": "evolve"}
    console.project({"shop": source})
    said = console.asgard("run")
    assert said.code == 0, said
    (folder / "1.parquet").unlink()
    write(folder, "2.parquet", {"id": pa.array([2**40]), "day": pa.array([0], pa.timestamp("us"))})
    said = console.asgard("run")
    assert said.code == 0, said
    assert "id became wider: int32 to int64; the table was written anew" in said.err
    said = console.asgard("query", f"SELECT id, day::TEXT AS day FROM {TABLE} ORDER BY id", "--json")
    assert said.events == [
        {"id": 1, "day": "2022-01-08 00:00:00"},
        {"id": 2**40, "day": "1970-01-01 00:00:00"},
    ]
