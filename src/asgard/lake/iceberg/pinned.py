"""The version that a load is worked out on, and what its columns will be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from asgard.core.stream import Mode
from asgard.core.table import Evolution, LoadRequest
from asgard.core.types import canonical_schema
from asgard.lake.columns import Columns, check_request, replacement
from asgard.lake.delta.deletion_vectors import GoneRows
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.position import Record, check_absence, standing
from asgard.lake.iceberg.schemas import stored_schema, with_ids
from asgard.lake.iceberg.snapshot import Snapshot
from asgard.lake.widening import evolved


@dataclass(frozen=True)
class Base:
    """A pinned version with what it says of the load's stream.

    Attributes:
        snapshot: None when there is no table yet.
        record: of the stream; None before its first load.
        replaces: whether the load takes every row out that is there.
    """

    snapshot: Snapshot | None
    record: Record | None
    replaces: bool

    @classmethod
    def open(cls, place: Place, request: LoadRequest) -> Base:
        """The newest version. Protocol 2 to 4.

        Raises:
            PositionLost: what the table says about the stream cannot be trusted.
        """
        snapshot = Snapshot.open(place)
        if snapshot is None:
            check_absence(place.folder)
            return cls(None, None, request.mode is Mode.REPLACE)
        snapshot.check_writable(compares=request.mode is Mode.HISTORY)
        record = standing(snapshot, request.stream)
        # Who reads a history anew keeps it: what did not change makes no version. Keys alone replace nothing.
        anew = (
            record is not None and record.anew and request.mode is not Mode.HISTORY and not request.vanished
        )
        return cls(snapshot, record, request.mode is Mode.REPLACE or anew)

    may_be_marked: ClassVar[bool] = False
    """Rows that go are left out of files written anew: pyiceberg writes no files that delete rows."""

    @cached_property
    def gone(self) -> GoneRows:
        """The rows of its files that do not count, by file: none."""
        snapshot = self.snapshot
        kept = [] if snapshot is None or self.replaces else snapshot.files()
        paths = [snapshot.absolute(file.path) for file in kept] if snapshot is not None else []
        return GoneRows(None, dict.fromkeys(paths))

    @property
    def version(self) -> int:
        """The pinned version; -1 before the first."""
        return -1 if self.snapshot is None else self.snapshot.version

    @property
    def size_bytes(self) -> int:
        """Bytes of the data files that the load keeps or merges with."""
        return 0 if self.snapshot is None or self.replaces else self.snapshot.size_bytes

    def columns(self, request: LoadRequest) -> Columns:
        """Protocol 5: what becomes of the columns.

        Raises:
            SchemaChanged: they do not fit, and the rules allow no way.
            ConfigError: a key is none of the columns.
        """
        incoming = stored_schema(canonical_schema(request.schema))
        check_request(incoming, request)
        known = None if self.snapshot is None else self.snapshot.schema
        last = 0 if self.snapshot is None else self.snapshot.handle.metadata.last_column_id
        if known is None or not known.names:
            evolution, target = Evolution(), incoming
        elif self.replaces:
            evolution, target = replacement(known, incoming), incoming
        else:
            wide, evolution = evolved(known, request)
            target = pa.schema([*wide, *(incoming.field(name) for name in evolution.added)])
        table, last = with_ids(target, known, last)
        staged = pa.schema([field for field in table if field.name in incoming.names])
        return Columns(table, staged, evolution, last)
