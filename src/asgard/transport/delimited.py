"""CSV and TSV: rows of text out of a file, none lost, none padded, and their types by proof.

Blank lines are no rows, but in a file of one column, where they are nulls. An unquoted empty field is null, a
quoted one is an empty text. A row with more or fewer fields than the header is an error with file and line,
and so is a quote that is never closed: Arrow's parser would take the rest of the file for one value, so a
last line of our own has to come out of it again.

Reference: https://www.rfc-editor.org/rfc/rfc4180, https://arrow.apache.org/docs/python/csv.html
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.errors import DataError
from asgard.transport.column_types import field_of, unique_names
from asgard.transport.files import FoundFile, opened, refuse_changed, wrapped
from asgard.transport.text_proof import TextProof, convert_texts

END = "\x1fasgard: end of file\x1f"
PEEK_BYTES = 1 << 16
_NEWLINE = re.compile(rb"\r\n|\r|\n")
LEAST_BLOCK_BYTES = 1 << 16
BLOCK_BYTES = (MEBIBYTE, 32 * MEBIBYTE, 512 * MEBIBYTE)
"""How much is parsed at once; the larger ones only for files with rows that do not fit."""


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        header: number of the line with the names, counted from 1 after `skip_rows`; 0 when there is none.
        quote, escape: one character, or empty for none.
        null_values: unquoted fields that mean null.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: int = 1
    skip_rows: int = 0
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ("",)

    @property
    def lines_before(self) -> int:
        """How many lines are passed over before the header, or the first row."""
        return self.skip_rows + max(self.header - 1, 0)

    def for_csv_module(self) -> dict[str, Any]:
        """The same for Python's csv, which finds the lines of errors."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape or None,
        }


class _Ended(io.RawIOBase):
    """A stream with the END line behind its last one; nothing at all when it is empty."""

    def __init__(self, stream: Any, lines_before: int) -> None:
        rest = _behind_lines(stream, lines_before)
        self.first: bytes = rest + stream.read(max(PEEK_BYTES - len(rest), 0))
        self._waiting = self.first
        self._stream = stream
        self._last = self.first[-1:]
        self._ended = not self.first

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts = [self._waiting]
        self._waiting = b""
        missing = size - len(parts[0])
        while not self._ended and missing > 0:  # Arrow takes a short read for the end
            part: bytes = self._stream.read(missing)
            if part:
                self._last = part[-1:]
            else:
                self._ended = True
                part = (b"" if self._last in b"\r\n" else b"\n") + f"{END}\n".encode()
            parts.append(part)
            missing -= len(part)
        whole = b"".join(parts)
        self._waiting = whole[size:]
        return whole[:size]


def _behind_lines(stream: Any, lines: int) -> bytes:
    """Reads over lines; what was read too much. At the end of the stream nothing is left."""
    held = b""
    while lines:
        found = _NEWLINE.search(held)
        # A carriage return at the end of what is held may be half of a newline.
        if found and (found.end() < len(held) or found[0] != b"\r"):
            held, lines = held[found.end() :], lines - 1
        elif part := stream.read(PEEK_BYTES):
            held += part
        else:
            return b""
    return held


@dataclass
class _Watch:
    """What came of the rows that did not have the right number of fields."""

    ended: bool = False
    ragged: Any = None

    def __call__(self, row: Any) -> str:
        if row.text == END:
            self.ended = True
            return "skip"
        self.ragged = row
        return "error"


def text_batches(
    file: FoundFile, dialect: Dialect, batch_bytes: int = BLOCK_BYTES[0], cancel: Cancel | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, every column text, named by the header. The first batch comes even without rows;
    a file without any line gives none.

    Raises:
        DataError: ragged rows, unclosed quotes, bytes that are no text; with file and line.
    """
    given = -1  # rows that went out; -1 before the first batch
    blocks = (max(min(batch_bytes, BLOCK_BYTES[0]), LEAST_BLOCK_BYTES), *BLOCK_BYTES[1:])
    for block_bytes in blocks:
        parsed = 0
        try:
            for batch in _parsed(file, dialect, block_bytes):
                if cancel is not None:
                    cancel.check()
                fresh = batch.slice(min(max(given - parsed, 0), batch.num_rows))
                parsed += batch.num_rows
                if fresh.num_rows or given < 0:
                    given = max(given, parsed)
                    yield fresh
            return
        except _RowTooLong as error:
            if block_bytes == blocks[-1]:
                raise _unclosed(file) from error


class _RowTooLong(Exception):
    """A row does not end within what is parsed at once."""


def _parsed(file: FoundFile, dialect: Dialect, block_bytes: int) -> Iterator[pa.RecordBatch]:
    watch = _Watch()
    names: list[str] | None = None
    with opened(file) as stream:
        ended = _Ended(wrapped(stream, dialect.encoding), dialect.lines_before)
        for batch in _rows(file, dialect, block_bytes, ended, watch):
            rows = batch
            if names is None:
                names = _header_names(batch, dialect)
                if names == [END]:
                    return
                if any(END in name for name in names):
                    raise _unclosed(file)
                rows = batch.slice(1 if dialect.header else 0)
            if len(names) == 1 and rows.num_rows and rows.column(0)[-1].as_py() == END:
                watch.ended = True
                rows = rows.slice(0, rows.num_rows - 1)
            yield rows.rename_columns(names)
        if ended.first and not watch.ended:
            raise _unclosed(file)
        refuse_changed(file)


def _rows(
    file: FoundFile, dialect: Dialect, block_bytes: int, ended: _Ended, watch: _Watch
) -> Iterator[pa.RecordBatch]:
    if not ended.first:
        return
    fields = _fields_of_first_row(ended.first, dialect)
    try:
        yield from arrow_csv.open_csv(
            pa.PythonFile(ended, mode="r"),
            read_options=arrow_csv.ReadOptions(
                use_threads=False,  # else errors have no row numbers
                block_size=block_bytes,
                autogenerate_column_names=True,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=bool(dialect.quote),
                ignore_empty_lines=fields != 1,
                invalid_row_handler=watch,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys((f"f{number}" for number in range(fields)), pa.string()),
                null_values=list(dialect.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if watch.ragged is not None:
            raise _ragged(file, dialect, watch.ragged) from error
        # "Empty": the first row does not end in the block; without END in it, its quote may never be closed
        if "straddling" in str(error) or "Empty CSV file" in str(error):
            raise _RowTooLong from error
        raise _unreadable(file, dialect, error) from error


def _fields_of_first_row(first: bytes, dialect: Dialect) -> int:
    """How many fields the first row has; where it is longer than what was read, at least so many."""
    text = first.decode("utf-8", "replace")
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, **dialect.for_csv_module())
    try:
        fields = len(next((row for row in reader if row), ()))
    except csv.Error:
        fields = 0
    is_whole = fields and lines.tell() < len(text)
    return fields if is_whole or not text.strip() else max(fields, text.count(dialect.delimiter) + 1)


def _header_names(batch: pa.RecordBatch, dialect: Dialect) -> list[str]:
    return unique_names([column[0].as_py() if dialect.header else None for column in batch.columns])


def _ragged(file: FoundFile, dialect: Dialect, row: Any) -> DataError:
    if END in row.text:
        return _unclosed(file)
    line = _line_of(file, dialect, row.expected_columns)
    shown = row.text if len(row.text) <= 60 else row.text[:57] + "..."
    return DataError(
        f"the row has {row.actual_columns} fields, the header has {row.expected_columns}: {shown!r}",
        hint="mend the row; if the file is written otherwise, set delimiter, quote, escape or skip_rows",
        where={"file": f"{file.name}:{line}" if line else file.name},
    )


def _line_of(file: FoundFile, dialect: Dialect, fields: int) -> str:
    """The line where the first row with another number of fields begins; empty when it cannot be told."""
    with opened(file) as stream:
        lines = io.TextIOWrapper(stream, encoding=dialect.encoding, errors="replace", newline="")
        for _ in range(dialect.lines_before):
            lines.readline()
        reader = csv.reader(lines, **dialect.for_csv_module())
        begins = dialect.lines_before + 1
        try:
            for row in reader:
                if row and len(row) != fields:
                    return str(begins)
                begins = dialect.lines_before + reader.line_num + 1
        except csv.Error:
            pass
    return ""


def _unclosed(file: FoundFile) -> DataError:
    return DataError(
        "a quote is opened and never closed: the file is cut off, or the quote is none",
        hint='fetch it again; if its values contain lone quotes, set quote: ""',
        where={"file": file.name},
    )


def _unreadable(file: FoundFile, dialect: Dialect, error: Exception) -> DataError:
    text = str(error)
    if "UTF8" in text:
        line = _line_of_bad_bytes(file)
        return DataError(
            f"bytes that are no {dialect.encoding}",
            hint="set encoding to the one it is written in, for example latin-1, cp1252 or utf-16",
            where={"file": f"{file.name}:{line}" if line else file.name},
        )
    return DataError(text.splitlines()[0], where={"file": file.name})


def _line_of_bad_bytes(file: FoundFile) -> str:
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return str(number)
    return ""


@dataclass
class ColumnProofs:
    """The columns of several files of one kind, in order of appearance, and what their values prove.

    Attributes:
        pinned: name to the type that the user wants.
        dropped: columns that are not wanted.
    """

    pinned: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    proofs: dict[str, TextProof] = field(default_factory=dict)

    def see(self, batch: pa.RecordBatch) -> None:
        """Takes the batch's columns and values into account."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in self.dropped:
                continue
            proof = self.proofs.setdefault(name, TextProof())
            if name not in self.pinned:
                proof.see(column)

    def schema(self, *, proved: bool = True) -> pa.Schema:
        """The columns with their types; text for all that is not pinned unless `proved`."""
        return pa.schema(
            field_of(name, self.pinned[name])
            if name in self.pinned
            else pa.field(name, proof.type if proved else pa.string())
            for name, proof in self.proofs.items()
        )


def typed_batch(
    batch: pa.RecordBatch, schema: pa.Schema, file: FoundFile, dropped: frozenset[str]
) -> pa.RecordBatch:
    """Columns of text as the schema wants them; columns that the file does not have are null.

    Raises:
        DataError: a value is none of its column's type, or the file has a column more.
    """
    strange = [name for name in batch.schema.names if name not in dropped and name not in schema.names]
    if strange:
        raise DataError(
            f"{file.name} has a new column: {', '.join(strange)}", hint="run again", where={"file": file.name}
        )
    arrays = []
    for column in schema:
        index = batch.schema.get_field_index(column.name)
        if index < 0:
            arrays.append(pa.nulls(batch.num_rows, column.type))
        else:
            where = {"file": file.name, "column": column.name}
            arrays.append(convert_texts(batch.column(index), column.type, where))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
