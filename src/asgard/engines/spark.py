"""Spark as an engine: SELECT over attached mounts, on this machine, on a master, or through Spark Connect.

It knows how mounts become views of a session, which settings make SQL mean the same on every Spark, and how
Spark's types, rows and errors become ours. The SQL is Spark's; who has another dialect translates it before
(`transform.dialect`). What tables are and where their files lie is the lake's matter: a mount is a list of
Parquet files, so Spark reads exactly the rows of a pinned version, and needs no jars of the lake's format.

A table is a view of its whole name, dots and all: `bronze.shop.orders` is written as one quoted name.

Reference: https://spark.apache.org/docs/latest/sql-ref-ansi-compliance.html,
https://spark.apache.org/docs/latest/spark-connect-overview.html
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as t

from asgard.core import errors
from asgard.core.errors import AsgardError, Bug, Cancelled, ConfigError, DataError, QueryError, Unreachable
from asgard.core.table import Mount, TableName
from asgard.engines.spark_job import SETTINGS, Failed, as_query, explained

BATCH_ROWS = 8192
CONNECT_PORT = 15002
CONNECT_SECONDS = 10
PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""Names of files that read the same in a path and in a URL."""
NEXT = (1).to_bytes(4, "big")
"""Asks the JVM for another partition."""
LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.log.level": "ERROR",
}
"""What a Spark on this machine has, unless the project says otherwise: nobody else reaches it."""

OWN = {
    **SETTINGS,
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    # Parquet's figures leave NaN out, and Spark takes them for the whole truth; see `_shielded`.
    "spark.sql.optimizer.nestedPredicatePushdown.supportedFileSources": "",
}

TYPES = {
    **{"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INT", "int64": "BIGINT"},
    **{"float": "FLOAT", "double": "DOUBLE", "date32[day]": "DATE", "null": "VOID"},
    **{"string": "STRING", "large_string": "STRING", "binary": "BINARY", "large_binary": "BINARY"},
}
"""The Arrow types without parameters that tables have."""


@dataclass(frozen=True)
class SparkPlace:
    """Which Spark runs the queries.

    Attributes:
        master: `local[*]`, `spark://host:7077`, `k8s://...`, `yarn`.
        connect: `sc://host:15002` of Spark Connect; goes before the master.
        conf: settings of the session, over ours.
    """

    master: str = "local[*]"
    connect: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether Spark runs on this machine, and so sees its files."""
        return not self.connect and self.master.startswith("local")


class SparkEngine:
    """Runs SELECT statements over attached mounts on Spark.

    There is one Spark in a process and as many sessions in it as engines: names and settings of one are not
    seen by another. Rows come a partition at a time, in the order of the statement; a partition of the result
    must fit into the driver (Promise 5 is kept by partitions, not by bytes).

    Args:
        place: which Spark.
        spill_folder: where tables that plain files do not tell whole are written to be read; the system's
            temporary folder by default.
    """

    dialect = "spark"

    def __init__(self, place: SparkPlace | None = None, spill_folder: str | Path | None = None) -> None:
        self._place = place or SparkPlace()
        self._spill_folder = spill_folder
        self._spilled: Path | None = None
        self._mounts: dict[tuple[str, ...], _Attached] = {}
        self._session: Any = None
        self._tag = f"asgard-{uuid.uuid4().hex}"
        self._interrupted = threading.Event()

    def attach(self, name: TableName | str, mount: Mount) -> None:
        """Makes the mount readable under its whole name as one: `bronze.shop.orders` in quotes."""
        parts = (name,) if isinstance(name, str) else name.parts
        self._mounts[tuple(part.casefold() for part in parts)] = _Attached(".".join(parts), mount)
        if self._session is not None:
            with self._translated():
                self._register(self._mounts[tuple(part.casefold() for part in parts)])

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Runs one SELECT of Spark's SQL and streams its rows in small batches.

        Raises:
            QueryError: not exactly one SELECT, or it names what is not there.
            Refused: it reaches for a file, a program or a method of Java.
            DataError: a value cannot be cast or calculated, or the result has a type that no table carries.
                Comes while reading, too.
            ConfigError: Spark cannot be started as the project says.
            Unreachable: Spark Connect does not answer.
            Cancelled: `interrupt` was called. Comes while reading, too.
        """
        self._interrupted.clear()
        with self._translated():
            session = self._opened()
            frame = session.sql(as_query(sql))
            schema = _arrow_schema(frame.schema)
        return pa.RecordBatchReader.from_batches(schema, self._batches(frame, schema))

    def interrupt(self) -> None:
        """Breaks the running query off, from any thread; nothing when none runs."""
        session = self._session
        if session is not None:
            self._interrupted.set()
            with suppress(Exception):
                if self._place.connect:
                    session.interruptTag(self._tag)
                else:
                    session.sparkContext.cancelJobsWithTag(self._tag)

    def close(self) -> None:
        """Gives up the session; the process keeps its Spark for the next one."""
        session, self._session = self._session, None
        if session is not None and self._place.connect:
            with suppress(Exception):
                session.stop()
        elif session is not None:
            with suppress(Exception):
                for attached in self._mounts.values():
                    session.catalog.dropTempView(attached.view)
        if self._spilled is not None:
            shutil.rmtree(self._spilled, ignore_errors=True)
            self._spilled = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Any:
        if self._session is None:
            session = _connected(self._place) if self._place.connect else _started(self._place).newSession()
            for key, value in {**OWN, **_of_session(self._place.conf)}.items():
                session.conf.set(key, value)
            self._session = session
            for attached in self._mounts.values():
                self._register(attached)
        return self._session

    def _register(self, attached: _Attached) -> None:
        frame = attached.frame(self._session, self._files(attached))
        frame.createOrReplaceTempView(attached.view)

    def _files(self, attached: _Attached) -> tuple[str, ...]:
        mount = attached.mount
        if mount.reader is None or attached.marked:
            return tuple(_uri(file) for file in (*mount.files, *attached.marked))
        if not self._place.is_local:
            raise ConfigError(
                f"{attached.name} cannot be read by a Spark elsewhere: its files alone do not tell its rows",
                hint="rewrite the table (asgard resync), or build the model with engine: duckdb",
            )
        if self._spilled is None:
            if self._spill_folder is not None:
                Path(self._spill_folder).mkdir(parents=True, exist_ok=True)
            self._spilled = Path(tempfile.mkdtemp(prefix="spark-", dir=self._spill_folder))
        file = self._spilled / f"{uuid.uuid4().hex}.parquet"
        with mount.reader() as reader, pq.ParquetWriter(file, mount.schema) as writer:
            for batch in reader:
                writer.write_batch(batch.cast(mount.schema))
        return (_uri(str(file)),)

    def _batches(self, frame: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._translated():
            if self._place.connect:
                frame.sparkSession.addTag(self._tag)
                yield from _received(frame)
            else:
                yield from self._served(frame, schema)

    def _served(self, frame: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows from this process's JVM: Arrow's own bytes, a partition at a time."""
        context = frame.sparkSession.sparkContext
        context.addJobTag(self._tag)
        try:
            partitions = frame._jdf.toArrowBatchRdd()
            served = context._jvm.PythonRDD.toLocalIteratorAndServe(partitions, False)
        finally:
            context.removeJobTag(self._tag)
        for message in _messages(*served):
            yield pa.ipc.read_record_batch(pa.py_buffer(message), schema)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (AsgardError, GeneratorExit):
            raise
        except Exception as error:
            if self._interrupted.is_set():
                raise Cancelled("the query was broken off") from error
            raise _ours(explained(error), [attached.name for attached in self._mounts.values()]) from error


@dataclass(frozen=True)
class _Attached:
    """A mount under the name that it was given."""

    name: str
    mount: Mount

    @property
    def view(self) -> str:
        """The name as SQL writes it."""
        return _quoted(self.name)

    @property
    def marked(self) -> Mapping[str, pa.Int64Array]:
        """Rows that are gone, by file; empty where Spark cannot tell the files apart by their names."""
        names = {file.rpartition("/")[2] for file in self.mount.marked}
        plain = len(names) == len(self.mount.marked) and all(map(PLAIN_NAME.fullmatch, names))
        hidden = "_metadata" in map(str.lower, self.mount.schema.names)
        return self.mount.marked if plain and not hidden else {}

    def frame(self, session: Any, files: tuple[str, ...]) -> Any:
        """Its rows, in the table's columns and types, whatever a file has."""
        columns = ", ".join(f"{_quoted(f.name)} {spark_type(f.type)}" for f in self.mount.schema)
        if not files:
            values = ", ".join(
                f"CAST(NULL AS {spark_type(f.type)}) AS {_quoted(f.name)}" for f in self.mount.schema
            )
            return session.sql(f"SELECT {values} WHERE false")
        rows = session.read.schema(columns).parquet(*files)
        told = [_shielded(column) for column in self.mount.schema]
        if not self.marked:
            return rows.selectExpr(*told)
        place = ("_metadata.file_name AS _asgard_file", "_metadata.row_index AS _asgard_row")
        kept = rows.selectExpr(*told, *place).join(
            session.createDataFrame(_gone_rows(self.marked)), ["_asgard_file", "_asgard_row"], "left_anti"
        )
        return kept.drop("_asgard_file", "_asgard_row")


def spark_type(kind: pa.DataType) -> str:
    """Spark's name of an Arrow type that a table has.

    Raises:
        DataError: it has none.
    """
    if t.is_decimal(kind) and kind.precision <= 38 and kind.scale >= 0:
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if t.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "TIMESTAMP_NTZ"
    if t.is_map(kind):
        return f"MAP<{spark_type(kind.key_type)}, {spark_type(kind.item_type)}>"
    if t.is_struct(kind):
        return f"STRUCT<{', '.join(f'{_quoted(f.name)}: {spark_type(f.type)}' for f in kind)}>"
    if t.is_list(kind) or t.is_large_list(kind):
        return f"ARRAY<{spark_type(kind.value_type)}>"
    if str(kind) not in TYPES:
        raise DataError(f"Spark has no type for Arrow's {kind}", hint="cast the column to another type")
    return TYPES[str(kind)]


def _gone_rows(marked: Mapping[str, pa.Int64Array]) -> pa.Table:
    """Rows that are gone, by the names of their files."""
    schema = pa.schema([("_asgard_file", pa.string()), ("_asgard_row", pa.int64())])
    batches = [
        pa.RecordBatch.from_arrays([pa.repeat(file.rpartition("/")[2], len(rows)), rows], schema=schema)
        for file, rows in marked.items()
    ]
    return pa.Table.from_batches(batches, schema)


def _shielded(column: pa.Field) -> str:
    """The column, so that a comparison finds NaN: for an expression no file is skipped by its figures."""
    name = _quoted(column.name)
    return f"nanvl({name}, {name}) AS {name}" if t.is_floating(column.type) else name


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _uri(file: str) -> str:
    """A file as Spark is told it: every path is a pattern there, and S3 is called s3a."""
    scheme, separator, rest = file.partition("://")
    path = (
        f"{'s3a' if scheme == 's3' else scheme}://{rest}" if separator else f"file://{Path(file).absolute()}"
    )
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


# ---- sessions


def _started(place: SparkPlace) -> Any:
    """The Spark of this process; whoever comes first says where it runs."""
    _needs_java()
    session_class = _pyspark().sql.SparkSession
    running = session_class.getActiveSession() or session_class._instantiatedSession
    if running is not None and not running.sparkContext._jsc.sc().isStopped():
        return running
    builder = session_class.builder.master(place.master).appName("asgard")
    local = {**LOCAL, "spark.local.dir": tempfile.gettempdir()} if place.is_local else {}
    for key, value in {**local, **place.conf}.items():
        builder = builder.config(key, value)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1") if place.is_local else None
    try:
        session = builder.getOrCreate()
    except Exception as error:
        failed = explained(error)
        raise ConfigError(f"Spark at {place.master} cannot be started: {failed.what}") from error
    atexit.register(session.stop)
    return session


def _connected(place: SparkPlace) -> Any:
    _pyspark()
    try:
        from pyspark.sql.connect.session import SparkSession
    except ImportError as error:
        raise ConfigError(
            f"Spark Connect needs more packages: {error}", hint="pip install 'asgard-platform[spark]'"
        ) from error
    where = urlsplit(place.connect)
    try:  # Connect itself tries for minutes before it says that nobody is there
        socket.create_connection((where.hostname or "", where.port or CONNECT_PORT), CONNECT_SECONDS).close()
    except OSError as error:
        host = f"{where.hostname}:{where.port or CONNECT_PORT}"
        raise Unreachable(f"Spark Connect does not answer at {host}: {error}") from error
    return SparkSession.builder.remote(place.connect).create()


def _of_session(conf: Mapping[str, str]) -> dict[str, str]:
    """The settings that a session may change while it runs, and that are not ours to decide."""
    return {key: value for key, value in conf.items() if key.startswith("spark.sql.shuffle.")}


def _pyspark() -> Any:
    try:
        import pyspark
        import pyspark.sql
    except ImportError as error:
        raise ConfigError("Spark needs pyspark", hint="pip install 'asgard-platform[spark]'") from error
    return pyspark


def _needs_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise ConfigError("Spark needs Java, and there is none", hint="install OpenJDK 17, or set JAVA_HOME")


# ---- rows


def _arrow_schema(schema: Any) -> pa.Schema:
    """Spark's columns as Arrow has them.

    Raises:
        DataError: a column's type is one that no table carries; names it.
    """
    from pyspark.sql.pandas.types import to_arrow_type

    fields = []
    for column in schema.fields:
        try:
            kind = to_arrow_type(column.dataType, timestamp_utc=True)
        except Exception as error:
            raise DataError(
                f"the type {column.dataType.simpleString()} cannot be carried",
                hint=f"cast it: CAST({column.name} AS STRING)",
                where={"column": column.name},
            ) from error
        fields.append(pa.field(column.name, kind, column.nullable))
    return pa.schema(fields)


def _messages(port: int, secret: str, server: Any) -> Iterator[bytes]:
    """What the JVM serves: it is asked for each partition, and sends its messages, each behind its length."""
    from pyspark.util import local_connect_and_auth

    file, connection = local_connect_and_auth(port, secret)
    connection.settimeout(None)
    try:
        while True:
            file.write(NEXT)
            file.flush()
            state = _number(file)
            if state == 0:
                return
            if state < 0:
                server.getResult()  # raises what happened there
            while (size := _number(file)) >= 0:
                yield file.read(size)
    finally:
        with suppress(OSError):
            file.close()
        connection.close()


def _number(file: Any) -> int:
    return int.from_bytes(file.read(4), "big", signed=True)


def _received(frame: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a frame behind Spark Connect, as the server sends them."""
    client = frame.sparkSession.client
    for part in client.to_table_as_iterator(frame._plan.to_proto(client), frame._plan.observations):
        if isinstance(part, pa.Table):
            yield from part.to_batches()
        elif isinstance(part, pa.RecordBatch):
            yield part


# ---- errors


def _ours(failed: Failed, names: list[str]) -> AsgardError:
    """The error as ours, with near names where a table is missing."""
    if failed.kind == "Bug":
        return Bug(f"Spark: {failed.what}")
    kind: type[AsgardError] = getattr(errors, failed.kind)
    place = re.search(r" ?\(?line (\d+),? pos (\d+)\)?", failed.what)
    where = {"line": place[1], "column": str(int(place[2]) + 1)} if place else {}
    what = failed.what.replace(place[0], "") if place else failed.what
    if issubclass(kind, QueryError) and "cannot be found" in what:
        from difflib import get_close_matches

        wanted = re.search(r"table or view `(.+?)` cannot", what)
        name = wanted[1].replace("`", "") if wanted else ""
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "asgard tables lists what there is"
        return QueryError(f"there is no table {name}", hint=hint, where=where)
    return kind(what.strip(), where=where)
