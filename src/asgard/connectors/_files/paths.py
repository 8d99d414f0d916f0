"""Columns that come from where a file lies: its name, and the `year=2024` of its folders.

A partition's value is text, as a path has no types; `columns: {year: int64}` gives it one.

Reference: https://duckdb.org/docs/stable/data/partitioning/hive_partitioning
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import pyarrow as pa

from asgard.connectors._files.formats import FilesStreamOptions
from asgard.connectors._files.sets import FileSet
from asgard.core.columns import array_of
from asgard.core.errors import ConfigError, DataError
from asgard.transport.column_types import field_of
from asgard.transport.files import MEMBER, FoundFile
from asgard.transport.text_proof import convert_texts

FILE_COLUMN = "_file"
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
ORIGIN = b"asgard.path"
"""Field metadata of the columns of this module; its value is FILE or PARTITION."""
FILE, PARTITION = b"file", b"partition"


def partitions_of(file: FoundFile) -> dict[str, str | None]:
    """Key to value, from the outermost folder on."""
    folders = file.name.partition(MEMBER)[0].split("/")[:-1]
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {unquote(key): None if value == NO_VALUE else unquote(value) for key, value in pairs}


def partition_names(files: Sequence[FoundFile]) -> tuple[str, ...]:
    """The keys that all the files have.

    Raises:
        DataError: a file has other keys than the first.
    """
    first = tuple(partitions_of(files[0]))
    for file in files[1:]:
        if (keys := tuple(partitions_of(file))) != first:
            raise DataError(
                f"{file.name} is partitioned by {', '.join(keys) or 'nothing'}, "
                f"{files[0].name} by {', '.join(first) or 'nothing'}",
                hint="make the path narrower, or leave hive out",
                where={"file": file.name},
            )
    return first


def without_path_columns(options: FilesStreamOptions, files: Sequence[FoundFile]) -> FilesStreamOptions:
    """The options for reading the files alone: partitions are no columns of theirs."""
    if not options.hive:
        return options
    names = partition_names(files)
    types = {name: type for name, type in options.columns.items() if name not in names}
    return options.model_copy(update={"columns": types})


def with_path_columns(schema: pa.Schema, table: FileSet, options: FilesStreamOptions) -> pa.Schema:
    """The files' own schema, partitions behind it, the name of the file last.

    Raises:
        ConfigError: the files have a column of that name.
    """
    for name in partition_names(table.files) if options.hive else ():
        _refuse_taken(name, schema, table, f"exclude_columns: [{name}] takes the folders', or leave hive out")
        field = field_of(name, options.columns.get(name, "text"))
        schema = schema.append(field.with_metadata({**(field.metadata or {}), ORIGIN: PARTITION}))
    if options.with_file:
        _refuse_taken(FILE_COLUMN, schema, table, "leave with_file out")
    wanted = options.with_file
    if wanted is None:
        wanted = table.several and FILE_COLUMN not in schema.names
    if not wanted:
        return schema
    return schema.append(pa.field(FILE_COLUMN, pa.string(), metadata={b"asgard.type": b"file", ORIGIN: FILE}))


def _refuse_taken(name: str, schema: pa.Schema, table: FileSet, hint: str) -> None:
    if name in schema.names:
        raise ConfigError(
            f"the files of {table.name} have a column {name} of their own",
            hint=hint,
            where={"stream": table.name},
        )


def origin(field: pa.Field) -> bytes | None:
    """FILE or PARTITION; None for a column of the files' own."""
    found: bytes | None = (field.metadata or {}).get(ORIGIN)
    return found


def own_columns(schema: pa.Schema) -> pa.Schema:
    """The columns that stand in the files."""
    return pa.schema([field for field in schema if origin(field) is None])


def completed(batch: pa.RecordBatch, schema: pa.Schema, file: FoundFile) -> pa.RecordBatch:
    """The batch with the columns that its file's path gives.

    Raises:
        DataError: a partition's value is not of the type that was asked for.
    """
    if len(batch.schema) == len(schema):
        return batch
    values = partitions_of(file)
    arrays = list(batch.columns)
    for field in list(schema)[len(arrays) :]:
        text = file.name if origin(field) == FILE else values[field.name]
        where = {"file": file.name, "column": field.name}
        value = convert_texts(array_of([text], pa.string()), field.type, where)[0]
        arrays.append(pa.repeat(value, batch.num_rows))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
