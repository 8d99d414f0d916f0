"""What DuckDB and pyiceberg read of tables that we wrote: every type, and after every kind of load."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.stream import Mode
from asgard.lake.iceberg.table import IcebergTable
from asgard.testing.content import content_hash
from asgard.transport import duck
from tests.lake.ground import SCHEMA, load, rows
from tests.lake.iceberg.ground import as_any, iceberg_table, theirs

EVERYTHING = pa.schema(
    [
        ("id", pa.int64()),
        ("flag", pa.bool_()),
        ("small", pa.int32()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("money", pa.decimal128(38, 10)),
        ("price", pa.decimal128(9, 2)),
        ("day", pa.date32()),
        ("local", pa.timestamp("us")),
        ("instant", pa.timestamp("us", "UTC")),
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("city", pa.string()), ("zip", pa.int64())])),
        ("counts", pa.map_(pa.string(), pa.int64())),
        ("lines", pa.list_(pa.struct([("sku", pa.string()), ("amount", pa.decimal128(12, 4))]))),
    ]
)
NOTHING: dict[str, Any] = dict.fromkeys(EVERYTHING.names)
VALUES: list[dict[str, Any]] = [
    {
        "id": 1, "flag": True, "small": -(2**31), "single": 1.5, "double": -0.0,
        "money": Decimal("9999999999999999999999999999.9999999999"), "price": Decimal("-0.01"),
        "day": date(1, 1, 1), "local": datetime(1, 1, 1), "instant": datetime(2262, 1, 1, tzinfo=UTC),
        "text": "Größe\n\"quoted\" 😀", "bytes": b"\x00\xff", "tags": ["a", None, ""],
        "place": {"city": "Zürich", "zip": None}, "counts": [("x", 1), ("y", None)],
        "lines": [{"sku": "s", "amount": Decimal("1.2345")}],
    },
    {
        "id": 2**63 - 1, "flag": False, "small": 2**31 - 1, "single": float("inf"), "double": 5e-324,
        "money": Decimal("-0.0000000001"), "price": Decimal("9999999.99"),
        "day": date(9999, 12, 31), "local": datetime(9999, 12, 31, 23, 59, 59, 999999),
        "instant": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        "text": "", "bytes": b"", "tags": [], "place": {"city": None, "zip": -1}, "counts": [], "lines": [],
    },
    {**NOTHING, "id": -(2**63)},
]  # fmt: skip


def everything() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(VALUES, EVERYTHING)


def read_by_duckdb(table: IcebergTable, at: int | None = None) -> pa.Table:
    """All rows as DuckDB's own reader of Iceberg sees them."""
    handle = theirs(table)
    option = ""
    if at is not None:
        one = next(one for one in handle.metadata.snapshots if one.sequence_number == at)
        option = f", snapshot_from_id => {one.snapshot_id}"
    connection = duck.connect(extensions=("avro", "iceberg"))
    try:
        query = f"SELECT * FROM iceberg_scan({duck.literal(handle.metadata_location)}{option})"
        return connection.sql(query).to_arrow_table()
    finally:
        connection.close()


def read_by_pyiceberg(table: IcebergTable, at: int | None = None) -> pa.Table:
    """The same by pyiceberg."""
    handle = theirs(table)
    of = None
    if at is not None:
        of = next(one for one in handle.metadata.snapshots if one.sequence_number == at).snapshot_id
    return handle.scan(snapshot_id=of).to_arrow()


READERS = {"duckdb": read_by_duckdb, "pyiceberg": read_by_pyiceberg}


def hashed(data: pa.Table, like: pa.Schema) -> dict[str, str]:
    return content_hash(data.select(like.names).to_batches(), like)


@pytest.mark.parametrize("reader", READERS)
def test_values_of_every_type_are_read_as_they_were(tmp_path: Path, reader: str) -> None:
    table = iceberg_table(tmp_path)
    load(as_any(table), Mode.APPEND, everything(), "1")
    schema, batch = table.schema(), everything()
    if reader == "pyiceberg":  # which reads a missing list of structs as an empty one
        assert read_by_pyiceberg(table).column("lines").null_count == 0
        index = schema.names.index("lines")
        schema, batch = schema.remove(index), batch.drop_columns(["lines"])
    assert hashed(READERS[reader](table), schema) == content_hash(batch)
    assert content_hash(table.scan()) == content_hash(everything())


@pytest.mark.parametrize("reader", READERS)
def test_what_every_kind_of_load_made_is_read_as_we_read_it(tmp_path: Path, reader: str) -> None:
    table = iceberg_table(tmp_path)
    read = READERS[reader]
    load(as_any(table), Mode.APPEND, rows([(n, f"v{n}") for n in range(100)]), "1")
    load(as_any(table), Mode.MERGE, rows([(n, "merged") for n in range(50, 150)]), "2", keys=("id",))
    wide = pa.schema([*SCHEMA, ("w", pa.float64())])
    batch = pa.RecordBatch.from_pylist([{"id": 1000, "v": "x", "w": 1.5}], wide)
    load(as_any(table), Mode.APPEND, batch, "3")
    load(as_any(table), Mode.REPLACE, batch, "4")
    table.undo()
    for number in range(8):
        load(as_any(table), Mode.APPEND, rows([(2000 + number, "y")]), f"5{number}", allow_missing=True)
    assert table.compact("", lambda: False, nullcontext) is not None
    for version in (None, *(one.version for one in table.versions(5))):
        ours = table.scan(at=version).read_all()
        assert hashed(read(table, version), ours.schema) == content_hash(ours)
    found = read(table)
    assert found.num_rows == len(set(found.column("id").to_pylist())) == 159


@pytest.mark.parametrize("reader", READERS)
def test_predicates_find_rows_by_the_bounds_that_we_wrote(tmp_path: Path, reader: str) -> None:
    table = iceberg_table(tmp_path)
    for start in range(0, 50, 10):
        load(
            as_any(table), Mode.APPEND, rows([(n, f"v{n:03}") for n in range(start, start + 10)]), str(start)
        )
    if reader == "pyiceberg":
        scan = theirs(table).scan("id >= 18 and id < 22 or v = 'v047'")
        assert len(list(scan.plan_files())) == 3
        found = scan.to_arrow()
    else:
        assert read_by_duckdb(table).num_rows == 50
        connection = duck.connect(extensions=("avro", "iceberg"))
        location = duck.literal(theirs(table).metadata_location)
        where = "id >= 18 AND id < 22 OR v = 'v047'"
        found = connection.sql(f"SELECT * FROM iceberg_scan({location}) WHERE {where}").to_arrow_table()
        connection.close()
    assert sorted(found.column("id").to_pylist()) == [18, 19, 20, 21, 47]
