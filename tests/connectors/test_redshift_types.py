"""Every type of Redshift's, unloaded and over the wire: the same exact values, or a refusal by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from asgard.core.errors import ConfigError, DataError
from tests.connectors.redshift_reading import Warehouse
from tests.connectors.redshift_types import CARRIED, CASES, most_values, table
from tests.connectors.type_pages import told
from tests.servers.redshift import RedshiftFront


@pytest.fixture
def warehouse(redshift: RedshiftFront) -> Iterator[Warehouse]:
    made = Warehouse.new(redshift)
    yield made
    redshift.server.drop_database(made.name)


@pytest.mark.parametrize("way", ["unload", "direct", "int96"])
def test_values_are_exact_either_way(warehouse: Warehouse, way: str) -> None:
    warehouse.execute(table("kinds"))
    warehouse.front.int96 = way == "int96"
    loaded = warehouse.load("kinds", {"read": "direct" if way == "direct" else "unload"})
    types = {f"c{number}": f"{case.arrow} {case.label}".strip() for number, case in enumerate(CARRIED)}
    assert loaded.types == {"place": "int32", **types}
    rows = sorted(loaded.rows, key=lambda row: row["place"])
    assert [row["place"] for row in rows] == list(range(most_values() + 1))
    for number, case in enumerate(CARRIED):
        wanted = [arrived for _, arrived in case.values]
        wanted += [None] * (len(rows) - len(wanted))
        assert (case.type, told(row[f"c{number}"] for row in rows)) == (case.type, told(wanted))


@pytest.mark.parametrize("way", ["unload", "direct"])
def test_columns_as_they_are_wished(warehouse: Warehouse, way: str) -> None:
    warehouse.execute("CREATE TABLE t (a numeric(12, 3), b varchar(20), c boolean, d real, e int, v varbyte, "
                      "n int);"
                      "INSERT INTO t VALUES (7.000, '12.50', true, 0.1, 5, '0a', 1)")  # fmt: skip
    columns = {"a": "int64", "b": "decimal(6, 2)", "c": "text", "d": "text", "e": "decimal(5, 1)",
               "v": "text", "n": "double"}  # fmt: skip
    [row] = warehouse.load("t", {"read": way, "columns": columns}).rows
    text = row.pop("d")
    assert float(text) == pytest.approx(0.1)
    wished = {"a": 7, "b": Decimal("12.50"), "c": "true", "e": Decimal("5.0"), "v": "0a", "n": 1.0}
    assert row == wished
    warehouse.execute("INSERT INTO t VALUES (7.001, '1', false, 0, 0, '', 2)")
    with pytest.raises(DataError, match="column a does not fit int64") as caught:
        warehouse.load("t", {"read": way, "columns": columns})
    assert "columns: {a: text}" in caught.value.hint


def test_what_has_no_type_here_is_refused_by_name(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE t (id int, shape geometry, sketch hllsketch);"
                      "INSERT INTO t VALUES (1, '0101', '{}')")  # fmt: skip
    with pytest.raises(ConfigError, match="'shape' is geometry") as caught:
        warehouse.load("t")
    assert "columns: {shape: text}" in caught.value.hint
    with pytest.raises(ConfigError, match="'sketch' is hllsketch"):
        warehouse.load("t", {"columns": {"shape": "text"}})
    with pytest.raises(ConfigError, match="which has no text here"):
        warehouse.load("t", {"columns": {"sketch": "text"}})
    chosen = {"columns": {"shape": "text"}, "exclude_columns": ["sketch"]}
    assert warehouse.load("t", chosen).rows == [{"id": 1, "shape": "0101"}]
    with pytest.raises(ConfigError, match="cannot be had as date"):
        warehouse.load("t", {"columns": {"id": "date"}})
    with warehouse.source() as source:
        [listed] = source.streams("t")
        assert listed.schema.names == ["id", "shape", "sketch"]  # discovering lists it all the same


def test_times_that_the_wire_cannot_carry(warehouse: Warehouse) -> None:
    for number, (type, value) in enumerate((case.type, v) for case in CASES for v in case.beyond):
        warehouse.execute(f"CREATE TABLE t{number} (d {type}); INSERT INTO t{number} VALUES ({value})")
        with pytest.raises(DataError, match="column d does not fit"):
            warehouse.load(f"t{number}", {"read": "direct"})
        [row] = warehouse.load(f"t{number}", {"read": "direct", "columns": {"d": "text"}}).rows
        assert repr(row["d"]) == value


def test_types_of_a_query(warehouse: Warehouse) -> None:
    warehouse.execute(
        "CREATE TABLE kinds (price numeric(10, 2), whole integer, tree super, moment timestamptz);"
        "INSERT INTO kinds VALUES (99999999.99, 1, '{}', NULL), (-0.01, 2, 'null', '1970-01-01 00:00:00+00'),"
        " (NULL, NULL, NULL, NULL)"
    )
    query = (
        "SELECT price * 2 AS twice, tree, sum(whole::bigint) OVER () AS total, 'a' AS word FROM kinds -- all"
    )
    loaded = warehouse.load("asked", {"read": "direct"}, query=query)
    assert loaded.types == {
        "twice": "string numeric", "tree": "string json", "total": "string numeric", "word": "string",
    }  # fmt: skip
    assert {row["twice"] for row in loaded.rows} == {"199999999.98", "-0.02", None}
    plain = "SELECT price, tree, moment FROM kinds WHERE whole = 2"
    expected: list[dict[str, Any]] = [
        {"price": Decimal("-0.01"), "tree": "null", "moment": datetime(1970, 1, 1, tzinfo=UTC)}
    ]
    assert warehouse.load("asked", query=plain).rows == expected
    assert len(warehouse.front.unloads) == 1
