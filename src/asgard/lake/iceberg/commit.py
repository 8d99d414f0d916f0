"""One commit of a table: a snapshot with its manifests, columns and properties, all at once or not at all.

pyiceberg's transactions are left aside for three reasons. They try again by themselves on a newer version,
which lets a batch in twice; they write manifests that name deleted files for ever; and they cannot say that
rows were only moved. What is used of it are its files and its catalogs' compare-and-swap.

Every commit makes a snapshot, also one that only moves a position: the snapshot that the table's main branch
points to is what a catalog compares, so of two commits that were worked out on one version the second fails.

Reference: https://iceberg.apache.org/spec/#table-metadata-and-snapshots,
docs/decisions/0183-exactly-once-on-iceberg.md
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table import update as u
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation, Snapshot, Summary, UpdateMetrics, update_snapshot_summaries

from asgard.core.errors import Bug
from asgard.lake.iceberg.birth import TABLE_PROPERTIES, birth, make_namespace, unborn
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.snapshot import MARK
from asgard.lake.iceberg.snapshot import Snapshot as Pinned

MOST_MANIFESTS = 32
"""So many small manifests are put together."""
LARGE_MANIFEST_BYTES = 8 << 20
_CODEC: Literal["deflate"] = "deflate"


@dataclass(frozen=True)
class Edit:
    """What a commit does.

    Attributes:
        adds: data files that come.
        removes: paths of data files that go, as manifests have them; None: all that are there.
        operation: what other engines take it for; None: it is told by what comes and goes.
        summary: said of the snapshot, beside its figures.
        properties: of the table, set with it.
        schema: the table's columns from now on; None: as they are.
    """

    adds: Sequence[DataFile] = ()
    removes: Collection[str] | None = ()
    operation: Operation | None = None
    summary: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    schema: Schema | None = None


class Draft:
    """The next snapshot of a table: what it will be called, before it is written.

    Args:
        place: of the table.
        base: the version that it follows; None: there is no table yet.
        schema: columns of the table, when there is none yet.
    """

    def __init__(self, place: Place, base: Pinned | None, schema: Schema | None = None) -> None:
        self._place = place
        self._base = base
        if base is not None:
            self._table: Table = base.handle
        else:
            assert schema is not None
            self._table = unborn(place, schema)
        metadata = self._metadata
        self.snapshot_id: int = metadata.new_snapshot_id()
        self.sequence: int = metadata.next_sequence_number()
        self._commit_id = uuid4()
        self._written: list[str] = []
        self.was_asked_for = False
        """Whether the catalog was asked for it."""

    @property
    def table_id(self) -> str:
        """Iceberg's id of the table."""
        return str(self._metadata.table_uuid)

    @property
    def _metadata(self) -> TableMetadata:
        return self._table.metadata

    def commit(self, edit: Edit) -> None:
        """Writes the snapshot and lets the catalog swap it in.

        Raises:
            CommitFailedException: the table is not as it was any more; nothing became of it.
            Exception: anything else: nobody knows yet what became of it.
        """
        try:
            snapshot = self._snapshot(edit)
        except BaseException:
            self._forget()
            raise
        updates: list[u.TableUpdate] = [] if self._base is not None else birth(self._table.metadata)
        if edit.schema is not None and self._base is not None:
            updates += self._new_columns(edit.schema)
        updates += [
            u.SetPropertiesUpdate(
                updates={**(TABLE_PROPERTIES if self._takes_over else {}), **edit.properties}
            ),
            u.AddSnapshotUpdate(snapshot=snapshot),
            u.SetSnapshotRefUpdate.model_validate(
                {"ref-name": MAIN_BRANCH, "type": "branch", "snapshot-id": snapshot.snapshot_id}
            ),
        ]
        catalog = self._catalog()
        self.was_asked_for = True
        try:
            done = catalog.commit_table(self._table, self._requirements(), tuple(updates))
        except CommitFailedException:
            self._forget()
            raise
        except TableAlreadyExistsError as error:
            self._forget()
            raise CommitFailedException(str(error)) from error
        self._delete_old_metadata(done.metadata)

    @property
    def _takes_over(self) -> bool:
        """Whether the table was not ours until now."""
        return self._base is not None and not self._base.is_ours

    def _catalog(self) -> Catalog:
        catalog = self._place.catalogue.opened(create=True)
        if catalog is None:
            raise Bug("a catalog that is made is there")
        if self._base is None:
            for length in range(1, len(self._place.identifier)):
                make_namespace(catalog, self._place.identifier[:length])
        return catalog

    def _requirements(self) -> tuple[u.TableRequirement, ...]:
        """What has to be as it was: protocol, line 8."""
        if self._base is None:
            return (u.AssertCreate(),)
        metadata, at = self._metadata, self._base.at
        return (
            u.AssertTableUUID(uuid=metadata.table_uuid),
            u.AssertRefSnapshotId.model_validate(
                {"ref": MAIN_BRANCH, "snapshot-id": at.snapshot_id if at else None}
            ),
            u.AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
            u.AssertLastAssignedFieldId.model_validate({"last-assigned-field-id": metadata.last_column_id}),
            u.AssertDefaultSpecId.model_validate({"default-spec-id": metadata.default_spec_id}),
        )

    def _new_columns(self, schema: Schema) -> list[u.TableUpdate]:
        metadata = self._metadata
        same = next((one for one in metadata.schemas if one.fields == schema.fields), None)
        if same is not None:
            known = same.schema_id
            return (
                []
                if known == metadata.current_schema_id
                else [u.SetCurrentSchemaUpdate.model_validate({"schema-id": known})]
            )
        return [u.AddSchemaUpdate(schema=schema), u.SetCurrentSchemaUpdate.model_validate({"schema-id": -1})]

    # ---- the snapshot

    def _snapshot(self, edit: Edit) -> Snapshot:
        before = self._base.at if self._base else None
        removed, manifests = self._kept(edit)
        if edit.adds:
            with self._manifest() as writer:
                for file in edit.adds:
                    writer.add(_entry(file))
            manifests.insert(0, writer.to_manifest_file())
        manifests = self._together(manifests)
        path = self._path(f"snap-{self.snapshot_id}-0-{self._commit_id}.avro")
        with write_manifest_list(
            format_version=2,
            output_file=self._table.io.new_output(path),
            snapshot_id=self.snapshot_id,
            parent_snapshot_id=before.snapshot_id if before else None,
            sequence_number=self.sequence,
            avro_compression=_CODEC,
        ) as lister:
            lister.add_manifests(manifests)
        schema_id = self._schema_id(edit)
        now = max(int(time.time() * 1000), self._metadata.last_updated_ms)  # clocks may go back
        return Snapshot.model_validate(
            {
                "snapshot-id": self.snapshot_id,
                "parent-snapshot-id": before.snapshot_id if before else None,
                "sequence-number": self.sequence,
                "timestamp-ms": now,
                "manifest-list": path,
                "summary": _summary(edit, removed, before),
                "schema-id": schema_id,
            }
        )

    def _schema_id(self, edit: Edit) -> int:
        metadata = self._metadata
        if edit.schema is None or self._base is None:
            return metadata.current_schema_id
        same = next((one for one in metadata.schemas if one.fields == edit.schema.fields), edit.schema)
        return same.schema_id

    def _kept(self, edit: Edit) -> tuple[list[DataFile], list[ManifestFile]]:
        """The files that go, and the manifests of those that stay; what goes is named a last time."""
        base = self._base
        if base is None:
            return [], []
        if edit.removes is not None and not edit.removes:
            return [], list(base.manifests)
        gone = None if edit.removes is None else set(edit.removes)
        removed: list[DataFile] = []
        manifests: list[ManifestFile] = []
        for manifest in base.manifests:
            if manifest.content != ManifestContent.DATA:
                if gone is not None:
                    manifests.append(manifest)
                continue
            entries = manifest.fetch_manifest_entry(base.io, discard_deleted=True)
            lost = [one for one in entries if gone is None or one.data_file.file_path in gone]
            if not lost:
                manifests.append(manifest)
                continue
            with self._manifest() as writer:
                for entry in entries:
                    if gone is None or entry.data_file.file_path in gone:
                        writer.delete(entry)
                    else:
                        writer.existing(entry)
            manifests.append(writer.to_manifest_file())
            removed += [one.data_file for one in lost]
        if gone is not None and len(removed) != len(gone):
            raise Bug(f"{len(gone) - len(removed)} files that are to go are not in the table")
        return removed, manifests

    def _together(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Small manifests in one, when there are many: a commit reads and writes the list of all."""
        small = [
            one
            for one in manifests
            if one.manifest_length < LARGE_MANIFEST_BYTES and one.content == ManifestContent.DATA
        ]
        if len(small) < MOST_MANIFESTS:
            return manifests
        with self._manifest() as writer:
            for manifest in small:
                for entry in manifest.fetch_manifest_entry(self._table.io, discard_deleted=False):
                    mine = entry.snapshot_id == self.snapshot_id
                    if entry.status == ManifestEntryStatus.DELETED:
                        if mine:
                            writer.delete(entry)
                    elif entry.status == ManifestEntryStatus.ADDED and mine:
                        writer.add(_entry(entry.data_file))
                    else:
                        writer.existing(entry)
        return [writer.to_manifest_file(), *(one for one in manifests if one not in small)]

    @contextmanager
    def _manifest(self) -> Iterator[ManifestWriter]:
        path = self._path(f"{self._commit_id}-m{len(self._written)}.avro")
        writer = write_manifest(
            format_version=2,
            spec=UNPARTITIONED_PARTITION_SPEC,
            schema=self._metadata.schema(),
            output_file=self._table.io.new_output(path),
            snapshot_id=self.snapshot_id,
            avro_compression=_CODEC,
        )
        writer.__enter__()
        try:
            yield writer
        except BaseException:
            # Its own end would hide what happened, and leave the file open.
            with suppress(Exception):
                writer._writer.output_stream.close()
            raise
        writer.__exit__(None, None, None)

    def _path(self, name: str) -> str:
        path: str = self._table.location_provider().new_metadata_location(name)
        self._written.append(path)
        return path

    # ---- afterwards

    def _forget(self) -> None:
        """Deletes the manifests of a commit that did not become one."""
        for path in self._written:
            with suppress(OSError):
                self._table.io.delete(path)

    def _delete_old_metadata(self, now: TableMetadata) -> None:
        if now.properties.get("write.metadata.delete-after-commit.enabled") != "true":
            return
        kept = {entry.metadata_file for entry in now.metadata_log}
        for entry in self._metadata.metadata_log:
            if entry.metadata_file not in kept:
                with suppress(OSError):
                    self._table.io.delete(entry.metadata_file)


def _entry(file: DataFile) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED, snapshot_id=None, sequence_number=None, file_sequence_number=None,
        data_file=file,
    )  # fmt: skip


def _summary(edit: Edit, removed: Sequence[DataFile], before: Snapshot | None) -> Summary:
    figures = UpdateMetrics()
    for file in edit.adds:
        figures.add_file(file)
    for file in removed:
        figures.remove_file(file)
    operation = edit.operation or _operation(edit, removed)
    # pyiceberg counts for the others; rows that are only moved count the same.
    counted = Operation.OVERWRITE if operation is Operation.REPLACE else operation
    summary = update_snapshot_summaries(
        Summary(operation=counted, **figures.to_dict(), **{MARK: "1"}, **edit.summary),
        before.summary if before is not None else None,
    )
    return Summary(operation=operation, **summary.additional_properties)


def _operation(edit: Edit, removed: Sequence[DataFile]) -> Operation:
    if not removed:
        return Operation.APPEND
    return Operation.OVERWRITE if edit.adds else Operation.DELETE
