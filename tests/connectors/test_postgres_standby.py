"""A copy of a server: read as it replays, taken for what it is when it is promoted or falls behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from asgard.core.errors import PositionLost, Unreachable
from asgard.core.stream import Mode
from tests.connectors.postgres_reading import load, options, select, source_of
from tests.servers.postgres import Server, postgres_server


@pytest.fixture
def primary() -> Iterator[Server]:
    with postgres_server("16") as server:
        server.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at)")
        server.execute("INSERT INTO t SELECT i, now() FROM generate_series(1, 3) i")
        yield server


@pytest.fixture
def standby(primary: Server) -> Iterator[Server]:
    """A physical copy that follows the primary."""
    process = psutil.Process(primary.pid)
    binaries, account = Path(process.exe()).parent, process.uids().real
    who: dict[str, Any] = {"user": account} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="asgard-standby-", dir="/tmp"))
    shutil.chown(folder, account)
    with socket.socket() as free:
        free.bind((primary.host, 0))
        port = free.getsockname()[1]
    copy = [
        binaries / "pg_basebackup",
        "-D",
        folder / "data",
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
        "-d",
        primary.dsn(),
    ]
    subprocess.run(copy, check=True, cwd=folder, capture_output=True, **who)
    start = [binaries / "postgres", "-D", folder / "data", "-p", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(start, cwd=folder, stdout=log, stderr=log, **who)
    made = replace(primary, port=port, pid=server.pid, folder=str(folder))
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                made.execute("SELECT 1")
                break
            except Exception:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield made
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def caught_up(primary: Server, standby: Server) -> None:
    [(there,)] = primary.execute("SELECT pg_current_wal_lsn()::text")
    deadline = time.monotonic() + 30
    while not standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{there}'")[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_standby_is_read_like_its_primary_and_is_another_server_once_promoted(
    primary: Server, standby: Server
) -> None:
    caught_up(primary, standby)
    with source_of(standby) as source, source_of(primary) as ahead:
        keyed = select(source, "t", mode=Mode.MERGE, cursor="at")
        keyless = select(source, "t", mode=Mode.APPEND, cursor="at")
        first, once = load(source, keyed), load(source, keyless)
        assert first.column("id") == once.column("id") == [1, 2, 3]
        with primary.connect() as late:
            late.execute("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (4, '1999-01-01')")
            primary.execute("INSERT INTO t VALUES (5, now())")
            caught_up(primary, standby)
            first = load(source, keyed, first.position)
            assert first.column("id") == [5]
            once = load(source, keyless, once.position)
            late.execute("COMMIT")
        caught_up(primary, standby)
        assert load(source, keyed, first.position).column("id") == [4, 5]
        assert sorted(once.column("id") + load(source, keyless, once.position).column("id")) == [4, 5]

        # What the primary has seen the standby has not yet.
        standby.execute("SELECT pg_wal_replay_pause()")
        for number in range(6, 9):
            primary.execute(f"INSERT INTO t VALUES ({number}, now())")
        newest = load(ahead, keyed)
        with pytest.raises(Unreachable, match="behind"):
            load(source, keyed, newest.position)
        standby.execute("SELECT pg_wal_replay_resume()")
        caught_up(primary, standby)
        primary.execute("INSERT INTO t VALUES (9, '1999-01-01')")
        caught_up(primary, standby)
        assert load(source, keyed, newest.position).column("id") == [9]

        standby.execute("SELECT pg_promote()")
        standby.execute("CHECKPOINT; INSERT INTO t VALUES (10, now() + interval '1 day')")
        with pytest.raises(PositionLost, match="promoted") as caught:
            load(source, keyed, newest.position)
        assert "late_commit_guard: lag" in caught.value.hint
        by_lag = select(source, "t", mode=Mode.MERGE, cursor="at", options=options(late_commit_guard="lag"))
        assert 10 in load(source, by_lag, newest.position).column("id")
