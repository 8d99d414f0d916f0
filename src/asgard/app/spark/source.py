"""`spark.read.format("asgard")`: a PySpark data source over the splits of every connector.

    asgard.integrations.pyspark.register(spark)
    frame = spark.read.format("asgard").options(project="asgard.yml", source="shop", table="orders").load()
    frame = spark.read.format("asgard").options(**{"type": "postgres", "connection.host": "db", ...}).load()

Spark runs this class in Python processes of its own: beside the driver for the schema and the partitions, in
the executors for the rows. Each of them opens the source from how it is written and looks its references up
itself; no secret is in a plan, a partition or an option (Promise 6). A task that is tried again reads its
split again, and Spark has thrown away what the first attempt had read.

Reference: https://spark.apache.org/docs/latest/api/python/tutorial/sql/python_data_source.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from asgard.app.sources.elsewhere import Reading, described, read_elsewhere
from asgard.app.sources.written_source import WrittenSource
from asgard.app.spark.plans import HOLD_SECONDS, Keeper, Request, planned
from asgard.core.errors import ConfigError
from asgard.core.stream import Split
from asgard.core.types import canonical_schema, metadata

FORMAT = "asgard"
READING = "asgard.reading"
"""Option in which `load_data` passes a configuration that it has read already."""
OF_PROJECT = ("project", "env", "source", "table", "query")
TEXTS = ("query", "where")
"""Options that are taken as they stand, even where they look like JSON."""


@dataclass
class Part(InputPartition):
    """One partition: a split, or None for the whole stream."""

    split: Split | None

    def __init__(self, split: Split | None) -> None:
        super().__init__(split.id if split is not None else "")
        self.split = split


class AsgardReader(DataSourceReader):
    """Plans beside the driver, reads in the executors.

    It takes no filters (`pushFilters`): Spark 4.1 keeps the partitions of a filtered scan for every other
    scan of the same frame, which then lacks rows.
    """

    def __init__(self, request: Request, address: str) -> None:
        self.request = request
        self._address = address

    def partitions(self) -> list[InputPartition]:
        """A partition for each split of one plan."""
        return [Part(split) for split in planned(self._address, self.request)]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        """The rows of a partition; Spark gives None where there are no partitions at all."""
        if isinstance(partition, Part):
            yield from read_elsewhere(self.request.reading, partition.split)


class AsgardDataSource(DataSource):
    """The format itself; `register` makes a class of it that knows its session."""

    address: ClassVar[str] = ""

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self._request: Request | None = None

    @classmethod
    def name(cls) -> str:
        """What `format` takes."""
        return FORMAT

    def schema(self) -> StructType:
        """The stream's columns in Spark's types; asks the source."""
        return spark_schema(self._asked().reading.arrow_schema)

    def reader(self, schema: StructType) -> DataSourceReader:
        """A reader; a schema that the user gives chooses columns."""
        request = self._asked()
        known = spark_schema(request.reading.arrow_schema)
        if schema.names != known.names:
            _refuse_other_types(schema, known)
            chosen = described(replace(request.reading, columns=tuple(schema.names)))
            request = replace(request, reading=chosen.giving(canonical_schema(chosen.arrow_schema)))
        else:
            _refuse_other_types(schema, known)
        return AsgardReader(request, self.address)

    def _asked(self) -> Request:
        if self._request is None:
            request = request_of(self.options)
            reading = described(request.reading)
            canonical = canonical_schema(reading.arrow_schema)
            self._request = replace(request, reading=reading.giving(canonical))
        return self._request


def request_of(options: Mapping[str, str]) -> Request:
    """What the options of `spark.read` ask for.

    Raises:
        ConfigError: an option is wrong, or holds a secret in clear.
    """
    given = dict(options)
    partitions = _number(given, "partitions", 1)
    hold_seconds = _number(given, "hold_seconds", 0)
    return Request(
        _reading(given),
        int(partitions) if partitions is not None else None,
        HOLD_SECONDS if hold_seconds is None else hold_seconds,
    )


def _reading(given: dict[str, str]) -> Reading:
    if READING in given:
        told = json.loads(given[READING])
        return Reading(WrittenSource(**told["source"]), told["table"], told["query"])
    if "stream" in given:
        given["table"] = given.pop("stream")
    if "type" not in given:
        strangers = sorted(set(given) - set(OF_PROJECT))
        if strangers or "source" not in given:
            what = f"{', '.join(strangers)}: no option of a source in a project" if strangers else "no source"
            raise ConfigError(
                what, hint=f"give type and the connector's options, or some of {', '.join(OF_PROJECT)}"
            )
        source = WrittenSource.of_project(given.get("project"), given["source"], given.get("env"))
        return Reading(source, given.get("table"), given.get("query"))
    return Reading(WrittenSource.of_options(_nested(given)))


def _nested(given: Mapping[str, str]) -> dict[str, Any]:
    """`connection.host` as `{"connection": {"host": ...}}`; lists and mappings may be JSON."""
    found: dict[str, Any] = {}
    for key, text in given.items():
        group, dot, inner = key.partition(".")
        value: Any = text
        if text[:1] in ("[", "{") and key not in TEXTS:
            try:
                value = json.loads(text)
            except ValueError:
                value = text
        if dot:
            found.setdefault(group, {})[inner] = value
        else:
            found[key] = value
    return found


def _number(given: dict[str, str], name: str, least: int) -> float | None:
    text = given.pop(name, None)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = least - 1.0
    if not number >= least:
        raise ConfigError(f"{name} is {text!r}", hint=f"give it a number, {least} or more")
    return number


def spark_schema(schema: pa.Schema) -> StructType:
    """Canonical columns in Spark's types, exactly: with a zone TIMESTAMP, without one TIMESTAMP_NTZ. What the
    source calls a type (`asgard.type`) is in the columns' metadata."""
    types = from_arrow_schema(schema, prefer_timestamp_ntz=True)
    return StructType(
        [
            StructField(field.name, field.dataType, field.nullable, dict(metadata(own)))
            for field, own in zip(types, schema, strict=True)
        ]
    )


def _refuse_other_types(wanted: StructType, known: StructType) -> None:
    for field in wanted:
        if field.name not in known.names:
            raise ConfigError(
                f"there is no column {field.name!r}", hint=f"there are: {', '.join(known.names)}"
            )
        if field.dataType != known[field.name].dataType:
            raise ConfigError(
                f"{field.name} is {known[field.name].dataType.simpleString()}, "
                f"not {field.dataType.simpleString()}",
                hint="a schema chooses columns; cast them in Spark, or give columns.NAME=type to the source",
            )


_keepers: dict[str, Keeper] = {}
_lock = threading.Lock()


def register(spark: Any) -> None:
    """Makes `spark.read.format("asgard")` known to a session.

    Once for each session; again does no harm. On Spark Connect the server needs Asgard too, and has no driver
    of Python's that could hold a snapshot: PostgreSQL's streams are read there by one task.
    """
    keeper = _keeper(spark)

    class Registered(AsgardDataSource):
        address = keeper.address if keeper is not None else ""

    spark.dataSource.register(Registered)


def release(spark: Any) -> None:
    """Closes the plans that are held for a session's application: databases keep no snapshot for it any more.

    Frames that were planned before cannot be read again where their source lends a snapshot; they say so.
    """
    keeper = _keeper(spark)
    if keeper is not None:
        keeper.release()


def _keeper(spark: Any) -> Keeper | None:
    """The keeper of the application; None on Spark Connect."""
    if not hasattr(spark, "_jsparkSession"):
        return None
    context = spark.sparkContext
    with _lock:
        found = _keepers.get(context.applicationId)
        if found is None or found.ended:
            found = _keepers[context.applicationId] = Keeper(context)
        return found


def spark_frame(reading: Reading, partitions: int | None = None) -> Any:
    """A `pyspark.sql.DataFrame` of the active session, or of a new one.

    Raises:
        AnalysisException: of Spark's, with what the source, or we, have against it.
    """
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
    register(spark)
    told = {"source": asdict(reading.source), "table": reading.table, "query": reading.query}
    reader = spark.read.format(FORMAT).option(READING, json.dumps(told))
    if partitions is not None:
        reader = reader.option("partitions", partitions)
    return reader.load()
