"""A table at one version: its schema and files, read through a private handle that nobody refreshes.

Protocol 2 stands on this: the handle that was asked for the position is the handle that commits, and whatever
came in between makes the commit fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from asgard.core.errors import DataError, QueryError
from asgard.core.table import Mount
from asgard.lake.delta.commits import LOG, identity, version_at
from asgard.lake.delta.deletion_vectors import ENABLED, FEATURE, GoneRows, Vector
from asgard.lake.delta.logged import Add, logged_adds
from asgard.lake.folder import Folder
from asgard.lake.rewrite import rows_of
from asgard.lake.schemas import from_delta, has_naive_timestamps

FORMAT_PROPERTY = "asgard.format"
_KNOWN_READER_FEATURES = {FEATURE, "columnMapping", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
_PLAIN_FEATURES = {"timestampNtz", "appendOnly", "invariants", FEATURE, "v2Checkpoint", "vacuumProtocolCheck"}
"""Features that ask nothing of who adds and removes whole files, or their rows, where nothing uses them."""
_PLAIN_PROPERTIES = {
    "delta.checkpointInterval", "delta.dataSkippingNumIndexedCols", "delta.deletedFileRetentionDuration",
    "delta.enableExpiredLogCleanup", "delta.logRetentionDuration", ENABLED,
}  # fmt: skip


@dataclass(frozen=True)
class LakeFile:
    """A data file of the table.

    Attributes:
        path: as the log has it: relative to the table's folder, or absolute, percent-encoded.
        size_bytes: its size.
        rows: how many of it count; None when the log does not say.
        vector: of those that do not; None when all do.
    """

    path: str
    size_bytes: int
    rows: int | None
    vector: Vector | None = None


class Snapshot:
    """A pinned version.

    Args:
        folder: the table's folder.
        handle: opened for this snapshot alone.
    """

    def __init__(self, folder: Folder, handle: DeltaTable) -> None:
        self.folder = folder
        self.handle = handle
        self.version: int = handle.version()
        metadata = handle.metadata()
        self.table_id = str(metadata.id)
        self.properties: dict[str, str] = dict(metadata.configuration)
        self.partitioned_by: list[str] = list(metadata.partition_columns)

    @classmethod
    def open(cls, folder: Folder, at: int | datetime | None = None) -> Snapshot | None:
        """The newest version, or the one at a version or instant; None when there is no table.

        Raises:
            QueryError: the table has no such version.
        """
        try:
            newest = cls(folder, folder.delta())
        except TableNotFoundError:
            return None
        if at is None:
            return newest
        version = version_at(folder, newest.version, at) if isinstance(at, datetime) else at
        if version is None or not 0 <= version <= newest.version:
            raise _no_version(folder, at)
        try:
            return cls(folder, folder.delta(version))
        except DeltaError as error:
            raise _no_version(folder, at) from error

    @property
    def is_ours(self) -> bool:
        """Whether Asgard created the table."""
        return FORMAT_PROPERTY in self.properties

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, in canonical types, with field metadata."""
        return from_delta(self.handle.schema())

    @cached_property
    def adds(self) -> pa.Table:
        """One row for each data file, with its figures."""
        return add_actions(self.handle)

    @cached_property
    def total_rows(self) -> int | None:
        """Rows of all files; None when the log does not say."""
        counts = self.adds.column("num_records")
        if counts.null_count or not self.is_flat:
            return None
        gone = sum(vector.rows for vector in self.vectors.values())
        return int(pc.sum(counts).as_py() or 0) - gone

    def files(self, bounds: Mapping[str, tuple[pa.Scalar, pa.Scalar]] | None = None) -> list[LakeFile]:
        """The data files, those with the smallest values first.

        Args:
            bounds: column to smallest and largest value: files that hold none between them are left out.
        """
        adds = self.adds
        for name, (low, high) in (bounds or {}).items():
            if f"min.{name}" not in adds.schema.names or f"max.{name}" not in adds.schema.names:
                continue
            least, most = adds.column(f"min.{name}"), adds.column(f"max.{name}")
            inside = pc.and_(
                pc.less_equal(least, high.cast(least.type)), pc.greater_equal(most, low.cast(most.type))
            )
            adds = adds.filter(pc.or_kleene(pc.is_null(inside), inside))  # what is not known may be inside
            adds = adds.sort_by(f"min.{name}")
        columns = [adds.column(name).to_pylist() for name in ("path", "size_bytes", "num_records")]
        if not self.is_flat or not self.vectors:
            return [LakeFile(*values) for values in zip(*columns, strict=True)]
        return [self._file(*values) for values in zip(*columns, strict=True)]

    def _file(self, path: str, size_bytes: int, rows: int | None) -> LakeFile:
        vector = self.vectors.get(path)
        gone = vector.rows if vector else 0
        return LakeFile(path, size_bytes, None if rows is None else rows - gone, vector)

    @cached_property
    def logged(self) -> dict[str, Add]:
        """What the log says about each file.

        Raises:
            DataError: the log tells of other files than delta-rs: nobody knows which rows are gone.
        """
        found = logged_adds(self.folder, self.version)
        if {*found} != {*self.adds.column("path").to_pylist()}:
            raise DataError(
                f"the log of version {self.version} tells of other files than the table has",
                hint="read and write the table with the tool that wrote it, and report this",
            )
        return found

    @cached_property
    def vectors(self) -> dict[str, Vector]:
        """Path, as the log has it, to the deletion vector; of files that have one."""
        if FEATURE not in (self.handle.protocol().reader_features or ()):
            return {}
        told = ((path, add.get("deletionVector")) for path, add in self.logged.items())
        return {path: Vector.from_log(vector) for path, vector in told if vector}

    def gone(self, files: Iterable[LakeFile]) -> GoneRows:
        """The rows of files that do not count, by absolute file."""
        return GoneRows(self.folder, {self.absolute(file.path): file.vector for file in files})

    def absolute(self, path: str) -> str:
        """Where a file of the log lies."""
        return self.folder.absolute(path if "://" in path else unquote(path))

    @cached_property
    def is_flat(self) -> bool:
        """Whether its files hold the columns under their own names: they tell its rows, with the vectors."""
        mapped = self.properties.get("delta.columnMapping.mode", "none") != "none"
        if mapped or self.partitioned_by:
            return False
        return {*(self.handle.protocol().reader_features or ())} <= _KNOWN_READER_FEATURES

    @cached_property
    def is_plain(self) -> bool:
        """Whether every row of every file counts, too."""
        return self.is_flat and not self.vectors

    @cached_property
    def has_naive_timestamps(self) -> bool:
        """Whether the table has declared that its timestamps may be without a zone."""
        return has_naive_timestamps(self.handle)

    @cached_property
    def takes_plain_commits(self) -> bool:
        """Whether commits are written by ourselves wherever they can: the files are of this machine."""
        return self.folder.filesystem is None and self.may_be_told_by_us

    @cached_property
    def may_be_told_by_us(self) -> bool:
        """Whether a commit may consist of added and removed files, vectors and integers alone, written by
        ourselves: its writers have nothing else to see to."""
        protocol, kinds = self.handle.protocol(), {b"delta.invariants", b"delta.generationExpression"}
        version, features = protocol.min_writer_version, set(protocol.writer_features or ())
        return (
            not self.partitioned_by
            and (version <= 2 or (version == 7 and features <= _PLAIN_FEATURES))
            and {name for name in self.properties if name.startswith("delta.")} <= _PLAIN_PROPERTIES
            and not any(kinds & {*(field.metadata or {})} for field in self.schema)
        )

    def transaction_version(self, app: str) -> int | None:
        """The integer of an application id; None before its first."""
        return self.handle.transaction_version(app)

    def mount(self) -> Mount:
        """The rows for an engine."""
        if not self.is_flat:
            return Mount(self.schema, reader=self.reader)
        return self.mounted(self.files(), self.schema, self.total_rows)

    def mounted(self, files: Sequence[LakeFile], schema: pa.Schema, rows: int | None) -> Mount:
        """Some of its files for an engine."""
        self.folder.know({self.absolute(file.path): file.size_bytes for file in files})
        return mount_of(self.folder, schema, self.gone(files), rows)

    def reader(self, columns: list[str] | None = None) -> pa.RecordBatchReader:
        """A stream of the rows through Delta's own reader: column mapping, partitions."""
        stream = pa.RecordBatchReader.from_stream(self.handle.scan(columns=columns))
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in stream))

    def log_identity(self) -> tuple[object, ...]:
        """Tells this version's log file from one that came into its place."""
        return identity(self.folder, self.version)

    def check_writable(self) -> None:
        """Raises DataError for tables that this version reads, and cannot write."""
        if self.properties.get("delta.columnMapping.mode", "none") != "none":
            what = "its columns have other names in its files (column mapping)"
        elif self.partitioned_by:
            what = f"it is partitioned by {', '.join(self.partitioned_by)}"
        elif not self.is_flat:
            what = f"it needs {', '.join(self.handle.protocol().reader_features or ())}"
        elif self.vectors and not self.may_be_told_by_us:
            what = "it has deletion vectors, and rules or features that ask more of who writes it"
        elif any("://" in file.path for file in self.files()):
            what = "it is a shallow clone: some of its files belong to another table"
        else:
            return
        raise DataError(
            f"the table was changed by another writer so that Asgard cannot write it: {what}",
            hint="rewrite it plainly (Spark: REORG TABLE ... APPLY (PURGE)), or load into a new table",
        )


def mount_of(folder: Folder, schema: pa.Schema, files: GoneRows, rows: int | None) -> Mount:
    """Data files for an engine. Where rows of some are gone the files alone do not tell the table, and nobody
    is given them as if they did."""
    if not files.has_some:
        return Mount(schema, tuple(files), rows, filesystem=folder.filesystem)

    def read() -> pa.RecordBatchReader:
        plain = pa.schema([column.remove_metadata() for column in schema])
        kept = rows_of(folder, list(files), plain, files.__getitem__)
        return pa.RecordBatchReader.from_batches(plain, kept)

    return Mount(schema, rows=rows, reader=read, marked=files, filesystem=folder.filesystem)


def add_actions(handle: DeltaTable) -> pa.Table:
    """One row for each data file, with its figures."""
    # Not pa.table(...): like pa.array and pa.scalar it imports pandas where that is, a second for nothing.
    return pa.RecordBatchReader.from_stream(handle.get_add_actions(flatten=True)).read_all()


def _no_version(folder: Folder, at: int | datetime) -> QueryError:
    stems = (name.removesuffix(".json") for name in (folder / LOG).files() if name.endswith(".json"))
    numbers = sorted(int(stem) for stem in stems if stem.isdigit())
    told = f"versions {numbers[0]} to {numbers[-1]}" if numbers else "none"
    return QueryError(f"the table has no version at {at}", hint=f"the log holds {told}")
