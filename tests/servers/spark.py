"""A real Spark for tests: local, bound to loopback, small, with Delta Lake; one session for a test process.

Spark itself comes with the wheel `pyspark`, Delta's jars from Maven Central by `mvn` into .tools/servers.
The JVM ends when its standard input does: with the process that started it, however that ends. A Spark that
cannot start is a failure, never a skip.

In tests ask for the fixture `spark`; for a process of its own (`spark-submit`, `python job.py`) give
`submit_settings()` to it, or let it inherit `environment()`.

Reference: https://spark.apache.org/docs/latest/configuration.html, https://docs.delta.io/latest/quick-start.html
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.servers.postgres import ServerFailed

HOST = "127.0.0.1"
DELTA = "4.4.0"
SPARK = "4.1"
HOME = Path(__file__).resolve().parents[2] / ".tools" / "servers" / f"delta-spark-{SPARK}-{DELTA}"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>asgard</groupId><artifactId>delta</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>io.delta</groupId><artifactId>delta-spark_{SPARK}_2.13</artifactId>
<version>{DELTA}</version></dependency>
</dependencies></project>
"""
GROUPS = "io.delta,io.unitycatalog"
"""What is copied: Spark, Hadoop and all that they bring lie in the wheel already."""

JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss4m"


def settings() -> dict[str, str]:
    """The settings of a session, apart from its master; installs Delta's jars where they are missing."""
    return {
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.driver.memory": "1g",
        "spark.driver.extraClassPath": f"{delta_jars()}/*",
        "spark.driver.extraJavaOptions": JAVA_OPTIONS,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # 10,000 tasks of a VACUUM else
        "spark.sql.warehouse.dir": str(_scratch() / "warehouse"),
        "spark.local.dir": str(_scratch()),
        "spark.log.level": "ERROR",
    }


def submit_settings() -> list[str]:
    """The same as options of `spark-submit`: `--master local[2] --conf key=value ...`."""
    options = [part for key, value in settings().items() for part in ("--conf", f"{key}={value}")]
    return ["--master", "local[2]", *options]


def environment() -> dict[str, str]:
    """The variables of a process that starts a Spark of its own with these settings."""
    quoted = " ".join(f'"{option}"' for option in submit_settings())
    return {**os.environ, "PYSPARK_SUBMIT_ARGS": f"{quoted} pyspark-shell", "SPARK_LOCAL_IP": HOST}


@cache
def spark_session() -> Any:
    """The session of this process (`pyspark.sql.SparkSession`): two threads; tasks are tried twice."""
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = HOST
    os.environ["PYSPARK_PYTHON"] = sys.executable  # its Python workers have the packages that this one has
    builder = SparkSession.builder.master("local[2, 2]").appName("asgard-tests")
    for key, value in settings().items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    atexit.register(_stop, session)
    return session


@contextmanager
def sockets_closed() -> Iterator[None]:
    """Closes what pyspark leaves to the garbage collector: the socket of each `collect` of this block."""
    import pyspark.util

    connect, opened = pyspark.util.local_connect_and_auth, []

    def remembered(*arguments: Any) -> Any:
        opened.append(connect(*arguments))
        return opened[-1]

    pyspark.util.local_connect_and_auth = remembered
    try:
        yield
    finally:
        pyspark.util.local_connect_and_auth = connect
        for file, connection in opened:
            with suppress(OSError):
                file.close()
            connection.close()


def delta_jars() -> Path:
    """The folder of Delta's jars; they are fetched by whoever comes first."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise ServerFailed(f"Spark needs {tool}: apt-get install openjdk-17-jre-headless maven")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HOME / "jars").exists():
            (HOME / "pom.xml").write_text(POM)
            get = ("mvn", "-q", "-B", "dependency:copy-dependencies", f"-DincludeGroupIds={GROUPS}")
            command = [*get, f"-DoutputDirectory={HOME / 'draft'}"]
            done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerFailed(f"mvn ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            (HOME / "draft").rename(HOME / "jars")
    return HOME / "jars"


def _stop(session: Any) -> None:
    gateway = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # what its JVM waits for
    gateway.proc.wait(60)


@cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="asgard-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
