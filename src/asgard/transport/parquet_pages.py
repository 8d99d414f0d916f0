"""How much memory a Parquet file takes to read, as its headers tell, before anything is unpacked.

A page has to be held whole, and the footer does not tell how large it is: 4 kB of file can be 2 GiB of page.
Nor does it tell how wide rows are that only refer to a dictionary. Knows the encoding of page headers
(Thrift's compact protocol) as far as it takes to walk over them.

Reference: https://parquet.apache.org/docs/file-format/data-pages/
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from asgard.core.errors import DataError
from asgard.transport.files import FoundFile, opened

PAGE_COPIES = 3
"""How often a page is there while it is read: unpacked, decoded, and as a dictionary's rows (measured)."""
VALUE_COPIES = 8
"""How often a value is there from its reader to the lake's file: cast, encoded, packed (measured)."""

HEADER_BYTES = 1024
MOST_HEADER_BYTES = 16 << 20
"""Headers carry the least and greatest value of their page; Arrow reads none that is longer."""
DEEPEST = 16

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = 5, 6, 7, 8
"""The fields of a page header that say what sort of page it is."""


@dataclass(frozen=True)
class Page:
    """One page of a column chunk.

    Attributes:
        is_dictionary: it holds the different values of the chunk, to which others refer.
        values: how many are in it, nulls included.
        packed_bytes, unpacked_bytes: its size in the file and in memory, without its header.
    """

    is_dictionary: bool
    values: int
    packed_bytes: int
    unpacked_bytes: int


def encrypted(file: FoundFile) -> DataError:
    """The error for a file that cannot be read without keys."""
    hint = "write it without Parquet's encryption"
    return DataError(f"{file.name} is encrypted", hint=hint, where={"file": file.name})


def row_bytes(file: FoundFile, footer: Any, group_number: int, reader_bytes: int) -> int:
    """About how wide the rows of a row group are in memory, by the file's footer (`pq.FileMetaData`).

    Raises:
        DataError: a page or value is too large to be held in `reader_bytes` (Promise 5), or it is damaged.
    """
    group = footer.row_group(group_number)
    with opened(file) as stream:
        _refuse_what_arrow_dies_of(stream, file, footer, group)
        columns = (group.column(number) for number in range(group.num_columns))
        try:
            return int(sum(_width(stream, column, group.num_rows, reader_bytes) for column in columns))
        except _TooLarge as error:
            page, column = error.args
            times = -(-_held(page) // reader_bytes)
            raise DataError(
                f"{file.name} has a page of {page.values} values, {page.unpacked_bytes:,} bytes unpacked, "
                "that has to be held whole: that is more than one reader may hold",
                hint=f"allow it with {times} times the memory (`memory:` in asgard.yml or --memory) or fewer "
                "readers at a time (`parallel:`), or write the file with smaller pages",
                where={"file": file.name, "column": column},
            ) from error
        except ValueError as error:
            raise DataError(
                f"{file.name} is damaged: {error}", hint="fetch it again", where={"file": file.name}
            ) from error


def _refuse_what_arrow_dies_of(stream: IO[bytes], file: FoundFile, footer: Any, group: Any) -> None:
    """To ask for a column's metadata ends the whole process where it is encrypted, or not in the schema."""
    stream.seek(-8, io.SEEK_END)
    footer_bytes = int.from_bytes(stream.read(4), "little")
    if footer_bytes > footer.serialized_size:  # it is signed, as footers are whose columns are encrypted
        raise encrypted(file)
    if group.num_columns != footer.num_columns:
        raise DataError(
            f"{file.name} is damaged: {group.num_columns} columns where there should be {footer.num_columns}",
            hint="fetch it again",
            where={"file": file.name},
        )


class _TooLarge(Exception):
    """A page and its column."""


def _held(page: Page) -> int:
    return PAGE_COPIES * page.unpacked_bytes + VALUE_COPIES * page.unpacked_bytes // max(page.values, 1)


def _width(stream: IO[bytes], chunk: Any, rows: int, reader_bytes: int) -> float:
    unpacked, values = int(chunk.total_uncompressed_size), int(chunk.num_values)
    if not values:
        return 0.0
    width = unpacked / rows
    # It fits even if it is one page of one value: nothing to look for.
    fits = (PAGE_COPIES + VALUE_COPIES) * unpacked <= reader_bytes
    refers = chunk.has_dictionary_page and chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
    if fits and not refers:
        return width
    for page in pages(stream, chunk):
        if _held(page) > reader_bytes:
            raise _TooLarge(page, chunk.path_in_schema)
        if page.is_dictionary:
            width = max(width, page.unpacked_bytes / max(page.values, 1) * values / rows)
        if fits:
            break  # a dictionary is the first page
    return width


def pages(file: IO[bytes], chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk (`pq.ColumnChunkMetaData`), in their order; one read each.

    Raises:
        ValueError: the file is damaged there.
    """
    place = chunk.data_page_offset
    if chunk.dictionary_page_offset:  # some writers give 0 for none
        place = min(place, chunk.dictionary_page_offset)
    end = place + chunk.total_compressed_size
    while place < end:
        page, header_bytes = _page_at(file, place)
        yield page
        place += header_bytes + page.packed_bytes


def _page_at(file: IO[bytes], place: int) -> tuple[Page, int]:
    size = HEADER_BYTES
    while True:
        file.seek(place)
        read = file.read(size)
        try:
            header = _Compact(read)
            fields = header.struct()
            break
        except EOFError as error:
            if len(read) < size or size >= MOST_HEADER_BYTES:
                raise ValueError(f"no page header at {place}") from error
            size *= 4
    kind = next((field for field in (_DATA, _INDEX, _DICTIONARY, _DATA_V2) if field in fields), 0)
    about = fields.get(kind)
    numbers = [about.get(1, 0) if isinstance(about, dict) else None, fields.get(3), fields.get(2)]
    values, packed, unpacked = (number if isinstance(number, int) else -1 for number in numbers)
    if min(values, packed, unpacked) < 0:
        raise ValueError(f"no page header at {place}")
    page = Page(kind == _DICTIONARY, values, packed, unpacked)
    return page, header.at


class _Compact:
    """Values in Thrift's compact protocol; integers and structs are kept, the rest is passed over."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a struct by their ids.

        Raises:
            EOFError: it goes on behind the end.
            ValueError: it is none.
        """
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        fields: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            field = field + step if step else self._integer()
            fields[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_TRUE, _FALSE, _BYTE):
            self._skip(1)
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind == _BINARY:
            self._skip(self._unsigned())
        elif kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(self._unsigned() if head >> 4 == 15 else head >> 4):
                self._value(head & 0x0F, depth + 1)
        else:  # maps occur in no page header
            raise ValueError(f"no value of kind {kind} in a page header")
        return None

    def _integer(self) -> int:
        zigzag = self._unsigned()
        return (zigzag >> 1) ^ -(zigzag & 1)

    def _unsigned(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 0x80:
            found |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return found | byte << shift

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self.at - 1]

    def _skip(self, count: int) -> None:
        if self.at + count > len(self._content):
            raise EOFError
        self.at += count
