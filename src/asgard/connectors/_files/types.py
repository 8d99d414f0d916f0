"""The types that loaded files proved, remembered in a position beside their names.

Files that are far away are not read again to see that a column still is what it was: what all the loaded
files proved, and what the new ones prove, is put together. Where that does not go, all are read.
"""

from __future__ import annotations

import base64
import hashlib
import json

import pyarrow as pa

from asgard.connectors._files.formats import FilesStreamOptions
from asgard.core.position import Token

READING_NEW = {"changed_files", "with_file", "path"}
"""Options that change nothing of how a file's values are read."""


def remembered(schema: pa.Schema, options: FilesStreamOptions) -> dict[str, str]:
    """What a position keeps: the files' own columns, and what the options were."""
    plain = pa.schema([_plain(field) for field in schema])
    written = base64.b85encode(plain.serialize().to_pybytes()).decode()
    return {"types": written, "asked": _asked(options)}


def proved_types(token: Token, options: FilesStreamOptions) -> pa.Schema | None:
    """The columns that a position remembers; None where it has none, or was made with other options."""
    document = json.loads(token)
    if document.get("asked") != _asked(options):
        return None
    return pa.ipc.read_schema(pa.py_buffer(base64.b85decode(document["types"])))


def joined(known: pa.Schema, fresh: pa.Schema, *, plain_text: bool) -> pa.Schema | None:
    """The types that the values of loaded and new files prove together; None where only the values can tell.

    Args:
        plain_text: a text column keeps every value as it stands in the file, whatever else it proves.
    """
    fields: list[pa.Field] = []
    for field in known:
        place = fresh.get_field_index(field.name)
        other = _plain(fresh.field(place)) if place >= 0 else pa.field(field.name, pa.null())
        if pa.types.is_null(field.type):
            fields.append(other)
        elif (
            field.equals(other, check_metadata=True)
            or pa.types.is_null(other.type)
            or (plain_text and field.type == pa.string() and not field.metadata)
        ):
            fields.append(field)
        else:
            return None
    fields += [_plain(field) for field in fresh if field.name not in known.names]
    return pa.schema(fields)


def _plain(field: pa.Field) -> pa.Field:
    """Without the metadata that a file's writer left, such as the numbers of its fields."""
    label = (field.metadata or {}).get(b"asgard.type")
    return field.with_metadata({b"asgard.type": label} if label else None).with_nullable(True)


def _asked(options: FilesStreamOptions) -> str:
    told = options.model_dump_json(exclude=READING_NEW, exclude_defaults=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
