"""From MySQL to the lake: TPC-H lineitem, beside MySQL's own dumps, DuckDB, connectorx, dlt and ingestr.

Asgard runs a real project with its default settings and five checks to a committed Delta table. The others
write Parquet as fast as they can be made to, and check nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from bench.carriers import Argv, Carriers, bars, ingestr
from bench.contest import Contender, Contest
from bench.contests.extract import LINEITEM_CHECKS
from bench.setting import Setting
from bench.tables import DATABASE, USER, lineitem_file
from tests.servers.mysql import MysqlServer, mysql_server

REFERENCE = "duckdb scanner to parquet"
SCALE_FACTOR = 1 / 6  # a million rows
SETTINGS = """
skip-log-bin
sql-mode =
default-time-zone = +00:00
innodb-buffer-pool-size = 1G
local-infile = ON
secure-file-priv =
"""
TABLE = """
CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL,
    l_linenumber int NOT NULL,
    l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL,
    l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL,
    l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
    l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
    l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber)
) CHARACTER SET utf8mb4
"""
LOAD = """
LOAD DATA LOCAL INFILE %s INTO TABLE lineitem CHARACTER SET utf8mb4
FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY ''
"""


@dataclass(frozen=True)
class Filled:
    """A server with lineitem, and how it is addressed."""

    server: MysqlServer
    rows: int
    middle: int

    @property
    def uri(self) -> str:
        """As most tools want it."""
        return f"mysql://{USER}:{USER}@{self.server.host}:{self.server.port}/{DATABASE}"

    @property
    def flags(self) -> str:
        """As MySQL's own programs want it."""
        return f"--host={self.server.host} --port={self.server.port} --user={USER} --password={USER}"


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    with _filled(1 / 60 if setting.quick else SCALE_FACTOR) as source:
        to = Carriers(setting.folder / "mysql", source.rows)
        contenders = [*_limits(to, source), *_ours(to, source), *_peers(to, source)]
        title = f"MySQL to the lake: TPC-H lineitem, {source.rows:,} rows"
        yield Contest(
            "mysql",
            title,
            contenders,
            bars(contenders),
            source.rows,
            REFERENCE,
            server_pid=source.server.pid,
        )


@contextmanager
def _filled(scale_factor: float) -> Iterator[Filled]:
    file = lineitem_file(round(scale_factor, 4))
    with mysql_server("mysql80", SETTINGS) as server:
        # The old way to sign in: that of today wants TLS or a key, which not everybody can do.
        server.execute(f"CREATE USER {USER} IDENTIFIED WITH mysql_native_password BY '{USER}'")
        server.execute(f"GRANT ALL ON *.* TO {USER}; CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        with closing(server.connect(DATABASE, local_infile=True)) as connection:
            cursor = connection.cursor()
            cursor.execute(TABLE)
            cursor.execute(LOAD, [str(file)])
        server.execute("ANALYZE TABLE lineitem", DATABASE)
        [(rows, middle)] = server.execute(
            "SELECT count(*), (min(l_orderkey) + max(l_orderkey)) DIV 2 FROM lineitem", DATABASE
        )
        yield Filled(server, rows, middle)


def _limits(to: Carriers, source: Filled) -> Iterator[Contender]:
    mysql, mysqldump = shutil.which("mysql"), shutil.which("mysqldump")
    missing = (
        "" if mysql and mysqldump else "not installed: mysql and mysqldump, such as Debian's mariadb-client"
    )

    def shell(name: str, note: str, command: str) -> Contender:
        return to.limit(f"limit: {name}", note, ("sh", "-c", command), missing)

    select = f"{mysql} {source.flags} --quick --batch --skip-column-names {DATABASE} -e"
    whole = '"SELECT * FROM lineitem {}" > /dev/null'
    yield shell("mysql -q", "one SELECT into nothing, not buffered", f"exec {select} {whole.format('')}")
    first, second = (whole.format(f"WHERE l_orderkey {sign} {source.middle}") for sign in ("<", ">="))
    two = f"{select} {first} & {select} {second} && wait $!"
    yield shell("mysql -q, 2 ranges", "two at the same time, each for half of the keys", two)
    dump = f"{mysqldump} {source.flags} --single-transaction --skip-lock-tables --no-tablespaces --quick"
    yield shell(
        "mysqldump", "as INSERT statements into nothing", f"exec {dump} {DATABASE} lineitem > /dev/null"
    )
    folder = 'folder=$(mktemp -d) && chmod 777 "$folder"'
    tab = f'{dump} --tab="$folder" {DATABASE} lineitem'
    kept = "the server writes a text file itself; its CPU is the server's"
    yield shell("mysqldump --tab", kept, f'{folder} && {tab}; code=$?; rm -rf "$folder"; exit $code')


def _ours(to: Carriers, source: Filled) -> Iterator[Contender]:
    connection = {
        "host": source.server.host,
        "port": source.server.port,
        "database": DATABASE,
        "username": USER,
        "password": USER,
        "ssl_mode": "disable",
    }
    shop = {"type": "mysql", **connection}
    checked = {"name": "lineitem", "checks": LINEITEM_CHECKS}
    yield to.asgard("asgard", "asgard run, 5 checks, committed Delta, default settings", shop, checked)
    yield to.asgard("asgard, no checks", "the same without checks", shop, {"name": "lineitem"})


def _peers(to: Carriers, source: Filled) -> Iterator[Contender]:
    uri, server = source.uri, source.server
    dsn = f"host={server.host} port={server.port} user={USER} password={USER} database={DATABASE}"
    yield to.peer(
        "duckdb-mysql",
        REFERENCE,
        "its own scanner, bare Parquet, zstd 1, order not kept, 2 threads",
        lambda env, folder: env.script("duckdb_mysql", dsn, "lineitem", folder / "out"),
    )
    yield to.peer(
        "connectorx",
        "connectorx to parquet",
        "Arrow stream, binary protocol, 2 partitions, pyarrow's writer, zstd 1",
        lambda env, folder: env.script("connectorx_parquet", uri, "lineitem", "l_orderkey", folder / "out"),
    )
    yield to.peer(
        "ingestr",
        "ingestr to parquet",
        "1.1.21 (newer ones fetch their program), snappy, which is fixed",
        ingestr(uri, f"{DATABASE}.lineitem"),
    )
    for backend in ("connectorx", "pyarrow"):
        yield to.peer(
            "dlt-mysql",
            f"dlt {backend} to parquet",
            f"sql_database, backend {backend}, 100,000 rows a chunk",
            _dlt(uri, backend),
        )


def _dlt(uri: str, backend: str) -> Argv:
    return lambda env, folder: env.script(
        "dlt_lake", uri, "lineitem", backend, "parquet", folder / "out", folder / "scratch"
    )
