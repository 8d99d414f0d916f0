"""A real Spark with Iceberg for tests: local, bound to loopback, in a process of its own that is told SQL.

It is another process than the tests' Spark with Delta Lake, because a JVM's class path is fixed when it
starts. The jars come from Maven Central by `mvn` into .tools/servers, once. It ends when its standard input
does: with the process that started it, however that ends. A Spark that cannot start is a failure, never a
skip.

    spark = iceberg_spark()
    session = spark.session(jdbc_catalog(lake_folder))
    session.sql("DELETE FROM asgard.bronze.shop.orders WHERE id = 1")
    session.rows("SELECT * FROM asgard.bronze.shop.orders")  # a pyarrow.Table

Reference: https://iceberg.apache.org/docs/latest/spark-configuration/
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from tests.servers.postgres import ServerFailed

HOST = "127.0.0.1"
SPARK = "4.1"
ICEBERG = "1.12.0"
REPOSITORY = Path(__file__).resolve().parents[2]
HOME = REPOSITORY / ".tools" / "servers" / f"iceberg-spark-{SPARK}-{ICEBERG}"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>asgard</groupId><artifactId>iceberg</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.iceberg</groupId><artifactId>iceberg-spark-runtime-{SPARK}_2.13</artifactId>
<version>{ICEBERG}</version></dependency>
<dependency><groupId>org.xerial</groupId><artifactId>sqlite-jdbc</artifactId>
<version>3.50.3.0</version></dependency>
</dependencies></project>
"""
CATALOG = "asgard"


class SparkSaid(Exception):
    """What Spark did not do, in its first line."""


def jdbc_catalog(lake: Path) -> dict[str, str]:
    """The settings of the catalog `asgard`: the file in a lake's folder."""
    return _catalog(type="jdbc", uri=f"jdbc:sqlite:{lake / 'catalog.db'}", warehouse=f"file://{lake}")


def rest_catalog(properties: Mapping[str, str]) -> dict[str, str]:
    """The same of a REST server, from what pyiceberg is told of it."""
    return _catalog(**{**properties, "io-impl": "org.apache.iceberg.hadoop.HadoopFileIO"})


def _catalog(**settings: str) -> dict[str, str]:
    of = f"spark.sql.catalog.{CATALOG}"
    told = {f"{of}.{key}": value for key, value in settings.items()}
    more = {f"{of}.cache-enabled": "false", f"{of}.jdbc.schema-version": "V1"}
    return {of: "org.apache.iceberg.spark.SparkCatalog", **told, **more}


class IcebergSpark:
    """The process, which has one JVM."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="asgard-iceberg-spark-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.iceberg_spark", str(jars()), str(self._folder)],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "SPARK_LOCAL_IP": HOST},
            )
        atexit.register(self._end)
        self._answer()  # it is up

    def session(self, settings: Mapping[str, str]) -> IcebergSession:
        """A session with catalogs of its own."""
        name = uuid4().hex
        self.ask({"session": name, "settings": dict(settings)})
        return IcebergSession(self, name)

    def ask(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """One order, and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ServerFailed(f"Spark ended:\n{(self._folder / 'log').read_text()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SparkSaid(answer["error"])
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class IcebergSession:
    """A session of that Spark."""

    def __init__(self, spark: IcebergSpark, name: str) -> None:
        self._spark = spark
        self._name = name

    def sql(self, *statements: str) -> None:
        """Runs statements, one after the other."""
        for statement in statements:
            self._spark.ask({"session": self._name, "sql": statement})

    def rows(self, query: str) -> pa.Table:
        """The rows of a query, in the types that Spark has for them."""
        answer = self._spark.ask({"session": self._name, "rows": query})
        with pa.ipc.open_file(answer["file"]) as file:
            rows = file.read_all()
        Path(answer["file"]).unlink()
        return rows


@cache
def iceberg_spark() -> IcebergSpark:
    """The Spark of this process; started once, which takes ten seconds."""
    return IcebergSpark()


def jars() -> Path:
    """The folder of the jars; they are fetched by whoever comes first."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise ServerFailed(f"Spark needs {tool}: apt-get install openjdk-17-jre-headless maven")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HOME / "jars").exists():
            (HOME / "pom.xml").write_text(POM)
            command = [
                "mvn",
                "-q",
                "-B",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={HOME / 'draft'}",
            ]
            done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerFailed(f"mvn ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            (HOME / "draft").rename(HOME / "jars")
    return HOME / "jars"


# ---- in the process itself


def _serve(class_path: str, folder: Path) -> None:
    from pyspark.sql import SparkSession

    answers = os.fdopen(os.dup(1), "w")  # what the JVM prints is not to come in between
    os.dup2(2, 1)
    builder = SparkSession.builder.master("local[2]").appName("asgard-iceberg-tests")
    for key, value in _settings(class_path, folder).items():
        builder = builder.config(key, value)
    root = builder.getOrCreate()
    sessions: dict[str, Any] = {}
    print(json.dumps({}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = _done(json.loads(line), root, sessions, folder)
        except Exception as error:  # whatever it is, the tests are to see it
            answer = {"error": str(error).strip().splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)
    root.stop()


def _done(said: dict[str, Any], root: Any, sessions: dict[str, Any], folder: Path) -> dict[str, Any]:
    if "settings" in said:
        session = root.newSession()
        for key, value in said["settings"].items():
            session.conf.set(key, value)
        sessions[said["session"]] = session
        return {}
    session = sessions[said["session"]]
    if "sql" in said:
        session.sql(said["sql"]).collect()
        return {}
    rows = session.sql(said["rows"]).toArrow()
    file = folder / f"{uuid4().hex}.arrow"
    with pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)
    return {"file": str(file)}


def _settings(class_path: str, folder: Path) -> dict[str, str]:
    return {
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.driver.memory": "1g",
        "spark.driver.extraClassPath": f"{class_path}/*",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss4m",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
        "spark.log.level": "ERROR",
    }


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
