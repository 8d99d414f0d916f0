"""Which engine builds a model, and how a model in DuckDB's SQL is built by Spark (Promise 9).

DuckDB has the last word about the columns of a result: it is asked for them over tables without rows, and
Spark's rows must have the same names and types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from asgard.core.engine import Engine
from asgard.core.table import Mount, TableName
from asgard.transform.models import Model

if TYPE_CHECKING:
    from asgard.app.project.workspace import Workspace
    from asgard.engines.spark import SparkEngine

OpenEngine = Callable[[int], Engine]


def engine_of(workspace: Workspace, model: Model) -> OpenEngine | None:
    """Opens the engine of a model; None for the one that everything else has, too."""
    if (model.spec.engine or workspace.project.engines.default) == "duckdb":
        return None
    return spark_of(workspace, model.spec.dialect)


def spark_of(workspace: Workspace, dialect: str = "duckdb") -> OpenEngine:
    """Opens the project's Spark, for SQL of a dialect."""
    spill_folder = workspace.project.state_folder / "spill"
    place = workspace.project.engines.spark

    def open_spark(memory_bytes: int) -> Engine:
        from asgard.engines.spark import SparkEngine, SparkPlace

        where = SparkPlace(place.master, place.connect or "", place.settings)
        return _ModelEngine(SparkEngine(where, spill_folder), workspace.open_engine, memory_bytes, dialect)

    return open_spark


class _ModelEngine:
    """Spark for models, which write each table by its name in parts.

    Args:
        spark: what runs the SELECT.
        open_duckdb: is asked what columns a SELECT of DuckDB's has.
        dialect: whose SQL comes: duckdb or spark.
    """

    def __init__(self, spark: SparkEngine, open_duckdb: OpenEngine, memory_bytes: int, dialect: str) -> None:
        self.dialect = dialect
        self._spark = spark
        self._open_duckdb = open_duckdb
        self._memory_bytes = memory_bytes
        self._schemas: dict[TableName | str, pa.Schema] = {}

    def attach(self, name: TableName | str, mount: Mount) -> None:
        """As `Engine.attach`."""
        self._schemas[name] = mount.schema
        self._spark.attach(name, mount)

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Runs one SELECT of the model's dialect on Spark.

        Raises:
            QueryError: it is wrong, or not known to be equal on DuckDB and Spark; and as for `Engine.query`.
        """
        from asgard.transform.dialect import in_spark, to_spark

        if self.dialect == "spark":
            reader = self._spark.query(in_spark(sql))
            schema = pa.schema([field.with_nullable(True) for field in reader.schema])
        else:
            schema = self._columns(sql)
            reader = self._spark.query(to_spark(sql, self._schemas, schema))
        return pa.RecordBatchReader.from_batches(schema, _cast(reader, schema))

    def interrupt(self) -> None:
        """As `Engine.interrupt`."""
        self._spark.interrupt()

    def close(self) -> None:
        """As `Engine.close`."""
        self._spark.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _columns(self, sql: str) -> pa.Schema:
        with self._open_duckdb(self._memory_bytes) as duckdb:
            for name, schema in self._schemas.items():
                duckdb.attach(name, Mount(schema))
            with duckdb.query(sql) as reader:
                return reader.schema


def _cast(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch.cast(schema)
