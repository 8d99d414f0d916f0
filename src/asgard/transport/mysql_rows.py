"""Rows of MySQL in bulk, taken apart column by column, not cell by cell.

A query is prepared, so that its rows come in the binary protocol: numbers and times as they are, the others
as bytes. Where the server cannot prepare it, or a text is wanted that the binary protocol does not have, rows
come as text. Either way numpy finds where the cells are: of the first column in all rows, then of the next
one, and so on. No Python object is made for any (docs/decisions/0090, 0174).

Every row must end where its last cell does: a line that lost bytes fails, and never gives other values.

Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
Reference: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase_ps.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asgard.transport.mysql import Connection, broken, translated
from asgard.transport.mysql_binary import FIXED, MOMENTS, fixed, moments
from asgard.transport.mysql_packets import Packets

if TYPE_CHECKING:
    from pymysql.connections import Connection as Raw
    from pymysql.connections import FieldDescriptorPacket, MySQLResult

    from asgard.transport.mysql_packets import Bytes, Piece, Places

PREPARE, EXECUTE, CLOSE = 0x16, 0x17, 0x19
NULL, TWO_BYTES, THREE_BYTES, EIGHT_BYTES = 251, 252, 253, 254
BYTES_TYPES = frozenset({0, 15, 16, 242, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255})
"""The protocol's numbers of types whose cells are the same bytes in both protocols."""


def stream(
    connection: Connection, sql: str, wanted_bytes: Callable[[], int], as_text: Sequence[bool]
) -> Iterator[list[pa.Array]]:
    """The rows of a query as they come: for each piece one array for each column.

    An array is `binary` and holds what the server writes for each cell, or it holds numbers, dates, or
    timestamps without a zone. Which of them may differ from piece to piece.

    The connection can be used again when all has been read; after anything else it must be closed.

    Args:
        wanted_bytes: about how many bytes a piece may have; asked before each. A larger row comes whole.
        as_text: for each column whether it must come as the server's own text.

    Raises:
        Unreachable: the connection broke off, or what it brings is no answer of MySQL's.
        AsgardError: the server ended the query with an error.
    """
    with translated(connection):
        statement = _prepared(connection.raw, sql, as_text)
        result = _asked(connection.raw, sql, statement)
        reader = Packets(connection)
    taken_apart = _text_columns if statement is None else _binary_columns
    try:
        while not reader.over:
            piece = reader.piece(wanted_bytes())
            if len(piece.starts):
                yield taken_apart(connection, piece, result.fields)
    finally:
        # Whatever is left on the line is not to be waited for by the driver.
        result.unbuffered_active = False
        result.connection = None
        if not reader.over:
            connection.break_off()
    if statement is not None:
        with translated(connection):
            _close(connection.raw, statement)


# ---- asking


def _prepared(raw: Raw[Any], sql: str, as_text: Sequence[bool]) -> int | None:
    """The number of the prepared query; None where its rows are to come as text."""
    from pymysql.connections import FieldDescriptorPacket
    from pymysql.err import MySQLError

    try:
        raw._execute_command(PREPARE, sql)
        answer = raw._read_packet()
    except MySQLError as error:
        if not error.args or error.args[0] in (0, None) or 2000 <= error.args[0] < 3000:
            raise  # the line broke
        return None  # asked plainly, the server says the same again, or does without
    statement, columns, parameters = struct.unpack_from("<IHH", answer.get_all_data(), 1)
    fields = []
    for count, kept in ((parameters, False), (columns, True)):
        for _ in range(count):
            described = raw._read_packet(FieldDescriptorPacket)
            if kept:
                fields.append(described)
        if count:
            raw._read_packet()
    # A stray `?` would be a parameter: as plain SQL it is the mistake that it is.
    wanted = zip(fields, as_text, strict=True)
    if not parameters and all(_is_told(field, text) for field, text in wanted):
        return int(statement)
    _close(raw, statement)
    return None


def _is_told(field: FieldDescriptorPacket, as_text: bool) -> bool:
    """Whether the binary protocol has the column as it is wanted."""
    known = field.type_code in FIXED or field.type_code in MOMENTS
    return field.type_code in BYTES_TYPES or (known and not as_text)


def _asked(raw: Raw[Any], sql: str, statement: int | None) -> MySQLResult:
    """The query's result, whose columns are described and whose rows are still on the line."""
    from pymysql.connections import MySQLResult
    from pymysql.constants.COMMAND import COM_QUERY

    if statement is None:
        raw._execute_command(COM_QUERY, sql)
    else:
        raw._execute_command(EXECUTE, struct.pack("<IBI", statement, 0, 1))
    result: Any = MySQLResult(raw)
    result.init_unbuffered_query()
    return result


def _close(raw: Raw[Any], statement: int) -> None:
    raw._execute_command(CLOSE, struct.pack("<I", statement))


# ---- taking apart


def _text_columns(
    connection: Connection, piece: Piece, fields: Sequence[FieldDescriptorPacket]
) -> list[pa.Array]:
    """The cells of rows, column by column, as the server writes them."""
    place = piece.starts
    arrays = []
    for _ in fields:
        if (place >= piece.ends).any():
            raise broken(connection.server, "a row ends before its last column")
        first = piece.content[place]
        null = first == NULL
        array, place = _cells(piece, place, first, null if null.any() else None)
        _refuse_past_end(connection, place, piece)
        arrays.append(array)
    if (place != piece.ends).any():
        raise broken(connection.server, "a row goes on behind its last column")
    return arrays


def _binary_columns(
    connection: Connection, piece: Piece, fields: Sequence[FieldDescriptorPacket]
) -> list[pa.Array]:
    """The cells of rows, column by column: numbers and times as such, others as bytes."""
    nulls_bytes = (len(fields) + 9) // 8
    place = piece.starts + 1 + nulls_bytes
    _refuse_past_end(connection, place, piece)
    if piece.content[piece.starts].any():
        raise broken(connection.server, "a row does not begin as one")
    arrays = []
    for number, field in enumerate(fields):
        flags = piece.content[piece.starts + 1 + (number + 2) // 8]
        null = (flags >> ((number + 2) % 8) & 1).astype(bool) if flags.any() else None
        if null is not None and not null.any():
            null = None
        if field.type_code in FIXED:
            array, place = fixed(piece, place, field, null)
        elif field.type_code in MOMENTS:
            array, place = moments(piece, place, field, null)
        elif field.type_code in BYTES_TYPES:
            first = piece.content[place]
            array, place = _cells(piece, place, first, null, null_has_mark=False)
        else:
            raise broken(connection.server, f"a column of the unknown type {field.type_code}")
        _refuse_past_end(connection, place, piece)
        arrays.append(array)
    if (place != piece.ends).any():
        raise broken(connection.server, "a row goes on behind its last column")
    return arrays


def _refuse_past_end(connection: Connection, place: Places, piece: Piece) -> None:
    if (place > piece.ends).any():
        raise broken(connection.server, "a value goes on behind its row")


def _cells(
    piece: Piece, place: Places, first: Bytes, null: Any, *, null_has_mark: bool = True
) -> tuple[pa.Array, Places]:
    """Cells of bytes behind their lengths, and the places behind them.

    Args:
        first: the first byte of each length.
        null: which are null; None where none is.
        null_has_mark: whether a null cell has a byte in the row.
    """
    import numpy as np

    length = first.astype(np.int64)
    start = place + 1
    if null is not None:
        length[null] = 0
        if not null_has_mark:
            start[null] -= 1
    if (first > NULL).any():
        for mark, width in ((TWO_BYTES, 2), (THREE_BYTES, 3), (EIGHT_BYTES, 8)):
            marked = first == mark if null is None else (first == mark) & ~null
            rows = np.flatnonzero(marked)
            if len(rows):
                length[rows] = sum(
                    piece.content[place[rows] + 1 + i].astype(np.int64) << (8 * i) for i in range(width)
                )
                start[rows] += width
    end = start + length
    if (end > len(piece.content)).any() or (length < 0).any():
        return pa.nulls(len(end), pa.binary()), np.full_like(end, len(piece.content) + 1)
    return _between(piece.content, start, end, null), end


def _between(content: Bytes, start: Places, end: Places, null: Any) -> pa.Array:
    """Copies of what lies between places of the content."""
    import numpy as np

    rows = len(start)
    # All bytes are one array whose elements are by turns a cell, and what lies before the next one.
    offsets = np.empty((rows, 2), np.int32)
    offsets[:, 0] = start
    offsets[:, 1] = end
    turns = pa.Array.from_buffers(
        pa.binary(), 2 * rows - 1, [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    )
    every_other = pa.py_buffer(np.arange(rows, dtype=np.int32) * 2)
    cells = turns.take(pa.Array.from_buffers(pa.int32(), rows, [None, every_other]))
    if null is None:
        return cells
    valid = pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(), rows, [valid, *cells.buffers()[1:]])
