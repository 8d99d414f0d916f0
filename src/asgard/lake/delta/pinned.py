"""The version that a load is worked out on, and what its columns will be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from asgard.core.stream import Mode
from asgard.core.table import Evolution, LoadRequest
from asgard.core.types import canonical_schema
from asgard.lake.columns import Columns, check_request, replacement
from asgard.lake.delta.carried import Newest
from asgard.lake.delta.deletion_vectors import ENABLED, GoneRows
from asgard.lake.delta.ledger import Ledger, Standing
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.folder import Folder
from asgard.lake.schemas import SchemaDocuments, last_field_id, with_field_ids
from asgard.lake.widening import evolved


@dataclass(frozen=True)
class Base:
    """A pinned version with the stream's standing on it.

    Attributes:
        snapshot: None when there is no table yet.
        standing: of the load's stream.
        replaces: whether the load takes every row out that is there.
        log_identity: of the version's log file.
    """

    snapshot: Snapshot | None
    standing: Standing
    replaces: bool
    log_identity: tuple[object, ...] | None = None

    @classmethod
    def open(cls, folder: Folder, request: LoadRequest, newest: Newest | None = None) -> Base:
        """The newest version. Protocol 2 to 4.

        Args:
            newest: what the process knows of it; None reads the log.

        Raises:
            PositionLost: what the table says about the stream cannot be trusted.
        """
        ledger = Ledger(folder)
        snapshot = newest.open() if newest is not None else Snapshot.open(folder)
        if snapshot is None:
            ledger.check_absence()
            epoch = ledger.positions(request.stream).epochs()[-1]
            return cls(None, Standing(epoch), request.mode is Mode.REPLACE)
        snapshot.check_writable()
        standing = ledger.standing(snapshot, request.stream)
        unborn = snapshot.is_ours and snapshot.version == 0  # a first load was killed: nothing is in it
        # Who reads a history anew keeps it: what did not change makes no version. Keys alone replace nothing.
        anew = standing.anew and request.mode is not Mode.HISTORY and not request.vanished
        replaces = request.mode is Mode.REPLACE or anew or unborn
        return cls(snapshot, standing, replaces, snapshot.log_identity())

    @cached_property
    def gone(self) -> GoneRows:
        """The rows of its files that do not count, by file."""
        kept = [] if self.snapshot is None or self.replaces else self.snapshot.files()
        return GoneRows.none() if self.snapshot is None else self.snapshot.gone(kept)

    @cached_property
    def may_be_marked(self) -> bool:
        """Whether rows may be marked as deleted: in tables of ours unless their property says no, in those of
        others if it says yes."""
        if self.snapshot is None or not self.snapshot.may_be_told_by_us:
            return False
        told = self.snapshot.properties.get(ENABLED, "true" if self.snapshot.is_ours else "")
        return told.lower() == "true"

    @property
    def version(self) -> int:
        """The pinned version; -1 before the first."""
        return -1 if self.snapshot is None else self.snapshot.version

    @property
    def size_bytes(self) -> int:
        """Bytes of the data files that the load keeps or merges with."""
        if self.snapshot is None or self.replaces:
            return 0
        return sum(file.size_bytes for file in self.snapshot.files())

    def columns(self, folder: Folder, request: LoadRequest) -> Columns:
        """Protocol 5: what becomes of the columns.

        Raises:
            SchemaChanged: they do not fit, and the rules allow no way.
            ConfigError: a key is none of the columns.
        """
        incoming = canonical_schema(request.schema)
        check_request(incoming, request)
        known = None if self.snapshot is None else self.snapshot.schema
        if known is None or not known.names:
            evolution, target = Evolution(), incoming
        elif self.replaces:
            evolution, target = replacement(known, incoming), incoming
        else:
            known, evolution = evolved(known, request)
            target = pa.schema([*known, *(incoming.field(name) for name in evolution.added)])
        last = max(SchemaDocuments(folder / "_asgard").last_field_id(), last_field_id(known or pa.schema([])))
        table, last = with_field_ids(target, known, last)
        staged = pa.schema([field for field in table if field.name in incoming.names])
        return Columns(table, staged, evolution, last)
