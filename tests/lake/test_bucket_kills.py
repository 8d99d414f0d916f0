"""Promise 1 in a bucket: SIGKILL at the boundaries of a load, and processes that race for one table.

Every boundary and the races are on MinIO, whose conditional put is one step of the store (cluster tests); a
few kills are on moto each time. A killed process is started again until it comes to its end.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.core.stream import Mode
from asgard.engines.duckdb import DuckDBEngine
from asgard.lake.boundaries import BOUNDARIES
from asgard.testing.content import content_hash
from tests.lake.far import PLACE, far_table, keys, unknown_keys
from tests.lake.ground import content, load, rows, token, values
from tests.lake.scenarios import LOADS, SCENARIOS
from tests.nursery import Nursery
from tests.servers.object_stores import new_bucket, shared_store

RACE = """
import json, sys
from asgard.core.errors import Conflict
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from tests.lake.far import far_table
from tests.lake.ground import SCHEMA, STREAM, load, rows, token
config, own, loads = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
table = far_table(config)
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
            done = int(one.position.token or 0) if one.position else 0
            if done >= loads:
                break
            one.publish(one.prepare([one.stage([rows([(done, own)])])]), Position(str(done + 1)))
    except Conflict:
        continue
for number in range(3):
    load(table, Mode.MERGE, rows([(1000 + number, own)]), str(number), stream=own, keys=("id", "v"))
"""
QUICK = [
    *(("merge-set-aside", place) for place in ("before_commit:2", "committed:2", "record_written:1")),
    *(("merge-marked", place) for place in ("prepared:2", "committed:2")),
]
EVERY = [
    *(("merge-set-aside", f"{name}:1") for name in BOUNDARIES),
    *(("append-evolving", place) for place in ("evolved:1", "committed:2", "staged:3")),
    *(("merge-marked", place) for place in ("evolved:1", "before_commit:2", "log_synced:2")),
    *(("append-undone", place) for place in ("epoch_written:1", "restored:1", "committed:2")),
]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.lake.nursery")
    yield nursery
    nursery.close()


def check(scenario: str, config: dict[str, Any]) -> None:
    table, wanted = far_table(config), SCENARIOS[scenario]
    assert token(table) == str(LOADS)
    assert content_hash(table.scan(["id", "v"])) == content_hash(rows(wanted.expected()))
    aside = sorted(pair for number in wanted.loads() for pair in wanted.aside(number))
    found = table.quarantined()
    with DuckDBEngine(256 << 20) as engine:
        if found is not None:
            engine.attach("q", found)
            assert values(engine.query("SELECT id, v FROM q").read_all()) == aside
    assert aside == [] or found is not None
    load(table, Mode.APPEND, rows([]), "swept", stream="sweeper", allow_missing=True)
    assert unknown_keys(config) == set()
    assert keys(config, f"{PLACE}/_asgard/loads") == []


def killed(nursery: Nursery, config: dict[str, Any], scenario: str, place: str) -> None:
    status = nursery.run(scenario=scenario, bucket=config, kill_at=place)
    assert status in (0, -signal.SIGKILL)
    if status:
        assert nursery.run(scenario=scenario, bucket=config) == 0
    check(scenario, config)


@pytest.mark.parametrize(("scenario", "place"), QUICK)
def test_a_kill_loses_nothing_and_repeats_nothing(nursery: Nursery, scenario: str, place: str) -> None:
    server = shared_store("moto")
    killed(nursery, server.s3_config(new_bucket(server)), scenario, place)


@pytest.mark.cluster
@pytest.mark.parametrize(("scenario", "place"), EVERY)
def test_a_kill_at_any_boundary(nursery: Nursery, scenario: str, place: str) -> None:
    server = shared_store("minio")
    killed(nursery, server.s3_config(new_bucket(server)), scenario, place)


@pytest.mark.parametrize(
    ("kind", "writers", "loads"),
    [("moto", 2, 6), pytest.param("minio", 4, 40, marks=pytest.mark.cluster)],
)
def test_processes_that_race_for_one_stream(kind: str, writers: int, loads: int) -> None:
    """Each goes on from the position that it finds, and drops its rows when another was faster: every step is
    there once. Then each merges rows of a stream of its own into the same table."""
    server = shared_store(kind)
    config = server.s3_config(new_bucket(server))
    command = [sys.executable, "-c", RACE, json.dumps(config)]
    racing = [
        subprocess.Popen(
            [*command, f"w{number}", str(loads)],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(writers)
    ]  # fmt: skip
    for process in racing:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in racing:
        process.communicate(timeout=600)
    assert [process.returncode for process in racing] == [0] * writers
    found = content(far_table(config))
    assert sorted(row[0] for row in found if row[0] < 1000) == list(range(loads))
    own = [(1000 + number, f"w{writer}") for number in range(3) for writer in range(writers)]
    assert sorted(row for row in found if row[0] >= 1000) == sorted(own)
    assert unknown_keys(config) == set()
