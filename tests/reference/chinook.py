"""Chinook, the shop of albums: what it holds in its declared types, and what a lake's tables hold in these.

The truth is the SQLite file as the standard library reads it: the text of every value, put into the type that
the table declares. The scripts for PostgreSQL and MySQL were written apart from it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

import asgard
from asgard.core.types import is_metadata_column

Shop = Mapping[str, pa.Table]
"""Table to its rows, as the shop calls both."""

TABLES = 11
FOLDER = Path("sampledb") / "chinook"
INTEGER, TEXT, MOMENT, MONEY = pa.int32(), pa.string(), pa.timestamp("us"), pa.decimal128(10, 2)
DECLARED = {"INTEGER": INTEGER, "NVARCHAR": TEXT, "DATETIME": MOMENT, "NUMERIC(10,2)": MONEY}
PARSED: Mapping[pa.DataType, Callable[[str], Any]] = {
    INTEGER: int,
    TEXT: str,
    MOMENT: lambda text: datetime.fromisoformat(text).replace(tzinfo=None),
    MONEY: Decimal,  # Arrow refuses digits that the scale has no place for
}


def shop(reference: Path) -> Shop:
    """All tables out of the SQLite file, without Asgard."""
    file = reference / FOLDER / "Chinook_Sqlite.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: _table(database, name) for name in names}


def _table(database: sqlite3.Connection, name: str) -> pa.Table:
    declared = [(column, word) for _, column, word, *_ in database.execute(f'PRAGMA table_info("{name}")')]
    wanted = ", ".join(f'CAST("{column}" AS text)' for column, _ in declared)
    rows = database.execute(f'SELECT {wanted} FROM "{name}"').fetchall()
    types = [DECLARED[re.sub(r"^(NVARCHAR)\(.*", r"\1", word)] for _, word in declared]
    arrays = [_parsed(texts, type) for texts, type in zip(zip(*rows, strict=True), types, strict=True)]
    return pa.table(arrays, names=[column for column, _ in declared])


def _parsed(texts: Iterable[str | None], type: pa.DataType) -> pa.Array:
    return pa.array([None if text is None else PARSED[type](text) for text in texts], type)


def script(reference: Path, file: str, begin: str) -> str:
    """The statements of a script behind the one that enters its database, which tests give other names.

    N'...' is written '...': PostgreSQL takes it for char(n), and drops the spaces at its end ('Edinburgh ').
    """
    text = (reference / FOLDER / file).read_text()
    return re.sub(r"N?('(?:[^']|'')*')", r"\1", text.split(begin)[1])


def twins(opened: asgard.Project, wanted: Shop) -> Iterator[tuple[str, pa.Table]]:
    """Every table of the shop and its twin in the lake, whose columns have the shop's names.

    PostgreSQL's are named `invoice_line` and `unit_price`, and hold as many as the shop's.
    """
    plain = {_plain(name.removeprefix("bronze.s.")): name for name in opened.tables()}
    assert sorted(plain) == sorted(_plain(name) for name in wanted)
    for name, truth in wanted.items():
        data = opened.table(plain[_plain(name)], backend="arrow")
        own = {_plain(field.name): field.name for field in data.schema if not _is_added(field.name)}
        assert sorted(own) == sorted(_plain(column) for column in truth.column_names), name
        yield (
            name,
            data.select([own[_plain(c)] for c in truth.column_names]).rename_columns(truth.column_names),
        )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _is_added(name: str) -> bool:
    """Whether the shop has no such column: Asgard's own, and the key that MongoDB gives each document."""
    return is_metadata_column(name) or name in ("_id", "_rescued")


def as_declared(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in the declared types, each value by its exact text: nothing is rounded or trimmed."""
    columns = {
        field.name: _parsed([_text(value) for value in data[field.name].to_pylist()], field.type)
        for field in schema
    }
    return pa.table(columns, schema=schema)


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case int() | str() | Decimal():
            return str(value)
        case float():
            return repr(value)  # the shortest digits that make this double: 0.99
        case datetime():
            assert not value.utcoffset()  # without a zone, or an instant of UTC
            return value.isoformat()
        case _:
            raise AssertionError(f"{value!r} has no text in Chinook")
