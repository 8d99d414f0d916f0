"""Bad input: a clear error, the right exit code, and the last good data untouched."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.console import Console
from tests.servers.postgres import Server

GOOD = [{"id": 1, "v": "good"}]


def _files(**entry: Any) -> dict[str, Any]:
    return {"f": {"type": "files", "path": ".", "tables": [{"name": "t", **entry}]}}


def _parquet(console: Console) -> bytes:
    pq.write_table(pa.table({"id": [1], "v": ["good"]}), console.folder / "x.parquet")
    return (console.folder / "x.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "good", "bad", "said"),
    [
        ("t.csv", "id,v\n1,good\n", "id,v\n1,a\n2,b,c\n", "t.csv:3"),
        ("t.csv", "id,v\n1,good\n", 'id,v\n1,"open\n', "t.csv"),
        ("t.jsonl", '{"id": 1, "v": "good"}\n', '{"id": 1, "v": "a"}\n{"id": 2, "v": \n', "t.jsonl:2"),
        ("t.json", '[{"id": 1, "v": "good"}]', '[{"id": 1, "v": "a"}, ', "t.json"),
        ("t.csv.gz", None, b"\x1f\x8b\x08 not gzip at all", "t.csv.gz"),
    ],
)
def test_a_broken_file_stops_its_load(
    console: Console, name: str, good: str | None, bad: str | bytes, said: str
) -> None:
    console.project(_files(path=name))
    if good is not None:
        console.write(name, good)
        assert console.asgard("run").code == 0
        assert console.rows("bronze.f.t") == GOOD
    console.write(name, bad)
    run = console.asgard("run")
    assert run.code == 4, run
    assert said in run.err.replace("\n", "")
    assert "hint" in run.err
    if good is not None:
        assert console.rows("bronze.f.t") == GOOD


@pytest.mark.parametrize("left", [0.3, 0.7, 0.95])
def test_a_truncated_parquet_file_stops_its_load(console: Console, left: float) -> None:
    console.project(_files(path="t.parquet"))
    whole = _parquet(console)
    console.write("t.parquet", whole)
    assert console.asgard("run").code == 0
    console.write("t.parquet", whole[: int(len(whole) * left)])
    run = console.asgard("run")
    assert (run.code, "t.parquet" in run.err) == (4, True), run
    assert console.rows("bronze.f.t") == GOOD


def test_a_missing_file_and_a_missing_table_are_mistakes_of_the_project(console: Console) -> None:
    console.project(_files(path="nothing.csv"))
    run = console.asgard("run")
    assert (run.code, "nothing.csv" in run.err) == (2, True), run
    sqlite3.connect(console.folder / "s.db").execute("CREATE TABLE orders (id INTEGER)").connection.close()
    console.project({"s": {"type": "sqlite", "database": "s.db", "tables": [{"name": "order"}]}})
    run = console.asgard("run")
    assert (run.code, "orders" in run.err) == (2, True), run


def test_every_mistake_of_the_project_is_told_at_once_with_its_place(console: Console) -> None:
    console.write(
        "asgard.yml",
        "version: 1\ndata_sources:\n  shop:\n    type: postgress\n  other:\n    type: sqlite\n"
        "    databse: x.db\n    tables:\n      - name: t\n        checks: [{not_nul: id}]\n",
    )
    said = console.asgard("config", "validate")
    assert said.code == 2
    for place in ("asgard.yml:4:", "asgard.yml:7:", "asgard.yml:10:"):
        assert place in said.err, said.err
    assert "did you mean" in said.err


def test_a_wrong_password_is_refused_and_never_shown(console: Console, pg16: Server) -> None:
    secret = "canary-5f2a-secret"
    connection = {"host": pg16.host, "port": pg16.port, "database": "postgres", "username": pg16.user,
                  "password": secret, "ssl_mode": "disable"}  # fmt: skip
    console.project({"shop": {"type": "postgres", "connection": connection, "tables": [{"name": "t"}]}})
    for command in (["run"], ["check"], ["run", "--json"], ["check", "--json"], ["discover", "shop"]):
        said = console.asgard(*command)
        assert said.code == 3, said
        assert secret not in said.out + said.err
    kept = [path.read_bytes() for path in console.folder.rglob("*") if path.is_file()]
    told = [content for content in kept if secret.encode() in content]
    assert len(told) == 1, "only asgard.yml itself may hold it"


def _recreate(server: Server, database: str) -> None:
    server.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text, c int)", database)


def _narrow(server: Server, database: str) -> None:
    server.execute("ALTER TABLE t DROP COLUMN v", database)


def _retype(server: Server, database: str) -> None:
    server.execute("ALTER TABLE t ALTER COLUMN v TYPE int USING 1", database)


@pytest.mark.parametrize(("change", "said"), [(_recreate, "resync"), (_narrow, "v"), (_retype, "v")])
def test_a_table_that_is_another_one_stops_its_load(
    console: Console, pg16: Server, pg_database: str, change: Callable[[Server, str], None], said: str
) -> None:
    pg16.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text, c int); INSERT INTO t VALUES (1, 'good', 1)", pg_database
    )
    connection = {"host": pg16.host, "port": pg16.port, "database": pg_database, "username": pg16.user,
                  "password": pg16.password, "ssl_mode": "disable"}  # fmt: skip
    table = {"name": "t", "mode": "merge", "cursor": "c"}
    console.project({"shop": {"type": "postgres", "connection": connection, "tables": [table]}})
    assert console.asgard("run").code == 0
    change(pg16, pg_database)
    run = console.asgard("run")
    assert (run.code, said in run.err) == (4, True), run
    assert console.rows("bronze.shop.t") == [{"id": 1, "v": "good", "c": 1}]


def test_a_full_disk_publishes_nothing_and_says_so(console: Console) -> None:
    console.project(_files(path="t.csv"))
    console.write("t.csv", "id,v\n1,good\n")
    assert console.asgard("run").code == 0
    noise = "".join(f"{n},{os.urandom(400).hex()}\n" for n in range(4000))
    console.write("t.csv", "id,v\n" + noise)
    # The kernel refuses to let a file grow beyond a megabyte: the writer sees what it sees on a full disk.
    program = "import sys; sys.argv = ['asgard', 'run']; from asgard.cli.main import main; main()"
    limited = subprocess.run(
        [sys.executable, "-c", program],
        cwd=console.folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert limited.returncode == 5, limited
    assert "space" in limited.stderr
    assert console.rows("bronze.f.t") == GOOD
    left = [path for path in (console.folder / "data").rglob("*.parquet") if path.stat().st_size > 100_000]
    assert left == []


def test_a_folder_that_cannot_be_written_is_refused(console: Console) -> None:
    console.write("t.csv", "id,v\n1,good\n")
    console.write("occupied", "a file where the lake should be")
    console.project(_files(path="t.csv"), lake={"location": "occupied/lake"})
    run = console.asgard("run")
    assert run.code in (2, 3), run
    assert "occupied" in run.err


def test_a_check_that_stops_leaves_the_last_good_version(console: Console) -> None:
    console.project(_files(path="t.csv", checks=[{"not_null": "v"}, {"row_count": {"min": 1}}]))
    console.write("t.csv", "id,v\n1,good\n")
    assert console.asgard("run").code == 0
    console.write("t.csv", "id,v\n2,\n")
    run = console.asgard("run")
    assert run.code == 4
    assert "1 of 1 row has no v" in run.err
    assert console.rows("bronze.f.t") == GOOD
    (newest, *_) = console.asgard("runs", "--json").json
    assert newest["status"] == "failed"


def test_what_is_no_command_and_no_project_is_told(console: Console, tmp_path: Path) -> None:
    assert console.asgard("frobnicate").code == 2
    said = console.asgard("run")
    assert said.code == 2
    assert "asgard init" in said.err
