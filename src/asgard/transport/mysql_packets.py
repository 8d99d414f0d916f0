"""The packets of one result of MySQL's, read in large pieces: where in the bytes its rows are.

The driver sends the query and reads the description of its columns; from there on its file is read past it.
Every packet's number is looked at: a line that lost bytes fails, and never gives other values.

Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
END, ERROR = 0xFE, 0xFF
LEAST_BYTES = 1 << 16
READ_AHEAD_BYTES = 1 << 15
"""More than the driver's file ever holds, and less than the buffer has room for."""
PADDING_BYTES = 64
"""What may be looked at behind the last row; it is never used, but must be there."""


@dataclass(frozen=True)
class Piece:
    """Whole rows: the bytes, with padding behind them, and where in them each row begins and ends."""

    content: Bytes
    starts: Places
    ends: Places


class Packets:
    """The packets of one result, from where its rows begin."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        raw: Any = connection.raw
        self._file = raw._rfile
        raw._sock.settimeout(connection.server.read_timeout_seconds)
        self._number = raw._next_seq_id
        self._buffer = bytearray(LEAST_BYTES)
        self._held = 0
        self._read_ahead = True
        self.over = False

    def piece(self, wanted_bytes: int) -> Piece:
        """Whole rows of about so many bytes; fewer at the end."""
        import numpy as np

        rows: list[Places] = []
        place = 0
        while True:
            place = self._plain(place, rows)
            place = self._scan(place, rows)
            if self.over or (rows and (place >= wanted_bytes or self._held >= self._room)):
                break
            self._fill(max(wanted_bytes, self._needed(place)))
        taken, self._buffer = self._buffer, bytearray(max(LEAST_BYTES, wanted_bytes) + PADDING_BYTES)
        rest = self._held - place
        if rest > self._room:
            self._buffer.extend(bytes(rest))
        self._buffer[:rest] = memoryview(taken)[place : self._held]
        self._held = rest
        found = np.concatenate([np.empty((0, 2), np.int64), *rows])
        return Piece(np.frombuffer(taken, np.uint8), found[:, 0].copy(), found[:, 1].copy())

    @property
    def _room(self) -> int:
        return len(self._buffer) - PADDING_BYTES

    def _plain(self, place: int, rows: list[Places]) -> int:
        """Notes the plain rows from here on; gives the place of the first packet that is none, or not whole.

        The shortest loop finds them; what it must not pass over is looked for in all of them at once.
        """
        import numpy as np

        buffer, unpack = self._buffer, struct.Struct("<I").unpack_from
        last = self._held - HEADER_BYTES
        places = array("q", [place])
        add = places.append
        while place <= last:
            place += HEADER_BYTES + (unpack(buffer, place)[0] & WHOLE_PACKET)
            add(place)
        if place > self._held:
            places.pop()
        found = np.frombuffer(places, np.int64)
        starts = found[:-1] + HEADER_BYTES
        if not len(starts):
            return places[0]
        headers = np.ndarray((len(buffer) - 3,), "<u4", buffer, strides=(1,))[found[:-1]]
        sizes = headers & WHOLE_PACKET
        first = np.frombuffer(buffer, np.uint8)[starts]
        due = (self._number + np.arange(len(headers))) & 0xFF
        odd = (sizes == 0) | (sizes == WHOLE_PACKET) | (headers >> 24 != due)
        odd |= (first == ERROR) | ((first == END) & (sizes < 9))
        count = int(odd.argmax()) if odd.any() else len(starts)
        if count:
            rows.append(np.column_stack([starts[:count], found[1 : count + 1]]))
        self._number = (self._number + count) & 0xFF
        return places[count]

    def _scan(self, place: int, rows: list[Places]) -> int:
        """Notes the whole packets from here on, whatever they are; gives the place behind them."""
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
                rows.append(_row(place, self._joined_end))
                place = self._joined_end
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
            rows.append(_row(place, after))
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
        if needed_bytes > self._room:
            self._buffer.extend(bytes(needed_bytes - self._room))
        elif self._held == self._room:
            self._buffer.extend(bytes(len(self._buffer)))
        try:
            with memoryview(self._buffer) as whole, whole[self._held : self._room] as space:
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


def _row(place: int, end: int) -> Places:
    import numpy as np

    return np.array([[place + HEADER_BYTES, end]], np.int64)
