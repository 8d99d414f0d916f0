"""Tables that a wildcard finds and that are small are loaded several at a time: what arrives is the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.app.sources.streams import OpenSources, ingest_steps
from asgard.app.tables.rows import json_rows
from asgard.core.cancel import Cancel
from asgard.core.events import Event, Kind
from tests.servers.postgres import Server

TABLES = 12
ROWS = 40
RUN = "from asgard.cli.main import main; import sys; sys.argv = ['asgard', 'run', '--json']; main()"


class Shop:
    """A database of small tables, and a project that loads all of them."""

    def __init__(self, server: Server, database: str, folder: Path) -> None:
        self.server, self.database, self.folder = server, database, folder
        self.execute(
            *(
                f"CREATE TABLE t{i} AS SELECT g AS id, 't{i} ' || g AS name "
                f"FROM generate_series(1, {ROWS}) g; ALTER TABLE t{i} ADD PRIMARY KEY (id)"
                for i in range(TABLES)
            ),
            "ANALYZE",
        )

    def execute(self, *statements: str) -> None:
        with self.server.connect(self.database) as connection:
            for statement in statements:
                connection.execute(statement)

    def project(self, *tables: dict[str, Any]) -> None:
        server = self.server
        source = {
            "type": "postgres", "host": server.host, "port": server.port, "database": self.database,
            "username": server.user, "password": server.password.replace("$", "$$"),
            "ssl_mode": "disable", "tables": list(tables),
        }  # fmt: skip
        document = {"version": 1, "parallel": 2, "memory": "1GB", "data_sources": {"shop": source}}
        (self.folder / "asgard.yml").write_text(json.dumps(document))

    def run(self, told: list[Event] | None = None) -> Summary:
        workspace = Workspace.open(self.folder / "asgard.yml")
        return run(workspace, RunWish(), (told if told is not None else []).append)

    def rows(self, table: str) -> Counter[tuple[int, str]]:
        workspace = Workspace.open(self.folder / "asgard.yml")
        with workspace.open_engine(64 << 20) as engine:
            engine.attach("t", workspace.table(f"bronze.shop.{table}").mount())
            found = json_rows(engine.query("SELECT id, name FROM t"))
        return Counter((row["id"], row["name"]) for row in found)


@pytest.fixture
def shop(pg16: Server, pg_database: str, tmp_path: Path) -> Shop:
    return Shop(pg16, pg_database, tmp_path)


def expected(table: str, rows: int = ROWS) -> Counter[tuple[int, str]]:
    return Counter((number, f"{table} {number}") for number in range(1, rows + 1))


def test_all_arrive_whole_and_some_at_the_same_time(shop: Shop) -> None:
    shop.project({"name": "public.t*", "mode": "append", "cursor": "id", "checks": [{"not_null": "id"}]})
    first = shop.run()
    assert [one.step for one in first.outcomes] == sorted(one.step for one in first.outcomes)
    assert [one.rows_read for one in first.outcomes] == [ROWS] * TABLES
    more = [f"INSERT INTO t{i} VALUES ({ROWS + 1}, 't{i} {ROWS + 1}')" for i in range(0, TABLES, 2)]
    shop.execute(*more, "ANALYZE")
    assert shop.run().status == "done"
    for i in range(TABLES):
        assert shop.rows(f"t{i}") == expected(f"t{i}", ROWS + 1 if i % 2 == 0 else ROWS)


def test_which_are_loaded_beside_others(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 20) AS name "
        "FROM generate_series(1, 20000) g",
        "CREATE VIEW tview AS SELECT * FROM t0",
        "ANALYZE",
    )
    shop.project(
        {"name": "public.t*", "mode": "replace", "exclude": ["t1"]},
        {"name": "public.t1", "mode": "replace"},
        {"name": "public.l*", "mode": "replace"},
    )
    workspace = Workspace.open(shop.folder / "asgard.yml")
    with OpenSources(workspace, Cancel()) as sources:
        steps, _ = ingest_steps(sources, [])
    # One by name, whose size nobody knows yet; one that is large; and a view, which has no size.
    alone = {"bronze.shop.t1", "bronze.shop.large", "bronze.shop.tview"}
    assert {step.name for step in steps if not step.small} == alone
    assert len(steps) == TABLES + 2


def test_one_that_fails_leaves_the_others(shop: Shop) -> None:
    shop.execute("UPDATE t3 SET name = NULL WHERE id = 7")
    shop.project({"name": "public.t*", "mode": "replace", "checks": [{"not_null": "name"}]})
    summary = shop.run()
    statuses = {one.step: str(one.status) for one in summary.outcomes}
    assert statuses.pop("bronze.shop.t3") == "failed"
    assert set(statuses.values()) == {"done"}
    assert shop.rows("t4") == expected("t4")


def test_a_check_that_looks_at_another_table_finds_it_loaded(shop: Shop) -> None:
    shop.execute("ALTER TABLE t9 RENAME TO z9", "ANALYZE")
    refers = {"referential": {"column": "id", "to": "bronze.shop.t1"}}
    shop.project(
        {"name": "public.t*", "mode": "replace"}, {"name": "public.z*", "mode": "replace", "checks": [refers]}
    )
    told: list[Event] = []
    assert shop.run(told).status == "done"
    steps = [(event.kind, event.step) for event in told]
    began = steps.index((Kind.STEP_STARTED, "bronze.shop.z9"))
    assert steps.index((Kind.STEP_FINISHED, "bronze.shop.t1")) < began


def test_a_run_that_is_killed_in_the_middle_repeats_nothing(shop: Shop) -> None:
    shop.project({"name": "public.t*", "mode": "append", "cursor": "id"})
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, cwd=shop.folder, stdout=subprocess.PIPE, text=True) as process:
        watch = threading.Timer(300, process.kill)
        watch.start()
        assert process.stdout is not None
        ended = 0
        for line in process.stdout:
            ended += json.loads(line)["event"] == Kind.STEP_FINISHED
            if ended == 2:
                process.send_signal(signal.SIGKILL)
                break
        watch.cancel()
    assert ended == 2
    assert shop.run().status == "done"
    assert shop.run().status == "done"
    for i in range(TABLES):
        assert shop.rows(f"t{i}") == expected(f"t{i}")
