"""One query on DuckDB and on Spark over the same files: the same table, or refused for Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, QueryError
from asgard.core.table import Mount, TableName
from asgard.core.types import canonical_schema, fingerprint
from asgard.transform.dialect import to_spark

ROWS = 24
NAME = TableName("bronze", "shop", "facts")
OTHER = TableName("silver", "", "names")
EDGES = TableName("bronze", "shop", "edges")


def _cycle(values: list[Any], step: int = 1) -> list[Any]:
    return [values[at * step % len(values)] for at in range(ROWS)]


FACTS = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "small": pa.array(_cycle([1, None, -7, 3, 100]), pa.int8()),
        "n": pa.array(_cycle([5, -3, None, 0, 7, 2, 11]), pa.int32()),
        "big": pa.array(_cycle([0, 2**40, -(2**40) - 1, None, 12345678901]), pa.int64()),
        "amount": pa.array(
            _cycle([*map(Decimal, ("0.05", "-2.50", "100.25", "0.00")), None]), pa.decimal128(10, 2)
        ),
        "rate": pa.array(
            _cycle([*map(Decimal, ("1.2345", "-0.5000", "0.3333")), None], 3), pa.decimal128(12, 4)
        ),
        "v": pa.array(_cycle([1.5, float("nan"), None, -2.25, 0.0, float("inf"), 0.1]), pa.float64()),
        "name": pa.array(
            _cycle(["Anna", "bob", None, "", " Zed ", "a,b,c", 'it\'s \\ "q"', "größe ü🦆", "%_"])
        ),
        "code": pa.array(_cycle(["12", "-7", None, "0042"])),
        "day": pa.array(
            _cycle([date(2024, 1, 31), date(2023, 12, 31), None, date(1582, 10, 10), date(2024, 2, 29)])
        ),
        "moment": pa.array(
            _cycle([datetime(2024, 3, 31, 1, 30, 5, 123456), None, datetime(1969, 12, 31, 23, 59, 59)], 2),
            pa.timestamp("us"),
        ),
        "utc": pa.array(
            _cycle([datetime(2024, 3, 31, 1, 30, tzinfo=UTC), None, datetime(1900, 1, 1, tzinfo=UTC)]),
            pa.timestamp("us", "UTC"),
        ),
        "ok": pa.array(_cycle([True, False, None], 2)),
        "tags": pa.array(_cycle([["x", None], [], None]), pa.list_(pa.string())),
    }
)
NAMES = pa.table(
    {"n": pa.array([5, 7, None, 5, 99], pa.int32()), "label": ["five", "seven", "none", "FIVE", None]}
)
DAYS = pa.array([-800_000, -719_528, 2_932_896, 3_000_000, 0, None], pa.int32()).cast(pa.date32())
EDGE = pa.table(
    {
        "i8": pa.array([-128, 127, 0, 1, None, -1], pa.int8()),
        "i32": pa.array([-(2**31), 2**31 - 1, 0, 1, None, -1], pa.int32()),
        "i64": pa.array([-(2**63), 2**63 - 1, 0, 1, None, -1], pa.int64()),
        "d": pa.array(
            [*map(Decimal, ("9" * 18, "-" + "9" * 18, "0", "1")), None, Decimal(2)], pa.decimal128(18, 0)
        ),
        "f": pa.array([-0.0, float("-inf"), 1e308, 5e-324, float("nan"), 2.5]),
        "s": ["ß", "İ", "Ǆ", "ascii", None, "2024-1-1"],
        "day": DAYS,
        "moment": pa.array([datetime(1, 1, 1) + timedelta(days=at) for at in range(6)], pa.timestamp("us")),
    }
)
TABLES = {NAME: FACTS, OTHER: NAMES, EDGES: EDGE}
SCHEMAS = {name: table.schema for name, table in TABLES.items()}


def attach_all(folder: Path, *engines: Engine) -> None:
    """The tables above as files, attached to each engine."""
    for name, table in TABLES.items():
        file = folder / f"{name}.parquet"
        pq.write_table(table, file, row_group_size=7)
        for engine in engines:
            engine.attach(name, Mount(table.schema, (str(file),)))


@dataclass(frozen=True)
class Compared:
    """How a query went.

    Attributes:
        refused: why it does not run on Spark; empty if it does.
        different: what differs; empty if nothing does.
    """

    refused: str = ""
    different: str = ""


def compare(duck: Engine, spark: Engine, sql: str) -> Compared:
    """Runs a query on both engines."""
    expected = _rows(duck, sql)
    columns = None if isinstance(expected, AsgardError) else expected.schema
    try:
        translated = to_spark(sql, SCHEMAS, columns)
    except QueryError as error:
        return Compared(refused=error.what)
    found = _rows(spark, translated)
    if isinstance(found, AsgardError):
        if isinstance(expected, AsgardError) or type(found).__name__ == "DataError":
            return Compared(refused=found.what)
        return Compared(different=f"{translated}\nSpark: {found}")
    if isinstance(expected, AsgardError):
        return Compared(different=f"{translated}\nDuckDB: {expected}, Spark: {_plain(found)[:3]}")
    return Compared(different=_difference(expected, found, "order by" in sql.lower().rpartition(")")[2]))


def _rows(engine: Engine, sql: str) -> pa.Table | AsgardError:
    try:
        with engine.query(sql) as reader:
            return reader.read_all()
    except AsgardError as error:
        return error


def _difference(expected: pa.Table, found: pa.Table, ordered: bool) -> str:
    schemas = [canonical_schema(table.schema) for table in (expected, found)]
    schemas = [pa.schema([field.with_nullable(True).remove_metadata() for field in one]) for one in schemas]
    if fingerprint(schemas[0]) != fingerprint(schemas[1]):
        return f"DuckDB's columns: {schemas[0]}\nSpark's columns: {schemas[1]}"
    rows = [_plain(table) for table in (expected, found)]
    if not ordered:
        rows = [sorted(part) for part in rows]
    if rows[0] == rows[1]:
        return ""
    pairs = [pair for pair in zip(*rows, strict=False) if pair[0] != pair[1]]
    return f"{len(rows[0])} and {len(rows[1])} rows; DuckDB and Spark: {pairs[:3]}"


def _plain(table: pa.Table) -> list[str]:
    """Each row as a text of its exact values: times as numbers, which have years before 1 too."""
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            column = column.cast(pa.int32() if pa.types.is_date(kind) else pa.int64())
        columns.append(column.to_pylist())
    return [repr(row) for row in zip(*columns, strict=True)]
