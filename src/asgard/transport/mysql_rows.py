"""Rows of MySQL in bulk: the text protocol's packets, taken apart column by column, not cell by cell.

The driver sends the query and reads the description of its columns; from there on the packets are read in
large pieces, and numpy finds where in them the cells are: first of all rows, then of the next column, and so
on. Arrow's string views point at the cells; no Python object is made for any. What comes is every cell's own
bytes, unbent (docs/decisions/0090).

Every packet's number is looked at, and every row must end where its last cell does: a line that lost bytes
fails, and never gives other values.

Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
Reference: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asgard.core.errors import AsgardError, Unreachable
from asgard.transport.mysql import Connection, broken, translated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Places = npt.NDArray[np.int64]

HEADER_BYTES = 4
WHOLE_PACKET = 0xFFFFFF
"""A packet of this size goes on in the next one."""
NULL, TWO_BYTES, THREE_BYTES, EIGHT_BYTES = 251, 252, 253, 254
END, ERROR = 0xFE, 0xFF
READ_AHEAD_BYTES = 1 << 15
"""More than the driver's file ever holds, and less than the buffer has room for."""
INLINE_BYTES = 12
"""A view holds so many bytes itself; longer ones lie in the buffer."""


def stream(connection: Connection, sql: str, wanted_bytes: Callable[[], int]) -> Iterator[list[pa.Array]]:
    """The rows of a query as they come: for each piece one array of binary views for each column.

    The connection can be used again when all has been read; after anything else it must be closed.

    Args:
        wanted_bytes: about how many bytes a piece may have; asked before each. A larger row comes whole.

    Raises:
        Unreachable: the connection broke off, or what it brings is no answer of MySQL's.
        AsgardError: the server ended the query with an error.
    """
    from pymysql.cursors import SSCursor

    with translated(connection):
        cursor = SSCursor(connection.raw)
        cursor.execute(sql)
        result: Any = cursor._result
        reader = _Packets(connection)
    try:
        while not reader.over:
            buffer, starts, ends = reader.piece(wanted_bytes())
            if len(starts):
                yield _columns(connection, (buffer, starts, ends), result.field_count)
    finally:
        # Whatever is left on the line is not to be waited for by the driver.
        result.unbuffered_active = False
        result.connection = None
        if not reader.over:
            connection.break_off()


class _Packets:
    """The packets of one result, from where its rows begin."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        raw: Any = connection.raw
        self._file = raw._rfile
        raw._sock.settimeout(connection.server.read_timeout_seconds)
        self._number = raw._next_seq_id
        self._buffer = bytearray(1 << 16)
        self._held = 0
        self._read_ahead = True
        self.over = False

    def piece(self, wanted_bytes: int) -> tuple[Bytes, Places, Places]:
        """Whole rows of about so many bytes, with the places of their contents; fewer at the end."""
        import numpy as np

        starts: list[int] = []
        ends: list[int] = []
        place = 0
        while True:
            place = self._scan(place, starts, ends)
            if self.over or (starts and place >= wanted_bytes):
                break
            self._fill(max(wanted_bytes, self._needed(place)))
        taken = np.frombuffer(bytes(self._buffer[:place]), np.uint8)
        rest = self._held - place
        self._buffer[:rest] = self._buffer[place : self._held]
        self._held = rest
        return taken, np.array(starts, np.int64), np.array(ends, np.int64)

    def _scan(self, place: int, starts: list[int], ends: list[int]) -> int:
        """Notes the whole packets from here on; gives the place behind them."""
        buffer, unpack = self._buffer, struct.Struct("<I").unpack_from
        number, last = self._number, self._held - HEADER_BYTES
        while place <= last:
            header = unpack(buffer, place)[0]
            size = header & WHOLE_PACKET
            after = place + HEADER_BYTES + size
            if after > self._held:
                break
            if header >> 24 != number:
                if header >> 24 == 0 and buffer[place + HEADER_BYTES] == ERROR:
                    raise self._failed(place, size)  # a server that shuts down counts anew
                raise broken(self._connection.server, "packets are missing")
            if size == WHOLE_PACKET:
                self._number = number
                if not self._joined(place):
                    break
                starts.append(place + HEADER_BYTES)
                place = self._joined_end
                ends.append(place)
                number = self._number
                last = self._held - HEADER_BYTES
                continue
            number = (number + 1) & 0xFF
            first = buffer[place + HEADER_BYTES]
            if first == ERROR:
                raise self._failed(place, size)
            if first == END and size < 9:
                self.over = True
                if self._held != after:
                    raise broken(self._connection.server, "there is more than one answer")
                self._held = place
                break
            starts.append(place + HEADER_BYTES)
            ends.append(after)
            place = after
        self._number = number
        return place

    def _joined(self, place: int) -> bool:
        """Makes one row of packets that go on in each other, if all of them are there."""
        parts = []
        at, number = place, self._number
        while True:
            if at + HEADER_BYTES > self._held:
                return False
            size = int.from_bytes(self._buffer[at : at + 3], "little")
            if at + HEADER_BYTES + size > self._held:
                return False
            if self._buffer[at + 3] != number:
                raise broken(self._connection.server, "packets are missing")
            number = (number + 1) & 0xFF
            parts.append((at, size))
            at += HEADER_BYTES + size
            if size < WHOLE_PACKET:
                break
        for start, _ in reversed(parts[1:]):
            del self._buffer[start : start + HEADER_BYTES]
        removed = HEADER_BYTES * (len(parts) - 1)
        self._held -= removed
        self._joined_end = at - removed
        self._number = number
        return True

    def _needed(self, place: int) -> int:
        """How many bytes the buffer must hold for the packet that begins here."""
        if place + 3 > self._held:
            return place + HEADER_BYTES
        size = int.from_bytes(self._buffer[place : place + 3], "little")
        if size == WHOLE_PACKET:  # nobody says how many follow
            return max(self._held + (1 << 20), place + 2 * HEADER_BYTES + size)
        return place + HEADER_BYTES + size

    def _fill(self, needed_bytes: int) -> None:
        if needed_bytes > len(self._buffer):
            self._buffer.extend(bytes(needed_bytes - len(self._buffer)))
        elif self._held == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        try:
            with memoryview(self._buffer) as whole, whole[self._held :] as space:
                if self._read_ahead:  # what the driver's file holds; from then on past it
                    ahead = self._file.read1(min(len(space), READ_AHEAD_BYTES))
                    count = len(ahead)
                    space[:count] = ahead
                    self._read_ahead = False
                else:
                    count = self._file.raw.readinto(space)
        except (OSError, ValueError) as error:
            raise broken(self._connection.server, error) from None
        if not count:
            raise broken(self._connection.server, "the server closed it")
        self._held += count

    def _failed(self, place: int, size: int) -> AsgardError:
        """The error that the server ends the query with."""
        from pymysql.err import raise_mysql_exception

        start = place + HEADER_BYTES
        self.over = True
        try:
            with translated(self._connection):
                raise_mysql_exception(bytes(self._buffer[start : start + size]))
        except AsgardError as error:
            return error
        return Unreachable("the server ended the query", hint="try again")


def _columns(connection: Connection, piece: tuple[Bytes, Places, Places], count: int) -> list[pa.Array]:
    """The cells of rows, column by column."""
    import numpy as np

    content, place, ends = piece
    # What is looked at behind a cell is never used, but must be there.
    padded = np.concatenate([content, np.zeros(INLINE_BYTES + 9, np.uint8)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, INLINE_BYTES)
    buffer = pa.py_buffer(content)
    arrays = []
    for _ in range(count):
        if (place >= ends).any():
            raise broken(connection.server, "a row ends before its last column")
        length, start, null = _cells(padded, place)
        place = start + length
        if (place > ends).any():
            raise broken(connection.server, "a value goes on behind its row")
        arrays.append(_views(windows, buffer, (length, start, null)))
    if (place != ends).any():
        raise broken(connection.server, "a row goes on behind its last column")
    return arrays


def _cells(padded: Bytes, place: Places) -> tuple[Places, Places, Bytes]:
    """Length and start of the cells whose prefixes are here, and which of them are null."""
    import numpy as np

    first = padded[place]
    length = first.astype(np.int64)
    start = place + 1
    null = first == NULL
    if (first >= NULL).any():
        length[null] = 0
        for mark, width in ((TWO_BYTES, 2), (THREE_BYTES, 3), (EIGHT_BYTES, 8)):
            rows = np.flatnonzero(first == mark)
            if len(rows):
                length[rows] = sum(
                    padded[place[rows] + 1 + i].astype(np.int64) << (8 * i) for i in range(width)
                )
                start[rows] += width
    return length, start, null


def _views(windows: Bytes, buffer: pa.Buffer, cells: tuple[Places, Places, Bytes]) -> pa.Array:
    import numpy as np

    length, start, null = cells
    views = np.empty((len(length), 4), np.uint32)
    views[:, 0] = length
    words = windows[start].view(np.uint32)
    # A short cell lies in its view, followed by zeros; a long one's view has its first bytes and its place.
    views[:, 1:] = words & _masks()[np.minimum(length, INLINE_BYTES)]
    long = np.flatnonzero(length > INLINE_BYTES)
    if len(long):
        views[long, 2] = 0
        views[long, 3] = start[long]
    valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
    return pa.Array.from_buffers(pa.binary_view(), len(length), [valid, pa.py_buffer(views), buffer])


def _masks() -> npt.NDArray[np.uint32]:
    """For each length of a short cell the bits of its words that belong to it."""
    import numpy as np

    lengths = np.arange(INLINE_BYTES + 1)[:, None]
    kept = np.where(np.arange(INLINE_BYTES)[None, :] < lengths, 0xFF, 0).astype(np.uint8)
    return kept.view(np.uint32)


def as_strings(array: pa.Array) -> pa.Array:
    """Binary views taken for text without a look; for what the server itself writes in ASCII."""
    return pa.Array.from_buffers(
        pa.string_view(), len(array), array.buffers(), array.null_count, array.offset
    )
