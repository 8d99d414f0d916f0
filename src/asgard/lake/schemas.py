"""The table's columns: ids that stay, Delta's and Parquet's form of a schema, and its recorded versions.

A field id belongs to one column for ever: it is kept in Delta's field metadata (`asgard.field_id`) and in the
Parquet files, and is never given again, also when a replace dropped the column. `_asgard/schemas/` holds one
document per schema that the table ever had, named by its fingerprint; it is written before the commit that
uses it, so that two writers cannot give one id to two columns.

Reference: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (field_id)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as t
from deltalake import CommitProperties, DeltaTable, TableFeatures
from deltalake import Schema as DeltaSchema

from asgard.core.errors import DataError
from asgard.core.types import fingerprint
from asgard.lake.folder import Folder

FORMAT = 1
FIELD_ID = b"asgard.field_id"
PARQUET_FIELD_ID = b"PARQUET:field_id"


def with_field_ids(schema: pa.Schema, known: pa.Schema | None, last_id: int) -> tuple[pa.Schema, int]:
    """The schema, all nullable, every field with an id.

    Args:
        schema: canonical.
        known: the table's schema; a field of the same name and type keeps its id.
        last_id: the highest id that was ever given.

    Returns:
        The schema and the highest id now.
    """
    numbering = _Numbering(last_id)
    before = {field.name: field for field in known} if known is not None else {}
    fields = [numbering.numbered(field, before.get(field.name)) for field in schema]
    return pa.schema(fields), numbering.last_id


class _Numbering:
    def __init__(self, last_id: int) -> None:
        self.last_id = last_id

    def numbered(self, field: pa.Field, known: pa.Field | None) -> pa.Field:
        same = known is not None and (known.type == field.type or t.is_nested(field.type))
        entries = {k: v for k, v in (field.metadata or {}).items() if k not in (FIELD_ID, PARQUET_FIELD_ID)}
        kept = (known.metadata or {}).get(FIELD_ID) if known is not None and same else None
        if kept is None:
            self.last_id += 1
            kept = str(self.last_id).encode()
        type_ = self._inside(field.type, known.type if known is not None and same else None)
        return pa.field(field.name, type_, True, {**entries, FIELD_ID: kept})

    def _inside(self, type_: pa.DataType, known: pa.DataType | None) -> pa.DataType:
        if t.is_struct(type_):
            before = {f.name: f for f in known} if known is not None and t.is_struct(known) else {}
            return pa.struct([self.numbered(field, before.get(field.name)) for field in type_])
        if t.is_list(type_):
            below = known.value_type if known is not None and t.is_list(known) else None
            return pa.list_(self._inside(type_.value_type, below))
        if t.is_map(type_):
            pair = (
                (known.key_type, known.item_type) if known is not None and t.is_map(known) else (None, None)
            )
            return pa.map_(self._inside(type_.key_type, pair[0]), self._inside(type_.item_type, pair[1]))
        return type_


def fields_within(schema: pa.Schema) -> Iterator[pa.Field]:
    """Every field, those inside of structs, lists and maps too."""
    waiting = list(schema)
    while waiting:
        field = waiting.pop()
        yield field
        waiting += [field.type.field(index) for index in range(field.type.num_fields)]


def last_field_id(schema: pa.Schema) -> int:
    """The highest id in the schema; 0 when it has none."""
    return max((int((f.metadata or {}).get(FIELD_ID, 0)) for f in fields_within(schema)), default=0)


def for_parquet(schema: pa.Schema) -> pa.Schema:
    """The schema as Parquet files get it: ids for metadata, and nothing else."""
    return pa.schema([_for_parquet(field) for field in schema])


def _for_parquet(field: pa.Field) -> pa.Field:
    number = (field.metadata or {}).get(FIELD_ID)
    type_ = field.type
    if t.is_struct(type_):
        type_ = pa.struct([_for_parquet(child) for child in type_])
    elif t.is_list(type_):
        type_ = pa.list_(_for_parquet(type_.value_field))
    elif t.is_map(type_):
        type_ = pa.map_(_for_parquet(type_.key_field), _for_parquet(type_.item_field))
    return pa.field(field.name, type_, field.nullable, {PARQUET_FIELD_ID: number} if number else None)


def to_delta(schema: pa.Schema) -> DeltaSchema:
    """The schema as Delta's log holds it, field metadata included."""
    return DeltaSchema.from_arrow(schema)


def from_delta(schema: DeltaSchema) -> pa.Schema:
    """The table's schema in canonical types."""
    return pa.schema(schema.to_arrow())


def needs_naive_timestamps(schema: pa.Schema) -> bool:
    """Whether a timestamp without zone is in it: a feature that a Delta table must declare beforehand."""
    return any(t.is_timestamp(field.type) and field.type.tz is None for field in fields_within(schema))


def has_naive_timestamps(handle: DeltaTable) -> bool:
    """Whether the table has declared that feature."""
    return "timestampNtz" in (handle.protocol().writer_features or ())


def declare_naive_timestamps(handle: DeltaTable, properties: CommitProperties | None = None) -> None:
    """Declares it, in a commit of its own."""
    handle.alter.add_feature(
        TableFeatures.TimestampWithoutTimezone,
        allow_protocol_versions_increase=True,
        commit_properties=properties,
    )


def first_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that a table can be created with.

    delta-rs declares the feature of naive timestamps by itself, but overlooks those inside of maps: the table
    could never be opened. Such a table begins with one column of that type instead; its first commit replaces
    the schema.
    """
    inside = (field for field in fields_within(schema) if t.is_map(field.type))
    if not any(needs_naive_timestamps(pa.schema([field])) for field in inside):
        return schema
    return pa.schema([pa.field("_asgard_unborn", pa.timestamp("us"))])


def same_columns(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether names, types and field ids are the same."""
    return bool(for_parquet(one).equals(for_parquet(other), check_metadata=True))


class SchemaDocuments:
    """The schemas that a table ever had.

    Args:
        folder: the table's `_asgard` folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder / "schemas"

    def last_field_id(self) -> int:
        """The highest field id that was ever given."""
        return max((int(document["last_field_id"]) for document in self.all().values()), default=0)

    def all(self) -> dict[str, Mapping[str, Any]]:
        """Schema id to its document.

        Raises:
            DataError: a newer version wrote one.
        """
        names = [name for name in self._folder.files() if name.endswith(".json")]
        found = {name.removesuffix(".json"): json.loads(self._folder.read(name)) for name in names}
        for name, document in found.items():
            if document["format"] != FORMAT:  # Promise 10
                raise DataError(
                    f"schema record {name} has format {document['format']!r}, not {FORMAT}",
                    hint="run the version of Asgard that wrote it, or a newer one",
                )
        return found

    def forget(self, but: Collection[str]) -> list[str]:
        """Deletes documents, but those and the one with the highest field id; the ids of the deleted."""
        there = self.all()
        highest = max(there, key=lambda one: (int(there[one]["last_field_id"]), one), default="")
        gone = [one for one in there if one not in but and one != highest]
        self._folder.delete(*(f"{one}.json" for one in gone))
        return gone

    def record(self, schema: pa.Schema, last_id: int) -> str:
        """Writes the schema down, durably, if it is new.

        Returns:
            Its id.
        """
        schema_id = fingerprint(schema)
        document = {
            "format": FORMAT,
            "id": schema_id,
            "last_field_id": last_id,
            "fields": [
                {
                    "id": int((field.metadata or {}).get(FIELD_ID, 0)),
                    "name": field.name,
                    "type": str(field.type),
                    "source_name": (field.metadata or {}).get(b"asgard.name", b"").decode() or None,
                }
                for field in schema
            ],
        }
        name = f"{schema_id}.json"
        if not self._folder.has(name):
            self._folder.put_if_absent(name, json.dumps(document, ensure_ascii=False).encode())
        return schema_id
