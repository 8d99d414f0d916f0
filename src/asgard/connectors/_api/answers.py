"""From an answer to records: JSON or CSV, found in the document, objects lifted to columns.

Knows what an answer may look like; asks nobody anything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgard.connectors._api.paging import value_at
from asgard.core.errors import DataError, QueryError
from asgard.transport import json_text

Records = json_text.Records
LARGEST_CELL_BYTES = 16 << 20


@dataclass(frozen=True)
class Form:
    """How the answers of one list look.

    Attributes:
        name: of the stream, for errors.
        records: path of the list of records; None to find it.
        lift: objects of a record whose names become columns.
        errors: path of errors in an answer that is none.
        reading: keys of records as a manifest's reader wants them found, for parents.
    """

    name: str
    records: str | None = None
    format: str = "json"
    lift: tuple[str, ...] = ()
    errors: str | None = None


def document_of(content: bytes, form: Form) -> Any:
    """The document of an answer; an empty answer is an empty list.

    Raises:
        DataError: it is no JSON, or no CSV; with line and column.
        QueryError: it has errors where an answer that is none has them.
    """
    if not content.strip():
        return []
    if form.format == "csv":
        return _rows_of_csv(content, form.name)
    document = json_text.parse(content, form.name)
    wrong = value_at(document, form.errors) if form.errors else None
    if wrong:
        raise QueryError(
            f"the answer has errors: {json_text.dumps(wrong)[:400]}", hint="look at the query, path and body"
        )
    return document


def records_of(document: Any, form: Form, extra: Mapping[str, Any] | None = None) -> Records:
    """The records of a document, with columns of their parent's if it has one.

    Raises:
        QueryError: there is nothing at the path, or several lists could be meant.
        DataError: a column would come twice.
    """
    found = _listed(document, form)
    if form.lift:
        found = [_lifted(record, form) for record in found]
    if not extra:
        return found
    for record in found:
        if not isinstance(record, dict):
            raise DataError(f"a record of {form.name} is no object", hint="set records to the list's path")
        if twice := extra.keys() & record.keys():
            raise DataError(
                f"{sorted(twice)[0]!r} is a column of the records and of their parent",
                hint="give the parent's another name in parent.include",
            )
        record.update(extra)
    return found


def around_records(document: Any, form: Form) -> Sequence[Any]:
    """The objects in which the list of records lies, the innermost first, then the document itself."""
    path = form.records or _path_of_list(document)
    around = [document]
    for key in (path or "").split(".")[:-1]:
        inner = around[0].get(key) if isinstance(around[0], dict) else None
        if not isinstance(inner, dict):
            break
        around.insert(0, inner)
    return around


def _listed(document: Any, form: Form) -> Records:
    if form.records is None:
        found = json_text.found_records(document, form.name)
        # Of a GraphQL answer, what is under data is what was asked for, never a record: no list is no record.
        return [] if form.errors and found == [document] and not _has_records(document) else found
    found = json_text.at_path(document, form.records, form.name)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _has_records(document: Any) -> bool:
    """Whether there may be a record in it that is not in a list: no list is empty."""
    if isinstance(document, dict):
        return all(_has_records(value) for value in document.values())
    return bool(document != [])


def _path_of_list(document: Any, path: str = "") -> str | None:
    """Where the one list of objects is that `found_records` takes."""
    if isinstance(document, list):
        return path if document and all(isinstance(one, dict) for one in document) else None
    if isinstance(document, dict):
        for key, value in document.items():
            if isinstance(value, dict | list):
                found = _path_of_list(value, f"{path}.{key}" if path else str(key))
                if found:
                    return found
    return None


def _lifted(record: Any, form: Form) -> Any:
    """The record with the names of some of its objects as its own; a name that is taken keeps the object's in
    front of it."""
    if not isinstance(record, dict):
        return record
    flat = {}
    for name, value in record.items():
        if name in form.lift and isinstance(value, dict):
            for inner, own in value.items():
                taken = inner in record or inner in flat
                flat[f"{name}_{inner}" if taken else inner] = own
        elif name not in form.lift or value is not None:
            flat[name] = value
    return flat


def _rows_of_csv(content: bytes, name: str) -> list[dict[str, str | None]]:
    """The rows as records of text; an empty field is null."""
    try:
        text = content.decode("utf-8-sig")
        csv.field_size_limit(LARGEST_CELL_BYTES)
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if len(set(header)) < len(header):
            raise DataError(
                f"the CSV of {name} has a name twice: {', '.join(header)}", hint="ask for another"
            )
        records = []
        for row in rows:
            if row and len(row) != len(header):
                raise DataError(
                    f"line {rows.line_num} of {name} has {len(row)} fields, its header {len(header)}",
                    hint="is the answer cut off, or no CSV?",
                )
            if row:
                records.append({key: value or None for key, value in zip(header, row, strict=True)})
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the answer of {name} is no CSV: {error}", hint="look at format and path") from error
    return records
