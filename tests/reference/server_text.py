"""What PostgreSQL itself writes for each value, and what the lake's values look like written so."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from psycopg import Connection, sql

import asgard

Rows = Counter[tuple[str | None, ...]]

ARRAYS = """
SELECT a.attname, t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


def server_rows(connection: Connection[Any], relation: str) -> tuple[list[str], Rows]:
    """The columns of a table or view, and its rows as the server's text; arrays as its JSON."""
    connection.execute("SET TimeZone = 'UTC'")
    columns = connection.execute(ARRAYS, (relation,)).fetchall()
    wanted = [
        sql.SQL("array_to_json({})::text" if is_array else "CAST({} AS text)").format(sql.Identifier(name))
        for name, is_array in columns
    ]
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(wanted), sql.SQL(relation))
    arrays = [is_array for _, is_array in columns]
    rows: Rows = Counter()
    for row in connection.execute(query):
        rows[tuple(_squeezed(v) if is_array else v for v, is_array in zip(row, arrays, strict=True))] += 1
    return [name for name, _ in columns], rows


def _squeezed(text: str | None) -> str | None:
    return None if text is None else json.dumps(json.loads(text))


def lake_rows(opened: asgard.Project, table: str) -> tuple[list[str], Rows]:
    """The source's names of a lake table's columns, and its rows as PostgreSQL would write them."""
    data = opened.table(table, backend="arrow")
    fields = [field for field in data.schema if b"asgard.name" in (field.metadata or {})]
    columns = [_written_column(data[field.name]) for field in fields]
    names = [field.metadata[b"asgard.name"].decode() for field in fields]
    return names, Counter(zip(*columns, strict=True))


def _written_column(column: pa.ChunkedArray) -> list[str | None]:
    if column.type == pa.float32():  # Python would show the digits of a double
        return [text and text.removesuffix(".0") for text in column.cast(pa.string()).to_pylist()]
    return [written(value) for value in column.to_pylist()]


def written(value: Any) -> str | None:
    """A value as PostgreSQL's text of it, in the zone UTC."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value).removesuffix(".0")
        case Decimal():
            return format(value, "f")
        case bytes():
            return "\\x" + value.hex()
        case datetime():
            text = value.strftime("%Y-%m-%d %H:%M:%S")
            text += f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
            return text + ("+00" if value.tzinfo else "")
        case date():
            return value.isoformat()
        case list():
            return json.dumps(value)
        case _:
            return str(value)
