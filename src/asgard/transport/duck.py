"""The one place that opens DuckDB: extensions from their wheels, memory, threads, spill, errors, time zone.

Reference: https://duckdb.org/docs/stable/configuration/overview
"""

from __future__ import annotations

import importlib.util
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.types as t

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import (
    AsgardError,
    Cancelled,
    ConfigError,
    DataError,
    OutOfSpace,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.transport.carried import taken_back
from asgard.transport.spill import SpillFolder

Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation
Error = duckdb.Error

GONE_ROWS = pa.schema([("file_index", pa.uint64()), ("file_row_number", pa.int64())])
COUNTS = frozenset(GONE_ROWS.names)
"""What DuckDB calls a row's place among Parquet files, unless a column of a file has the name."""


def connect(
    *,
    memory_bytes: int = 512 * MEBIBYTE,
    threads: int = 2,
    extensions: Sequence[str] = (),
    spill_folder: str | Path | None = None,
    filesystem: Any = None,
) -> Connection:
    """Opens an embedded DuckDB that keeps to its memory, and loads no code but the extensions.

    Args:
        memory_bytes: DuckDB's own limit; what exceeds it is spilled.
        threads: workers of one query.
        extensions: names as of the wheels, for example `postgres_scanner`.
        spill_folder: in it a folder of its own is made to spill; the system's temporary folder by default.
            It goes with the connection, and after a kill when somebody spills there again.
        filesystem: fsspec's, through which files with its protocol are read; its errors come back
            whole where they were `transport.carried`.

    Raises:
        ConfigError: the wheel of an extension is not installed; the hint is its install line.
    """
    spill = SpillFolder(spill_folder)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{max(memory_bytes // MEBIBYTE, 32)}MiB",
            "threads": str(max(threads, 1)),
            "temp_directory": str(spill.path),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            # For the wheels' files alone: docs/decisions/0045-extensions-from-wheels.md.
            "allow_unsigned_extensions": "true" if extensions else "false",
        }
    )
    weakref.finalize(connection, spill.remove)
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    if filesystem is not None:
        connection.register_filesystem(filesystem)
    for name in extensions:
        connection.execute(f"LOAD {literal(str(_extension_file(name)))}")
    if extensions:  # DuckDB takes this back from nobody while it is open
        connection.execute("SET allow_unsigned_extensions = false")
    return connection


def _extension_file(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.exists():
            return file
    wheel = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
    raise ConfigError(f"DuckDB's extension {name} is not installed", hint=f"pip install '{wheel}'")


def identifier(name: str) -> str:
    """The name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"


def predicate(sql: str) -> str:
    """One condition, so that nothing but a condition can stand behind WHERE.

    Raises:
        duckdb.Error: it is none.
    """
    return f"({duckdb.SQLExpression(sql)})"


def columns_of(connection: Connection, sql: str) -> list[str]:
    """The names of a query's columns; nothing is read but what they are told by."""
    return [str(row[0]) for row in connection.execute(f"DESCRIBE {sql}").fetchall()]


def keeping(connection: Connection, name: str, marked: Mapping[str, pa.Int64Array]) -> str:
    """What follows `FROM read_parquet(files)` so that rows that are gone are left out.

    NOT IN, and no anti join: that may turn round, hold whole rows in memory, and lose the order of the rows.

    Args:
        connection: of the query.
        name: for the numbers of the rows; no table has it.
        marked: the files, in the order in which they are read, and the numbers of their rows that are gone.
    """
    connection.register(name, _GoneRows(marked))
    gone = f"SELECT (file_index, file_row_number) FROM temp.main.{identifier(name)}"
    return f" WHERE (file_index, file_row_number) NOT IN ({gone})"


@dataclass(frozen=True)
class _GoneRows:
    """What DuckDB scans: the numbers, file by file."""

    marked: Mapping[str, pa.Int64Array]

    def __arrow_c_schema__(self) -> Any:
        return GONE_ROWS.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(GONE_ROWS, self._batches()).__arrow_c_stream__(
            requested_schema
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for index, rows in enumerate(self.marked.values()):
            if len(rows):
                files = pa.repeat(pa.scalar(index, pa.uint64()), len(rows))
                yield pa.RecordBatch.from_arrays([files, rows], schema=GONE_ROWS)


def replacing_floats(columns: Iterable[pa.Field]) -> str:
    """What follows `SELECT *` from Parquet files, so that a comparison finds NaN; empty without floats.

    The figures of Parquet leave NaN out, and DuckDB takes them for the whole truth: for `v > 5`, `v = 'nan'`
    or a join with NaN it skips a file with 1.0 and NaN. For an expression it skips nothing.
    """
    replaced = [(identifier(field.name), field.type) for field in columns]
    told = [f"{_unskipped(name, kind)} AS {name}" for name, kind in replaced if _has_float(kind)]
    return f" REPLACE ({', '.join(told)})" if told else ""


def _unskipped(sql: str, kind: pa.DataType) -> str:
    if t.is_floating(kind):
        return f"+{sql}"
    fields = ", ".join(
        f"{identifier(f.name)} := " + (_unskipped(part, f.type) if _has_float(f.type) else part)
        for f in kind
        for part in [f"struct_extract({sql}, {literal(f.name)})"]
    )
    return f"CASE WHEN {sql} IS NULL THEN NULL ELSE struct_pack({fields}) END"


def _has_float(kind: pa.DataType) -> bool:
    """Also below structs; by what lies in lists and maps nothing is skipped."""
    return bool(t.is_floating(kind) or (t.is_struct(kind) and any(_has_float(f.type) for f in kind)))


@contextmanager
def translated(**where: str) -> Iterator[None]:
    """Turns DuckDB's exceptions into ours, most specific first, also those that an Arrow stream raises."""
    try:
        yield
    except AsgardError:
        raise
    except Exception as error:
        if (ours := taken_back(error)) is not None:
            raise ours.at(**where) from error
        with _translated_alone(**where):
            raise


@contextmanager
def _translated_alone(**where: str) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise Cancelled("cancelled", where=where) from error
    except duckdb.OutOfMemoryException as error:
        raise OutOfSpace(
            f"the query needs more than its memory and spill space: {_first_line(error)}",
            hint="raise --memory, or free space in the spill folder",
            where=where,
        ) from error
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException) as error:
        raise QueryError(str(error).strip(), where=where) from error
    except duckdb.PermissionException as error:
        raise Refused(_first_line(error), where=where) from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException) as error:
        raise DataError(_first_line(error), where=where) from error
    except duckdb.IOException as error:
        text = _first_line(error)
        if re.search(r"No space left|disk full", text, re.IGNORECASE):
            raise OutOfSpace(text, hint="free space and run again", where=where) from error
        gone = _GONE.search(text)
        if gone is not None:
            raise file_gone(gone[1] or gone[2]).at(**where) from error
        raise Unreachable(text, where=where) from error
    except duckdb.Error as error:
        raise DataError(_first_line(error), where=where) from error
    except OSError as error:
        # An Arrow stream carries the text of DuckDB's exception, but not its class.
        kind = re.match(r"([A-Za-z][A-Za-z ]*) Error: ", str(error))
        if kind is None:
            raise
        with translated(**where):
            raise _EXCEPTIONS.get(kind[1].replace(" ", "").lower(), duckdb.Error)(str(error)) from error


_EXCEPTIONS: dict[str, type[duckdb.Error]] = {
    name.removesuffix("Exception").lower(): value
    for name, value in vars(duckdb).items()
    if name.endswith("Exception") and issubclass(value, duckdb.Error)
}


_GONE = re.compile(r'No files found that match the pattern "(.+)"|Cannot open file "(.+)": No such file')


def file_gone(file: str) -> DataError:
    """The error for a file of a table that is not there."""
    return DataError(f"there is no file {file}", hint="the table's files are damaged or were taken away")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
