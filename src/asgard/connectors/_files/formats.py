"""How the files of one table are written, and what reads them: one entry of FORMATS for each format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from asgard.core.cancel import Cancel
from asgard.core.config import Config
from asgard.transport import json_text
from asgard.transport.column_types import ColumnTypes, field_of
from asgard.transport.delimited import ColumnProofs, Dialect, text_batches, typed_batch
from asgard.transport.files import FoundFile, opened, refuse_changed, wrapped
from asgard.transport.json_records import RecordProofs, typed_records
from asgard.transport.parquet import parquet_schema, read_parquet, row_groups
from asgard.transport.spreadsheet import Layout, read_sheet, sheet_schema

MOST_PIECE_BYTES = 1 << 20
LEAST_PIECE_BYTES = 1 << 16
"""How much JSON text is parsed at once; as Python's values it is five to ten times as large."""
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".geojson": "json", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet", ".xlsx": "excel", ".xlsm": "excel",
    ".xlsb": "excel", ".xls": "excel", ".ods": "excel",
}  # fmt: skip

FormatName = Annotated[
    Literal["csv", "tsv", "json", "jsonl", "parquet", "excel"],
    BeforeValidator(lambda word: {"ndjson": "jsonl", "xlsx": "excel", "xls": "excel"}.get(word, word)),
]


def _header(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


class FilesStreamOptions(Config):
    """Which files make up a table, and how they are written."""

    path: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("path", "glob", "file"),
        description="A file, a folder, or a pattern with *, ? and ** (any depth); relative to the source's "
        "path. Left out, the files that `asgard discover` shows under the name.",
    )
    format: FormatName | None = Field(
        default=None,
        validation_alias=AliasChoices("format", "file_type"),
        description="csv, tsv, json, jsonl, parquet or excel; found from the file's name when left out.",
    )
    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not be found out: text, int64, float64, decimal(p, s), "
        "bool, date, timestamp, timestamptz, json.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns that are not read.")
    types: Literal["proved", "text"] = Field(
        default="proved",
        description="csv, tsv: proved reads every value first and types a column when all of them prove it; "
        "text leaves all columns text.",
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="csv: what stands between fields; a comma."
    )
    quote: str = Field(default='"', max_length=1, description='csv, tsv: the quote; "" for none.')
    escape: str = Field(default="", max_length=1, description="csv, tsv: the escape character; none.")
    header: Annotated[int, BeforeValidator(_header), WithJsonSchema({"type": ["boolean", "integer"]})] = (
        Field(
            default=1,
            ge=0,
            description="csv, tsv, excel: the row with the names, counted from 1; false for none.",
        )
    )
    skip_rows: int = Field(default=0, ge=0, description="csv, tsv, excel: rows before everything else.")
    encoding: str = Field(default="utf-8", description="csv, tsv, json, jsonl: utf-8, latin-1, utf-16, ...")
    null_values: tuple[str, ...] = Field(
        default=("",), description="csv, tsv: unquoted texts that mean null, for example [NA]."
    )
    records: str | None = Field(
        default=None,
        min_length=1,
        description="json: where the list of records is, for example data.items; found when left out.",
    )
    sheet: str | int | None = Field(
        default=None, description="excel: name or number (from 1) of the sheet; the first."
    )
    errors_are_null: bool = Field(default=False, description="excel: cells such as #N/A count as empty.")
    with_file: bool | None = Field(
        default=None,
        description="Adds the column _file, the name of each row's file; by default where a pattern or "
        "folder is read. `cursor: _file` then reads new files only.",
    )
    hive: bool = Field(
        default=False,
        description="Folders such as year=2024 are columns behind the files': text, or as `columns` says.",
    )
    changed_files: Literal["refuse", "reload"] | None = Field(
        default=None,
        description="With `cursor: _file`, what happens when a loaded file changed: reload reads it again, "
        "which is the default where there is a primary_key; refuse stops.",
    )

    def dialect(self, delimiter: str) -> Dialect:
        """How delimited text is written."""
        return Dialect(
            delimiter=self.delimiter or delimiter,
            quote=self.quote,
            escape=self.escape,
            header=self.header,
            skip_rows=self.skip_rows,
            encoding=self.encoding,
            null_values=self.null_values,
        )

    @property
    def dropped(self) -> frozenset[str]:
        """Columns that are not read."""
        return frozenset(self.exclude_columns)

    @property
    def layout(self) -> Layout:
        """Where the table stands in a workbook."""
        return Layout(self.sheet, self.header, self.skip_rows, self.errors_are_null)


@dataclass(frozen=True)
class Part:
    """What is read at one go: a file, or some row groups of it."""

    file: FoundFile
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How rows are wanted.

    Attributes:
        batch_bytes: about how large a batch may be.
        cancel: asked before every batch.
        reader_bytes: what may be held of something that cannot be read in parts.
    """

    batch_bytes: int
    cancel: Cancel
    reader_bytes: int


Files = Sequence[FoundFile]
Options = FilesStreamOptions


@dataclass(frozen=True)
class Format:
    """A way in which files are written.

    Attributes:
        schema: the columns of all files together, proved by every value.
        sketch: about the same, from the first rows of the first file.
        rows: the rows of a part in the schema.
    """

    schema: Callable[[Files, Options, Cancel], pa.Schema]
    sketch: Callable[[Files, Options, Cancel], pa.Schema]
    rows: Callable[[Part, Options, pa.Schema, Reading], Iterator[pa.RecordBatch]]


def _delimited(delimiter: str) -> Format:
    def schema(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        columns = ColumnProofs(options.columns, options.dropped)
        for file in files:
            for batch in text_batches(file, options.dialect(delimiter), cancel=cancel):
                columns.see(batch)
                if options.types == "text" or set(batch.schema.names) <= set(options.columns):
                    break  # the header said everything
        return columns.schema(proved=options.types == "proved")

    def sketch(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        columns = ColumnProofs(options.columns, options.dropped)
        for batch in islice(text_batches(files[0], options.dialect(delimiter), cancel=cancel), 1):
            columns.see(batch)
        return columns.schema(proved=options.types == "proved")

    def rows(part: Part, options: Options, schema: pa.Schema, wanted: Reading) -> Iterator[pa.RecordBatch]:
        dialect = options.dialect(delimiter)
        for batch in text_batches(part.file, dialect, wanted.batch_bytes, wanted.cancel):
            yield typed_batch(batch, schema, part.file, options.dropped)

    return Format(schema, sketch, rows)


def _json(*, lines: bool) -> Format:
    def pieces(
        file: FoundFile, options: Options, cancel: Cancel, piece_bytes: int = MOST_PIECE_BYTES
    ) -> Iterator[json_text.Records]:
        with opened(file) as stream:
            text = wrapped(stream, options.encoding)
            if lines:
                found = json_text.lines(text, file.name, piece_bytes)
            else:
                found = json_text.records(text, file.name, options.records, piece_bytes)
            for piece in found:
                cancel.check()
                yield piece
            refuse_changed(file)

    def schema(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        proofs = RecordProofs(options.columns, options.dropped)
        for file in files:
            for piece in pieces(file, options, cancel):
                proofs.see(piece)
        return proofs.schema

    def sketch(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        proofs = RecordProofs(options.columns, options.dropped)
        for piece in islice(pieces(files[0], options, cancel), 1):
            proofs.see(piece)
        return proofs.schema

    def rows(part: Part, options: Options, schema: pa.Schema, wanted: Reading) -> Iterator[pa.RecordBatch]:
        piece_bytes = max(min(wanted.batch_bytes // 2, MOST_PIECE_BYTES), LEAST_PIECE_BYTES)
        for piece in pieces(part.file, options, wanted.cancel, piece_bytes):
            yield typed_records(piece, schema, part.file.name, options.dropped)

    return Format(schema, sketch, rows)


def _parquet() -> Format:
    def schema(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        return chosen(parquet_schema(files), options)

    def sketch(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        return schema(files[:1], options, cancel)

    def rows(part: Part, options: Options, schema: pa.Schema, wanted: Reading) -> Iterator[pa.RecordBatch]:
        groups = part.groups or range(len(row_groups(part.file)))
        return read_parquet(part.file, groups, schema, wanted.batch_bytes, wanted.cancel, wanted.reader_bytes)

    return Format(schema, sketch, rows)


def chosen(schema: pa.Schema, options: Options) -> pa.Schema:
    """The schema with the types that the user wants for some of its columns, and without others."""
    return pa.schema(
        field_of(field.name, options.columns[field.name]) if field.name in options.columns else field
        for field in schema
        if field.name not in options.exclude_columns
    )


def _excel() -> Format:
    def schema(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        return chosen(sheet_schema(files, options.layout, cancel), options)

    def sketch(files: Files, options: Options, cancel: Cancel) -> pa.Schema:
        return schema(files[:1], options, cancel)

    def rows(part: Part, options: Options, schema: pa.Schema, wanted: Reading) -> Iterator[pa.RecordBatch]:
        return read_sheet(part.file, options.layout, schema, wanted.batch_bytes, wanted.cancel)

    return Format(schema, sketch, rows)


FORMATS: dict[str, Format] = {
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "json": _json(lines=False),
    "jsonl": _json(lines=True),
    "parquet": _parquet(),
    "excel": _excel(),
}
