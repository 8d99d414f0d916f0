"""Frames of other libraries from Arrow and back: pandas, polars, DuckDB relations, lists of rows.

Nothing is bent on the way out: pandas gets Arrow-backed columns, in which decimals stay decimals and integers
with nulls stay integers. On the way in everything that offers Arrow's own interface is taken as it is.
Leaves types that a lake cannot hold to `core.types`.

Reference: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html,
https://pandas.pydata.org/docs/user_guide/pyarrow.html
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from asgard.core.errors import ConfigError, DataError

BACKENDS = ("auto", "pandas", "polars", "arrow", "duckdb")
LAZY = ("dask", "spark")
"""Backends whose frames read when they are computed: they are made of a source, not of rows that are here."""
TARGET_KEY = b"asgard.target_column"


def chosen_backend(name: str) -> str:
    """The library that a backend's name stands for: `auto` is pandas where it is installed, else Arrow.

    Raises:
        ConfigError: the name is unknown, is of a library that reads by itself, or is not installed.
    """
    if name == "auto":
        return "pandas" if importlib.util.find_spec("pandas") else "arrow"
    if name in LAZY:
        raise ConfigError(
            f"{name} reads by itself, and cannot be given rows that are here",
            hint=f"asgard.load_data(..., backend={name!r}) makes its frames; here take {', '.join(BACKENDS)}",
        )
    if name not in BACKENDS:
        known = ", ".join((*BACKENDS, *LAZY))
        raise ConfigError(f"there is no backend {name!r}", hint=f"there are: {known}")
    if name in ("pandas", "polars") and importlib.util.find_spec(name) is None:
        raise ConfigError(f"{name} is not installed", hint=f"pip install 'asgard-platform[{name}]'")
    return name


def from_arrow(table: pa.Table, backend: str = "auto") -> Any:
    """The table as a frame of the backend's library; copies nothing where the library can share memory.

    Returns:
        `pandas.DataFrame` (columns of `pandas.ArrowDtype`), `polars.DataFrame`, `pyarrow.Table`, or a
        DuckDB relation on a connection of its own.
    """
    library = chosen_backend(backend)
    if library == "pandas":
        return _to_pandas(table)
    if library == "polars":
        import polars

        return polars.from_arrow(table)
    if library == "duckdb":
        from asgard.transport import duck

        return duck.connect().from_arrow(table)
    return table


def _to_pandas(table: pa.Table) -> Any:
    import pandas

    frame = table.to_pandas(types_mapper=pandas.ArrowDtype, ignore_metadata=True)
    target = (table.schema.metadata or {}).get(TARGET_KEY)
    if target is not None:
        frame.attrs["target_column"] = target.decode()
    return frame


def to_arrow(frame: Any, name: str = "the data") -> pa.Table:
    """Any frame as an Arrow table.

    Takes Arrow tables, batches and readers, pandas and polars frames, DuckDB relations, everything else with
    `__arrow_c_stream__`, a dictionary of columns, one row or a list of rows as dictionaries. Rows may have
    different keys: what a row does not have is null. An index of pandas without a name is dropped.

    Args:
        name: what to call it in errors.

    Raises:
        DataError: a column holds values of several types; names it.
        ConfigError: it is nothing of all this.
    """
    module = type(frame).__module__.partition(".")[0]
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if module == "pandas" and hasattr(frame, "columns"):
        return _from_pandas(frame, name)
    if module == "polars" and hasattr(frame, "collect"):
        frame = frame.collect()
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    if isinstance(frame, Mapping):
        columns = all(
            isinstance(value, list | tuple | pa.Array | pa.ChunkedArray) for value in frame.values()
        )
        return _from_columns(frame, name) if frame and columns else _from_rows([frame], name)
    if isinstance(frame, list | tuple) and all(isinstance(row, Mapping) for row in frame):
        return _from_rows(frame, name)
    raise ConfigError(
        f"{name} came as {type(frame).__name__}, which is no frame",
        hint="give a pandas or polars DataFrame, an Arrow table, a DuckDB relation or a list of dicts",
    )


def _from_pandas(frame: Any, name: str) -> pa.Table:
    named_index = any(level is not None for level in frame.index.names)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=named_index)
    except (ValueError, TypeError, pa.ArrowNotImplementedError) as error:  # Arrow's errors are some of these
        raise _mixed(frame, name, error) from error
    return table.replace_schema_metadata(None)


def _mixed(frame: Any, name: str, error: Exception) -> DataError:
    for number, column in enumerate(frame.columns):
        try:
            pa.array(frame.iloc[:, number], from_pandas=True)
        except (ValueError, TypeError, pa.ArrowNotImplementedError) as reason:
            return _unfit(str(column), name, reason)
    return DataError(f"{name}: {str(error).splitlines()[0]}", hint="give each column a name of its own")


def _from_rows(rows: Iterable[Mapping[str, Any]], name: str) -> pa.Table:
    rows = list(rows)
    keys = dict.fromkeys(str(key) for row in rows for key in row)
    return _from_columns({key: [row.get(key) for row in rows] for key in keys}, name)


def _from_columns(columns: Mapping[str, Any], name: str) -> pa.Table:
    arrays = {}
    for column, values in columns.items():
        try:
            arrays[str(column)] = values if isinstance(values, pa.ChunkedArray) else pa.array(values)
        except (ValueError, TypeError, OverflowError) as error:
            raise _unfit(str(column), name, error) from error
    return pa.table(arrays)


def _unfit(column: str, name: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(
        f"{name}: the values of column {column!r} have no common type: {reason}",
        hint="give all of them one type before returning them",
        where={"column": column},
    )


def exact_chunks(batches: Iterable[pa.RecordBatch], schema: pa.Schema, chunk_rows: int) -> Iterator[pa.Table]:
    """Batches of any size as tables of exactly so many rows; only the last may have fewer.

    Holds no more than one chunk and one batch. No rows give no chunk.
    """
    held: list[pa.RecordBatch] = []
    missing = chunk_rows
    for batch in batches:
        start = 0
        while batch.num_rows - start >= missing:
            held.append(batch.slice(start, missing))
            yield pa.Table.from_batches(held, schema=schema)
            start += missing
            held, missing = [], chunk_rows
        if start < batch.num_rows:
            held.append(batch.slice(start))
            missing -= batch.num_rows - start
    if held:
        yield pa.Table.from_batches(held, schema=schema)


def cut(frame: Any, chunk_rows: int) -> Iterator[Any]:
    """A frame in pieces of exactly so many rows, each of the frame's own kind; the last may have fewer.

    Raises:
        ConfigError: the number of rows is below one.
    """
    checked_chunk(chunk_rows)
    if hasattr(frame, "iloc"):
        pieces = (frame.iloc[start : start + chunk_rows] for start in range(0, len(frame), chunk_rows))
    elif isinstance(frame, list | tuple):
        pieces = (frame[start : start + chunk_rows] for start in range(0, len(frame), chunk_rows))
    else:
        if not hasattr(frame, "slice"):
            frame = to_arrow(frame)
        pieces = (frame.slice(start, chunk_rows) for start in range(0, len(frame), chunk_rows))
    yield from pieces


def checked_chunk(chunk_rows: int) -> int:
    """The size of a chunk, if it is one.

    Raises:
        ConfigError: it is below one.
    """
    if chunk_rows < 1:
        raise ConfigError(f"chunk_size is {chunk_rows}", hint="it counts rows: give it 1 or more")
    return chunk_rows


def with_target(table: pa.Table, column: str) -> pa.Table:
    """The table with its target column marked in the schema's metadata."""
    metadata = {**(table.schema.metadata or {}), TARGET_KEY: column.encode()}
    return table.replace_schema_metadata(metadata)
