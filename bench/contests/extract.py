"""From PostgreSQL to the lake: TPC-H lineitem and tables of every type, Asgard against its peers.

Asgard runs a real project with its default settings and five checks to a committed Delta table. The others
write Parquet or Delta as fast as they can be made to, and check nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.carriers import MOST_MEGABYTES, Argv, counted, ingestr
from bench.contest import Bar, Contender, Contest
from bench.environments import QUIET, Environment, asgard, environment
from bench.measure import Command
from bench.setting import Setting
from bench.tables import Database, client, database, load_every_type, load_lineitem

REFERENCE = "duckdb scanner to parquet"
PEERS = ("ingestr", "dlt", "sling", "connectorx", "adbc")

LINEITEM_CHECKS: list[dict[str, Any]] = [
    {"not_null": ["l_orderkey", "l_linenumber", "l_shipdate"]},
    {"between": {"column": "l_quantity", "min": 1, "max": 50}},
    {"accepted_values": {"column": "l_returnflag", "values": ["A", "N", "R"]}},
    {"non_negative": ["l_extendedprice"]},
    {"row_count": {"min": 1}},
]
EVERY_TYPE_CHECKS: list[dict[str, Any]] = [
    {"not_null": ["id"]},
    {"between": {"column": "small", "min": 0, "max": 32000}},
    {"accepted_values": {"column": "feeling", "values": ["low", "fair", "high", "très bien"]}},
    {"non_negative": ["single"]},
    {"row_count": {"min": 1}},
]

AS_TEXT = dict.fromkeys(("words", "numbers", "day", "moment", "instant"), "text")
"""Columns of every_type with values that no Arrow type can hold: bounds, dimensions, infinities."""


@dataclass(frozen=True)
class Task:
    """One table that everybody is to carry.

    Attributes:
        key: the column that is cut into ranges by those who can.
        unique: the columns of its primary key.
        folder: where the contenders work.
        columns: those that Asgard carries as the source's own text: unasked it refuses what no type can hold.
    """

    source: Database
    table: str
    key: str
    unique: tuple[str, ...]
    rows: int
    checks: list[dict[str, Any]]
    folder: Path
    columns: Mapping[str, str] = field(default_factory=dict)

    def contender(self, name: str, note: str, argv: Callable[[Path], Sequence[str]]) -> Contender:
        """A contender that fills its `out` with Parquet files."""
        folder = self.folder / name.replace(" ", "_").replace(",", "")
        command = Command(tuple(argv(folder)), folder, QUIET)
        return Contender(name, note, command, judge=lambda _: counted(folder / "out", self.rows))


def contests(setting: Setting) -> Iterator[Contest]:
    """lineitem, every type tame, every type hard."""
    with database() as source:
        rows = load_lineitem(source, 0.05 if setting.quick else 1.0)
        unique = ("l_orderkey", "l_linenumber")
        lineitem = Task(
            source, "lineitem", unique[0], unique, rows, LINEITEM_CHECKS, setting.folder / "lineitem"
        )
        yield _contest("extract-lineitem", f"PostgreSQL to the lake: TPC-H lineitem, {rows:,} rows", lineitem)
        rows = load_every_type(source, setting.sized(1_000_000, 50_000))
        folder = setting.folder / "every_type"
        hard = Task(source, "every_type", "id", ("id",), rows, EVERY_TYPE_CHECKS, folder, AS_TEXT)
        tame = replace(hard, table="every_type_tame", folder=setting.folder / "every_type_tame", columns={})
        for task, kind in ((tame, "20 types, tame values"), (hard, "21 types, hard values")):
            title = f"PostgreSQL to the lake: a table of {kind}, {rows:,} rows"
            yield _contest(f"extract-{task.table.replace('_', '-')}", title, task)


def _contest(name: str, title: str, task: Task) -> Contest:
    contenders = [*_limits(task), _reference(task), *_ours(task), *_peers(task)]
    bars = [
        Bar("asgard", "wall_seconds", 1.25, REFERENCE),
        Bar("asgard", "client_cpu_seconds", 1.4, REFERENCE),
        Bar("asgard", "peak_bytes", MOST_MEGABYTES * 1e6),
    ]
    for contender in contenders:
        if contender.name.startswith(PEERS):
            for metric in ("wall_seconds", "client_cpu_seconds", "peak_bytes"):
                bars.append(Bar("asgard", metric, 1.0, contender.name))
    return Contest(name, title, contenders, bars, task.rows, REFERENCE, server_pid=task.source.server.pid)


# ---- ours


def _ours(task: Task) -> Iterator[Contender]:
    unique = {"unique": list(task.unique)}
    yield _asgard(task, "asgard", "asgard run, 5 checks, committed Delta, default settings", task.checks)
    yield _asgard(task, "asgard, unique key", "the same, and that the key is unique", [*task.checks, unique])
    yield _asgard(task, "asgard, no checks", "the same without checks", [])


def _asgard(task: Task, name: str, note: str, checks: list[dict[str, Any]]) -> Contender:
    made = task.contender(name, note, lambda folder: (asgard(), "run"))
    assert made.command is not None
    folder = made.command.folder
    table = {"name": task.table, "mode": "replace", "checks": checks, "columns": dict(task.columns)}
    document = project(task.source, table, folder / "out")

    def write_project() -> None:
        (folder / "asgard.yml").write_text(json.dumps(document, indent=2, ensure_ascii=False))

    return Contender(name, note, made.command, before=write_project, judge=made.judge)


def project(source: Database, table: Mapping[str, Any], lake: Path) -> dict[str, Any]:
    """An asgard.yml with one table; JSON is YAML."""
    connection = {
        "host": source.server.host,
        "port": source.server.port,
        "database": "bench",
        "username": "bench",
        "password": "bench",
        "ssl_mode": "disable",
    }
    shop = {"type": "postgres", "connection": connection, "tables": [dict(table)]}
    return {"version": 1, "lake": {"format": "delta", "location": str(lake)}, "data_sources": {"shop": shop}}


# ---- limits and the reference


def _limits(task: Task) -> Iterator[Contender]:
    psql = f"{client('psql')} -qX '{task.source.uri}' -c"
    copy = '"COPY (SELECT * FROM {0} {1}) TO STDOUT (FORMAT binary)" > /dev/null'
    one = f"exec {psql} {copy.format(task.table, '')}"
    yield task_of(task, "limit: COPY", "one COPY TO STDOUT (FORMAT binary) into nothing", one)
    middle = f"$({psql} \"SELECT pg_relation_size('{task.table}') / 8192 / 2\" -At)"
    first = copy.format(task.table, "WHERE ctid < '($middle,0)'::tid")
    second = copy.format(task.table, "WHERE ctid >= '($middle,0)'::tid")
    two = f"middle={middle}; {psql} {first} & {psql} {second} && wait $!"
    yield task_of(task, "limit: COPY, 2 ranges", "two at the same time, each for half of the pages", two)


def task_of(task: Task, name: str, note: str, shell: str) -> Contender:
    """A shell command that writes no rows."""
    folder = task.folder / name.replace(" ", "_").replace(",", "").replace(":", "")
    return Contender(name, note, Command(("sh", "-c", shell), folder))


def _reference(task: Task) -> Contender:
    return _of(
        task,
        "duckdb",
        REFERENCE,
        "its own scanner, bare Parquet, zstd 1, order not kept, 2 threads",
        lambda env, folder: env.script("duckdb_scanner", task.source.dsn, task.table, folder / "out"),
    )


# ---- peers


def _peers(task: Task) -> Iterator[Contender]:
    uri, table = task.source.uri, task.table

    def sling(env: Environment, folder: Path) -> Sequence[str]:
        program = str(env.file("lib/**/sling-linux-amd64"))
        streams = ("--src-stream", f"public.{table}", "--tgt-object", f"file://{folder}/out/part-0.parquet")
        return (program, "run", "--src-conn", uri, *streams)

    def connectorx(env: Environment, folder: Path) -> Sequence[str]:
        return env.script("connectorx_parquet", uri, table, task.key, folder / "out")

    def adbc(env: Environment, folder: Path) -> Sequence[str]:
        return env.script("adbc_parquet", uri, table, folder / "out")

    def dlt(backend: str, table_format: str) -> Argv:
        places = ("out", "scratch")
        return lambda env, folder: env.script(
            "dlt_lake", uri, table, backend, table_format, *(folder / place for place in places)
        )

    writer = "pyarrow's writer, zstd 1"
    yield _of(
        task,
        "ingestr",
        "ingestr to parquet",
        "1.1.21 (newer ones fetch their program), snappy, which is fixed",
        ingestr(uri, f"public.{table}"),
    )
    yield _of(
        task, "sling", "sling to parquet", "1.4.11 (newer ones fetch their program), its own writer", sling
    )
    yield _of(
        task, "connectorx", "connectorx to parquet", f"Arrow stream, 2 partitions, {writer}", connectorx
    )
    yield _of(task, "adbc", "adbc to parquet", f"2 connections, decimals cast, {writer}", adbc)
    for backend, form in (("connectorx", "parquet"), ("connectorx", "delta"), ("pyarrow", "delta")):
        note = f"sql_database, backend {backend}, 100,000 rows a chunk"
        yield _of(task, "dlt", f"dlt {backend} to {form}", note, dlt(backend, form))


def _of(task: Task, peer: str, name: str, note: str, argv: Argv) -> Contender:
    """A peer in its environment; one that could not be installed has failed."""
    env = environment(peer)
    if env.failure:
        return Contender(name, note, failure=env.failure)
    return task.contender(name, note, lambda folder: argv(env, folder))
