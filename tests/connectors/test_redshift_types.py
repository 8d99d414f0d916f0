"""Every type of Redshift's, unloaded and over the wire: the same exact values, or a refusal by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from asgard.core.errors import ConfigError, DataError
from tests.connectors.redshift_reading import Warehouse
from tests.servers.redshift import RedshiftFront

WIDE = Decimal("-1234567890123456789012345678.9012345678")
TABLE = """
CREATE TABLE kinds (
  flag boolean, small smallint, whole integer, large bigint, short real, long double precision,
  price numeric(10, 2), wide numeric(38, 10), padded char(8), varied varchar(20), day date,
  at timestamp, moment timestamptz, clock time, zoned timetz, tree super, bytes varbyte);
INSERT INTO kinds VALUES
  (true, -32768, -2147483648, -9223372036854775808, 0.1, 0.1, 99999999.99,
   -1234567890123456789012345678.9012345678, 'ab', E'x\\\\y''z  ', '9999-12-31', '2024-02-29 23:59:59.123456',
   '2024-07-01 12:00:00.000001+02', '23:59:59.999999', '12:00:00.5+05:30',
   '{"a": [1, 1.10, null]}', '00ff10'),
  (false, 32767, 2147483647, 9223372036854775807, 16777217, 1e308, -0.01, 0, ' a ', '', '0001-01-01',
   '0001-01-01 00:00:00', '1970-01-01 00:00:00+00', '00:00:00', '00:00:00+00', 'null', ''),
  (NULL, NULL, NULL, NULL, 'NaN', 'Infinity', NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
TYPES = {
    "flag": "bool", "small": "int16", "whole": "int32", "large": "int64", "short": "float", "long": "double",
    "price": "decimal128(10, 2)", "wide": "decimal128(38, 10)", "padded": "string", "varied": "string",
    "day": "date32[day]", "at": "timestamp[us]", "moment": "timestamp[us, tz=UTC]", "clock": "string time",
    "zoned": "string timetz", "tree": "string json", "bytes": "binary",
}  # fmt: skip


@pytest.fixture
def warehouse(redshift: RedshiftFront) -> Iterator[Warehouse]:
    made = Warehouse.new(redshift)
    yield made
    redshift.server.drop_database(made.name)


@pytest.mark.parametrize("way", ["unload", "direct", "int96"])
def test_values_are_exact_either_way(warehouse: Warehouse, way: str) -> None:
    warehouse.execute(TABLE)
    warehouse.front.int96 = way == "int96"
    loaded = warehouse.load("kinds", {"read": "direct" if way == "direct" else "unload"})
    assert loaded.types == TYPES
    rows = {row["small"]: row for row in loaded.rows if row["small"] is not None}
    first, second = rows[-32768], rows[32767]
    assert first["flag"] is True
    assert second["flag"] is False
    assert (first["large"], second["large"]) == (-(2**63), 2**63 - 1)
    assert first["short"] == pytest.approx(0.1, abs=1e-8)
    assert first["short"] != 0.1  # of 32 bits, and the very same as the server's
    assert second["short"] == 16777216
    assert (first["long"], second["long"]) == (0.1, 1e308)
    assert (first["price"], second["price"]) == (Decimal("99999999.99"), Decimal("-0.01"))
    assert (first["wide"], second["wide"]) == (WIDE, Decimal("0E-10"))
    assert (first["padded"], second["padded"]) == ("ab", " a")
    assert (first["varied"], second["varied"]) == ("x\\y'z  ", "")
    assert (first["day"], second["day"]) == (date(9999, 12, 31), date(1, 1, 1))
    assert first["at"] == datetime(2024, 2, 29, 23, 59, 59, 123456)
    assert second["at"] == datetime(1, 1, 1)
    assert first["moment"] == datetime(2024, 7, 1, 10, 0, 0, 1, UTC)
    assert second["moment"] == datetime(1970, 1, 1, tzinfo=UTC)
    assert (first["clock"], first["zoned"]) == ("23:59:59.999999", "12:00:00.5+05:30")
    assert (first["tree"], second["tree"]) == ('{"a": [1, 1.10, null]}', "null")
    assert (first["bytes"], second["bytes"]) == (b"\x00\xff\x10", b"")
    others = [row for row in loaded.rows if row["small"] is None]
    assert sorted(str(row["short"]) for row in others) == ["None", "nan"]
    assert sorted(str(row["long"]) for row in others) == ["None", "inf"]
    assert all(row[name] is None for row in others for name in ("flag", "price", "at", "tree", "bytes"))


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


@pytest.mark.parametrize(
    "value", [("d date", "0044-03-15 BC"), ("d timestamp", "12024-01-01 00:00:00"), ("d date", "infinity")]
)
def test_times_that_the_wire_cannot_carry(warehouse: Warehouse, value: tuple[str, str]) -> None:
    column, text = value
    warehouse.execute(f"CREATE TABLE t ({column}); INSERT INTO t VALUES ('{text}')")
    with pytest.raises(DataError, match="column d does not fit"):
        warehouse.load("t", {"read": "direct"})
    [row] = warehouse.load("t", {"read": "direct", "columns": {"d": "text"}}).rows
    assert row["d"] == text


def test_types_of_a_query(warehouse: Warehouse) -> None:
    warehouse.execute(TABLE)
    query = (
        "SELECT price * 2 AS twice, tree, sum(whole::bigint) OVER () AS total, 'a' AS word FROM kinds -- all"
    )
    loaded = warehouse.load("asked", {"read": "direct"}, query=query)
    assert loaded.types == {
        "twice": "string numeric", "tree": "string json", "total": "string numeric", "word": "string",
    }  # fmt: skip
    assert {row["twice"] for row in loaded.rows} == {"199999999.98", "-0.02", None}
    plain = "SELECT price, tree, moment FROM kinds WHERE small = 32767"
    expected: list[dict[str, Any]] = [
        {"price": Decimal("-0.01"), "tree": "null", "moment": datetime(1970, 1, 1, tzinfo=UTC)}
    ]
    assert warehouse.load("asked", query=plain).rows == expected
    assert len(warehouse.front.unloads) == 1
