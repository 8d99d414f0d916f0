"""Spark behind Spark Connect: a server of its own process, and no Java in ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pyspark
import pytest

from asgard.core.errors import AsgardError, Cancelled, DataError, QueryError, Unreachable
from asgard.core.table import Mount
from asgard.engines.spark import SparkEngine, SparkPlace
from tests.engines.test_spark import EVERY_TYPE
from tests.servers.spark import HOST, submit_settings

SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
START_SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkPlace]:
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    own = {"spark.connect.grpc.binding.port": port, "spark.connect.grpc.binding.address": HOST}
    conf = [part for key, value in own.items() for part in ("--conf", f"{key}={value}")]
    log = tmp_path_factory.mktemp("connect") / "log"
    submit = str(Path(pyspark.__file__).parent / "bin" / "spark-submit")
    command = ["setpriv", "--pdeathsig", "KILL", submit, *submit_settings(), *conf, "--class", SERVER]
    with log.open("w") as out:
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
        server = subprocess.Popen([*command, "spark-internal"], start_new_session=True, **streams)
    try:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and server.poll() is None:
            with suppress(OSError), socket.create_connection((HOST, port), 1):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"Spark Connect did not start:\n{log.read_text()[-3000:]}")
        yield SparkPlace(connect=f"sc://{HOST}:{port}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_query_runs_behind_connect_with_every_type_and_clear_errors(
    place: SparkPlace, tmp_path: Path
) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(EVERY_TYPE, file)
    with SparkEngine(place) as engine:
        engine.attach("bronze.shop.t", Mount(EVERY_TYPE.schema, (str(file),)))
        with engine.query("SELECT * FROM `bronze.shop.t`") as reader:
            assert repr(reader.read_all().to_pylist()) == repr(EVERY_TYPE.to_pylist())
        with engine.query("SELECT id FROM range(30000) ORDER BY id DESC") as reader:
            assert reader.read_all()["id"].to_pylist() == list(range(29_999, -1, -1))
        wrong: list[tuple[str, type[AsgardError], str]] = [
            ("SELECT * FROM nowhere", QueryError, "there is no table nowhere"),
            ("SELECT wrong FROM `bronze.shop.t`", QueryError, "wrong"),
            ("DROP VIEW `bronze.shop.t`", QueryError, "DROP"),
            ("SELECT 1 / (id - 1) AS x FROM range(3)", DataError, "Division by zero"),
        ]
        for sql, kind, said in wrong:
            with pytest.raises(kind, match=said), engine.query(sql) as reader:
                reader.read_all()
        stopper = threading.Timer(2, engine.interrupt)
        stopper.start()
        endless = "SELECT a.id FROM range(1e12) a, range(1e9) b WHERE a.id + b.id < 0"
        with pytest.raises(Cancelled), engine.query(endless) as reader:
            reader.read_all()
        stopper.join()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    nobody = SparkEngine(SparkPlace(connect=f"sc://{HOST}:1/;token=canary-c0nnect"))
    with nobody as engine, pytest.raises(Unreachable, match=f"does not answer at {HOST}:1") as failed:
        engine.query("SELECT 1 AS a")
    assert "canary" not in str(failed.value)
