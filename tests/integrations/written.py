"""Sources that tests write, and describe as other processes are given them: with references alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.connectors._files.sets import SPLIT_BYTES
from tests.servers.postgres import Server

PASSWORD = "kept-in-a-file-0c61"
ROLE = "reads_elsewhere"


def postgres_options(server: Server, database: str, folder: Path) -> dict[str, Any]:
    """Options of a role of its own, whose password lies in a file."""
    server.execute(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN "
        f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'; END IF; END $$"
    )
    file = folder / "password"
    file.write_text(PASSWORD)
    return {
        "type": "postgres",
        "host": server.host,
        "port": server.port,
        "database": database,
        "username": ROLE,
        "password": f"${{file:{file}}}",
        "ssl_mode": "disable",
    }


def many_pages(server: Server, database: str, rows: int = 26_000) -> None:
    """A table `orders` that is large enough for several splits, of many types."""
    server.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, name text, amount numeric(12, 2), at timestamp, "
        "seen timestamptz, day date, maybe bigint, tags text[], doc jsonb) WITH (fillfactor = 10)",
        database,
    )
    server.execute(
        "INSERT INTO orders SELECT i, 'n''' || i, i * 1.1, timestamp '2024-01-01' + i * interval '1 s', "
        "timestamptz '2024-01-01 00:00+02' + i * interval '1 us', date '2024-01-01' + i % 400, "
        "CASE WHEN i % 3 > 0 THEN i::bigint << 32 END, ARRAY['a' || i, NULL], jsonb_build_object('pad', "
        f"repeat('x', 300)) FROM generate_series(1, {rows}) i; ANALYZE orders",
        database,
    )


def sqlite_file(folder: Path) -> Path:
    """A database with one table `notes`."""
    file = folder / "notes.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT, weight REAL)")
        rows = [(number, f"note {number}", number / 7) for number in range(2500)]
        database.executemany("INSERT INTO notes VALUES (?, ?, ?)", [*rows, (9999, None, None)])
        database.commit()
    return file


AWKWARD = pa.table(
    {
        "small": pa.array([0, 255, None], pa.uint8()),
        "huge": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "price": pa.array([Decimal("0.10"), Decimal(f"-{'9' * 36}.99"), None], pa.decimal128(38, 2)),
        "local": pa.array([datetime(1582, 10, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None]),
        "moment": pa.array(
            [datetime(1, 1, 1, tzinfo=UTC), datetime(2024, 3, 10, 2, 30, tzinfo=UTC), None],
            pa.timestamp("us", "America/New_York"),
        ),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
        "half": pa.array([0.5, float("nan"), None], pa.float32()),
        "bytes": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "word": pa.array(["", "é\n\U0001f600", None]).dictionary_encode(),
        "nested": pa.array(
            [{"list": [1, None], "inner": {"x": True}}, {"list": [], "inner": None}, None],
            pa.struct([("list", pa.list_(pa.int16())), ("inner", pa.struct([("x", pa.bool_())]))]),
        ),
        "map": pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
    }
)
"""Values at the edges of their types, and nulls."""


def parquet_files(folder: Path, count: int = 2) -> Path:
    """A folder of files with the awkward rows, each large enough for a split of its own."""
    target = folder / "awkward"
    target.mkdir()
    for number in range(count):
        padding = pa.array([os.urandom(SPLIT_BYTES), None, None])
        pq.write_table(AWKWARD.append_column("padding", padding), target / f"part-{number}.parquet")
    return target
