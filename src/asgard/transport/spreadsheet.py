"""Excel and OpenDocument sheets: a header, rows below it, and the types that all cells of a column have.

A spreadsheet's numbers are doubles. Where all of a column are whole, they are int64; dates are exact. Cells
of several types in one column become text, labelled `mixed`. An empty text cannot be told from an empty cell:
both are null. A formula counts as the value that was saved with it; cells with errors (#N/A) are refused in
.xlsx and .xlsm, where they can be told from empty ones. Of merged cells the first has the value. A sheet is
held in memory: at most 1,048,576 rows.

Reference: https://learn.microsoft.com/en-us/openspecs/office_standards/ms-xlsx/, https://docs.rs/calamine
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any
from xml.etree import ElementTree

import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, DataError, QueryError
from asgard.transport.column_types import unique_names
from asgard.transport.files import FoundFile, refuse_changed, translated
from asgard.transport.text_proof import convert_texts, misfit

BATCH_ROWS = 4096
EXACT_INTEGER = 1 << 53
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_ERROR_CELL = re.compile(rb'<c\b(?=[^>]*\bt="e")[^>]*?\br="([A-Z]+[0-9]+)"')
_TYPES: dict[frozenset[type], pa.DataType] = {
    frozenset({str}): pa.string(),
    frozenset({bool}): pa.bool_(),
    frozenset({datetime.date}): pa.date32(),
    frozenset({datetime.datetime}): pa.timestamp("us"),
    frozenset({datetime.date, datetime.datetime}): pa.timestamp("us"),  # midnight has no time of day
    frozenset({datetime.time}): pa.time64("us"),
    frozenset({datetime.timedelta}): pa.duration("us"),
}


@dataclass(frozen=True)
class Layout:
    """Where the table stands in a workbook.

    Attributes:
        sheet: its name, or its number counted from 1; None for the first.
        header: number of the row with the names, counted from 1 after `skip_rows`; 0 when there is none.
        errors_are_null: cells with errors count as empty.
    """

    sheet: str | int | None = None
    header: int = 1
    skip_rows: int = 0
    errors_are_null: bool = False


@contextmanager
def _opened(file: FoundFile) -> Iterator[CalamineWorkbook]:
    if file.compression:
        raise ConfigError(f"{file.name} is packed: unpack it", where={"file": file.name})
    with translated(file.name):
        refuse_changed(file)
        try:
            with file.place.content(file) as content, CalamineWorkbook.from_object(content) as opened:
                yield opened
        except PasswordError as error:
            raise DataError(
                f"{file.name} is locked with a password",
                hint="save it without one",
                where={"file": file.name},
            ) from error
        except CalamineError as error:
            raise DataError(
                f"{file.name} is no workbook, or is damaged: {error}",
                hint="save it again, or fetch it again",
                where={"file": file.name},
            ) from error


def sheet_names(file: FoundFile) -> list[str]:
    """The sheets of a workbook, in its order.

    Raises:
        DataError: it is damaged or locked.
    """
    with _opened(file) as workbook:
        return list(workbook.sheet_names)


@contextmanager
def _table(file: FoundFile, layout: Layout) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
    """The names in the header, and the rows behind it that are not empty."""
    with _opened(file) as workbook:
        name = _sheet_name(file, workbook.sheet_names, layout.sheet)
        if not layout.errors_are_null:
            _refuse_errors(file, name)
        sheet = workbook.get_sheet_by_name(name)
        rows = iter(sheet.iter_rows()) if sheet.height else iter(())
        for _ in range(layout.skip_rows + max(layout.header - 1, 0)):
            next(rows, None)
        filled = (row for row in rows if any(cell != "" for cell in row))
        if layout.header:
            written = [_text(cell) for cell in next(filled, [])]
        else:
            written = [None] * sheet.width
        yield unique_names(written), filled


def _sheet_name(file: FoundFile, names: Sequence[str], wanted: str | int | None) -> str:
    if wanted is None and names:
        return names[0]
    if isinstance(wanted, int) and 1 <= wanted <= len(names):
        return names[wanted - 1]
    if wanted in names:
        return str(wanted)
    raise QueryError(
        f"{file.name} has no sheet {wanted!r}", hint=f"it has: {', '.join(names)}", where={"file": file.name}
    )


def _refuse_errors(file: FoundFile, name: str) -> None:
    """Refuses cells such as #N/A, which would come out as empty ones."""
    with file.place.content(file) as content:
        if zipfile.is_zipfile(content):
            _look_for_errors(file, name, content)


def _look_for_errors(file: FoundFile, name: str, content: str | IO[bytes]) -> None:
    with zipfile.ZipFile(content) as package:
        part = _sheet_part(package, name)
        if part is None:
            return
        with package.open(part) as stream:
            before = b""
            for block in iter(lambda: stream.read(1 << 20), b""):
                if found := _ERROR_CELL.search(before + block):
                    raise DataError(
                        f"{file.name}, sheet {name}: cell {found[1].decode()} is an error",
                        hint="mend the formula, or set errors_are_null: true",
                        where={"file": file.name, "cell": found[1].decode()},
                    )
                before = block[-1024:]


def _sheet_part(package: zipfile.ZipFile, name: str) -> str | None:
    """The part of an Office package that holds a sheet; None for other kinds of packages."""
    if "xl/workbook.xml" not in package.namelist():
        return None
    links = {
        link.get("Id"): link.get("Target", "")
        for link in ElementTree.fromstring(package.read("xl/_rels/workbook.xml.rels"))
    }
    for sheet in ElementTree.fromstring(package.read("xl/workbook.xml")).iter(f"{_MAIN}sheet"):
        if sheet.get("name") == name:
            target = links.get(sheet.get(_LINK), "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            return part if part.endswith(".xml") and part in package.namelist() else None
    return None


def sheet_schema(files: Sequence[FoundFile], layout: Layout, cancel: Cancel) -> pa.Schema:
    """The columns of all workbooks together, by name; looks at every cell."""
    kinds: dict[str, set[type]] = {}
    for file in files:
        with _table(file, layout) as (names, rows):
            for name in names:
                kinds.setdefault(name, set())
            for row in rows:
                for name, cell in zip(names, row, strict=False):
                    if cell != "":
                        kinds[name].add(_kind(cell))
            cancel.check()
    return pa.schema(_field(name, frozenset(found)) for name, found in kinds.items())


def _kind(cell: Any) -> type:
    """The cell's type; int stands for a number that is whole and exactly what the double says."""
    if type(cell) is float and cell.is_integer() and abs(cell) <= EXACT_INTEGER:
        return int
    return type(cell)


def _field(name: str, kinds: frozenset[type]) -> pa.Field:
    if not kinds:
        return pa.field(name, pa.null())
    if kinds <= {int, float}:
        return pa.field(name, pa.int64() if kinds == {int} else pa.float64())
    if kinds in _TYPES:
        return pa.field(name, _TYPES[kinds])
    return pa.field(name, pa.string(), metadata={"asgard.type": "mixed"})


def read_sheet(
    file: FoundFile, layout: Layout, schema: pa.Schema, batch_bytes: int, cancel: Cancel
) -> Iterator[pa.RecordBatch]:
    """The rows of one workbook's sheet in the schema of its set.

    Raises:
        DataError: a cell is not of its column's type; names it.
    """
    with _table(file, layout) as (names, rows):
        places = [names.index(field.name) if field.name in names else None for field in schema]
        batch_rows = max(min(BATCH_ROWS, batch_bytes // (64 * max(len(schema), 1))), 1)
        while part := list(islice(rows, batch_rows)):
            cancel.check()
            arrays = []
            for place, field in zip(places, schema, strict=True):
                cells = [None if place is None or row[place] == "" else row[place] for row in part]
                arrays.append(_array(cells, field, {"file": file.name, "column": field.name}))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
    refuse_changed(file)


def _array(cells: list[Any], field: pa.Field, where: dict[str, str]) -> pa.Array:
    wanted = field.type
    kinds = {_kind(cell) for cell in cells if cell is not None}
    if pa.types.is_string(wanted):
        return pa.array([_text(cell) for cell in cells], wanted)
    if kinds == {int} and pa.types.is_integer(wanted):
        return _numbers([None if cell is None else int(cell) for cell in cells], wanted, where)
    if kinds <= {int, float} and pa.types.is_floating(wanted):
        return _numbers(cells, wanted, where)
    if pa.types.is_timestamp(wanted) and kinds <= {datetime.date, datetime.datetime}:
        return pa.array([_midnight(cell) if type(cell) is datetime.date else cell for cell in cells], wanted)
    if not kinds or _TYPES.get(frozenset(kinds)) == wanted:
        return pa.array(cells, wanted)
    if kinds <= {str, int, float} and not pa.types.is_boolean(wanted):
        return convert_texts(pa.array([_text(cell) for cell in cells], pa.string()), wanted, where)
    raise misfit(next(cell for cell in cells if cell is not None), wanted, where)


def _numbers(numbers: list[Any], wanted: pa.DataType, where: dict[str, str]) -> pa.Array:
    try:
        return pa.array(numbers, wanted)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise misfit(max((n for n in numbers if n is not None), key=abs), wanted, where) from error


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time())


def _text(cell: Any) -> str | None:
    """The cell as text: numbers in their shortest form, dates and times as ISO writes them."""
    if cell is None or isinstance(cell, str):
        return cell or None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if _kind(cell) is int else repr(cell)
    return cell.isoformat(" ") if isinstance(cell, datetime.datetime) else str(cell)
