"""A table at one version: its schema and files, read through a private handle that nobody refreshes.

A version is a snapshot, and its number the sequence number that Iceberg gave it: unique in a table, growing
with each commit, and the same for ever, also when older snapshots expire.

Reference: https://iceberg.apache.org/spec/#snapshots
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table import snapshots as iceberg
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, PrimitiveType, StructType

from asgard.core.errors import DataError, QueryError
from asgard.core.table import Mount
from asgard.core.types import canonical_batch
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.folder import Folder
from asgard.lake.iceberg.files import may_hold
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.schemas import COLUMNS, from_iceberg, is_canonical

MARK = "asgard.format"
"""Every snapshot of ours says so in its summary, every table in its properties."""


class Snapshot:
    """A pinned version.

    Args:
        place: of the table.
        handle: opened for this snapshot alone.
        at: which snapshot; None: the table has none yet.
    """

    def __init__(self, place: Place, handle: Table, at: iceberg.Snapshot | None) -> None:
        self.place = place
        self.folder: Folder = place.data
        self.handle = handle
        self.at = at
        self.properties: dict[str, str] = dict(handle.metadata.properties)

    @classmethod
    def open(cls, place: Place, at: int | datetime | None = None) -> Snapshot | None:
        """The newest version, or the one at a version or instant; None when there is no table.

        Raises:
            QueryError: the table has no such version.
        """
        handle = place.handle()
        if handle is None:
            return None
        if at is None:
            return cls(place, handle, handle.current_snapshot())
        found = _at_instant(handle, at) if isinstance(at, datetime) else _at_version(handle, at)
        if found is None:
            raise _no_version(handle, at)
        return cls(place, handle, found)

    @property
    def version(self) -> int:
        """The sequence number; 0 for a table that has no snapshot yet."""
        return int(self.at.sequence_number or 0) if self.at else 0

    @property
    def table_id(self) -> str:
        """Iceberg's, that a table has from its creation to its end."""
        return str(self.handle.metadata.table_uuid)

    @property
    def is_ours(self) -> bool:
        """Whether Asgard created the table, or ever wrote to it."""
        return MARK in self.properties

    @property
    def io(self) -> FileIO:
        """Through which pyiceberg reads."""
        return self.handle.io

    @cached_property
    def iceberg_schema(self) -> Schema:
        """The columns as Iceberg has them: of an older version as they were then."""
        metadata = self.handle.metadata
        if self.at is None or self.at.snapshot_id == metadata.current_snapshot_id:
            return metadata.schema()
        return next(
            (one for one in metadata.schemas if one.schema_id == self.at.schema_id), metadata.schema()
        )

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, in canonical types, with field metadata."""
        return from_iceberg(self.iceberg_schema, self.properties.get(COLUMNS))

    # ---- files

    @cached_property
    def manifests(self) -> list[ManifestFile]:
        """Those that name a file."""
        listed = self.at.manifests(self.io) if self.at else []
        return [one for one in listed if one.has_added_files() or one.has_existing_files()]

    @cached_property
    def entries(self) -> list[DataFile]:
        """Every data file with what is known of it."""
        return [
            entry.data_file
            for manifest in self.manifests
            if manifest.content == ManifestContent.DATA
            for entry in manifest.fetch_manifest_entry(self.io, discard_deleted=True)
        ]

    @property
    def total_rows(self) -> int | None:
        """Rows of all files; None when not known."""
        if self.at is None:
            return 0
        told = self.at.summary.additional_properties.get(iceberg.TOTAL_RECORDS) if self.at.summary else None
        if self.has_deletes:
            return None
        return int(told) if told is not None else sum(file.record_count for file in self.entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of all data files."""
        told = None
        if self.at is not None and self.at.summary is not None:
            told = self.at.summary.additional_properties.get(iceberg.TOTAL_FILE_SIZE)
        return int(told) if told is not None else sum(file.file_size_in_bytes for file in self.entries)

    def files(self, bounds: Mapping[str, tuple[pa.Scalar, pa.Scalar]] | None = None) -> list[LakeFile]:
        """The data files.

        Args:
            bounds: column to smallest and largest value: files that hold none between them are left out.

        Raises:
            DataError: one of them is no Parquet file.
        """
        if any(file.file_format != FileFormat.PARQUET for file in self.entries):
            raise _not_writable("not all of its files are Parquet")
        columns = {field.name: field for field in self.iceberg_schema.fields}
        asked = [(columns[name], *pair) for name, pair in (bounds or {}).items() if name in columns]
        found = [
            file
            for file in self.entries
            if all(
                may_hold(file, column.field_id, column.field_type, low, high)
                for column, low, high in asked
                if isinstance(column.field_type, PrimitiveType)
            )
        ]
        return [LakeFile(file.file_path, file.file_size_in_bytes, file.record_count) for file in found]

    def absolute(self, path: str) -> str:
        """Where a file of a manifest lies."""
        return self.folder.absolute(_plain_path(path))

    # ---- reading

    @cached_property
    def has_deletes(self) -> bool:
        """Whether rows are marked as deleted in files of their own."""
        return any(manifest.content == ManifestContent.DELETES for manifest in self.manifests)

    @cached_property
    def has_own_names(self) -> bool:
        """Whether a column has in every file the name that it has in the table, and a type that we know."""
        now = _columns(self.iceberg_schema)
        ids = {number: name for name, (number, _) in now.items()}
        for schema in self._schemas_of_files():
            for name, (number, _) in _columns(schema).items():
                if (name in now and now[name][0] != number) or ids.get(number, name) != name:
                    return False
        return is_canonical(self.iceberg_schema)

    @cached_property
    def has_own_types(self) -> bool:
        """Whether a column has in every file the type that it has in the table, and not a narrower one."""
        now = dict(_columns(self.iceberg_schema).values())
        told = (_columns(schema).values() for schema in self._schemas_of_files())
        return all(now.get(number, kind) == kind for columns in told for number, kind in columns)

    def _schemas_of_files(self) -> Iterator[Schema]:
        """The schemas under which files of this version may have been written: back to where all were new."""
        metadata = self.handle.metadata
        schemas = {schema.schema_id: schema for schema in metadata.schemas}
        one = self.at
        while one is not None:
            schema = schemas.pop(one.schema_id, None) if one.schema_id is not None else None
            if schema is not None:
                yield schema
            told = one.summary.additional_properties if one.summary else {}
            total = told.get(iceberg.TOTAL_DATA_FILES)
            if total is not None and total in ("0", told.get(iceberg.ADDED_DATA_FILES)):
                return
            parent = one.parent_snapshot_id
            one = metadata.snapshot_by_id(parent) if parent is not None else None
        yield from schemas.values()  # what came before is not told any more

    @property
    def is_plain(self) -> bool:
        """Whether every row of every file counts, under the columns' own names."""
        if self.has_deletes or self.handle.spec().fields or not self.has_own_names:
            return False
        return all(file.file_format == FileFormat.PARQUET for file in self.entries)

    @property
    def is_flat(self) -> bool:
        """Whether Parquet files alone tell the rows."""
        return self.is_plain

    def mount(self) -> Mount:
        """The rows for an engine."""
        if not self.is_plain:
            return Mount(self.schema, reader=self.reader)
        return self.mounted(self.files(), self.schema, self.total_rows)

    def mounted(self, files: Sequence[LakeFile], schema: pa.Schema, rows: int | None) -> Mount:
        """Some of its files for an engine."""
        sizes = {self.absolute(file.path): file.size_bytes for file in files}
        self.folder.know(sizes)
        return Mount(schema, tuple(sizes), rows, filesystem=self.folder.filesystem)

    def reader(self, columns: list[str] | None = None) -> pa.RecordBatchReader:
        """A stream of the rows through pyiceberg's reader: deleted rows, renamed columns, partitions.

        Raises:
            DataError: a column's values would not arrive as they are.
        """
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        if self.at is None:
            return pa.RecordBatchReader.from_batches(schema, iter(()))
        _check_lists(schema)
        asked = tuple(schema.names) if columns is not None else ("*",)
        # Of a snapshot pyiceberg reads the columns as they were called then, also of the newest.
        newest = self.at.snapshot_id == self.handle.metadata.current_snapshot_id
        number = None if newest else self.at.snapshot_id
        scan = self.handle.scan(selected_fields=asked, snapshot_id=number)
        batches = (canonical_batch(batch, schema) for batch in scan.to_arrow_batch_reader())
        return pa.RecordBatchReader.from_batches(schema, batches)

    def check_writable(self, compares: bool = False) -> None:
        """Raises DataError for tables that this version reads, and cannot write.

        Args:
            compares: what rows say is compared, over all files.
        """
        if self.handle.metadata.format_version != 2:
            what = f"it has version {self.handle.metadata.format_version} of the format"
        elif self.handle.spec().fields:
            what = f"it is partitioned by {', '.join(field.name for field in self.handle.spec().fields)}"
        elif self.has_deletes:
            what = "it has files that delete rows"
        elif not self.has_own_names:
            what = "its columns have other names or types in its files"
        elif compares and not self.has_own_types:
            what = "its columns have narrower types in some of its files"
        else:
            return
        raise _not_writable(what)


def _not_writable(what: str) -> DataError:
    return DataError(
        f"the table was changed by another writer so that Asgard cannot write it: {what}",
        hint="rewrite it plainly (Spark: CALL system.rewrite_data_files), or load into a new table",
    )


def _check_lists(schema: pa.Schema) -> None:
    """Raises DataError for columns in which pyiceberg's reader takes null for empty (Promise 2)."""
    bent = [field.name for field in schema if _lists_structs(field.type, False)]
    if bent:
        raise DataError(
            "the table was changed by another writer, and in lists and maps of structs a missing one would "
            f"arrive as an empty one: {', '.join(bent)}",
            hint="rewrite it plainly (Spark: CALL system.rewrite_data_files), or leave those columns out",
            where={"column": ", ".join(bent)},
        )


def _lists_structs(kind: pa.DataType, inside: bool) -> bool:
    if pa.types.is_struct(kind) and inside:
        return True
    if pa.types.is_map(kind):
        return _lists_structs(kind.key_type, True) or _lists_structs(kind.item_type, True)
    inside = inside or pa.types.is_list(kind)
    return any(_lists_structs(kind.field(index).type, inside) for index in range(kind.num_fields))


def _plain_path(path: str) -> str:
    for scheme in ("file://", "file:"):
        if path.startswith(scheme):
            return path.removeprefix(scheme)
    return path


def _columns(schema: Schema) -> dict[str, tuple[int, PrimitiveType | None]]:
    """The path of each column, and of each inside of another, with its id, and its type without parts."""
    found: dict[str, tuple[int, PrimitiveType | None]] = {}
    waiting: list[tuple[str, NestedField]] = [("", field) for field in schema.fields]
    while waiting:
        above, field = waiting.pop()
        path, kind = f"{above}{field.name}", field.field_type
        found[path] = (field.field_id, kind if isinstance(kind, PrimitiveType) else None)
        waiting += [(f"{path}.", child) for child in _inside(kind)]
    return found


def _inside(kind: IcebergType) -> Sequence[NestedField]:
    if isinstance(kind, ListType):
        return (kind.element_field,)
    if isinstance(kind, MapType):
        return (kind.key_field, kind.value_field)
    return kind.fields if isinstance(kind, StructType) else ()


def _at_version(handle: Table, version: int) -> iceberg.Snapshot | None:
    return next((one for one in handle.metadata.snapshots if one.sequence_number == version), None)


def _at_instant(handle: Table, at: datetime) -> iceberg.Snapshot | None:
    """The one that was current then; without a zone the instant is meant in UTC."""
    instant = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000
    before = [entry for entry in handle.metadata.snapshot_log if entry.timestamp_ms <= instant]
    return handle.metadata.snapshot_by_id(before[-1].snapshot_id) if before else None


def _no_version(handle: Table, at: int | datetime) -> QueryError:
    numbers = sorted(int(one.sequence_number or 0) for one in handle.metadata.snapshots)
    told = f"versions {', '.join(map(str, numbers[-10:]))}" if numbers else "none"
    return QueryError(f"the table has no version at {at}", hint=f"the newest that it has: {told}")
