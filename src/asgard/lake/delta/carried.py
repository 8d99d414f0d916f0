"""What a process knows of a table because it made its newest version: the next load need not read the log.

To open a table costs more than all else that a small commit costs, and more with every commit since the
last checkpoint. Whoever has just put version v knows what it holds: what v - 1 held, and what was put. That
is true as long as version v is the very file that was put, and there is no v + 1: both are looked at before
it is used. A commit on top is the very next version or none, as on every other (protocol, lines 2 and 10).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from asgard.lake.delta.commits import LOG, entry, identity, log_name
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.folder import Folder


@dataclass(frozen=True)
class Facts:
    """A version as the process that put it knows it.

    Attributes:
        identity: of its file in the log.
        numbers: integers of some application ids; of others nothing is known.
    """

    version: int
    identity: tuple[object, ...]
    table_id: str
    properties: Mapping[str, str]
    schema: pa.Schema
    total_rows: int | None
    has_naive_timestamps: bool
    numbers: Mapping[str, int]


class Carried(Snapshot):
    """The version of some facts. Its handle is opened when somebody asks for it."""

    def __init__(self, folder: Folder, facts: Facts) -> None:
        self.folder = folder
        self.facts = facts
        self.version = facts.version
        self.table_id = facts.table_id
        self.properties = dict(facts.properties)
        self.partitioned_by = []
        known: dict[str, Any] = {
            "schema": facts.schema,
            "total_rows": facts.total_rows,
            "has_naive_timestamps": facts.has_naive_timestamps,
            "is_plain": True,
            "is_flat": True,
            "vectors": {},
            "may_be_told_by_us": True,
            "takes_plain_commits": True,
        }
        self.__dict__.update(known)  # where cached properties keep what they found

    @cached_property
    def handle(self) -> DeltaTable:  # type: ignore[override]
        """Opened at the version."""
        return self.folder.delta(self.version)

    def transaction_version(self, app: str) -> int | None:
        """As Snapshot."""
        return self.facts.numbers.get(app) or super().transaction_version(app)

    def check_writable(self) -> None:
        """As Snapshot: the version before was written."""


class Newest:
    """The newest version of one table as this process knows it; from any thread."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._facts: Facts | None = None

    def open(self) -> Snapshot | None:
        """A snapshot of one's own of the newest version; None when there is no table."""
        with self._lock:
            facts = self._facts
        if facts is not None and self._is_newest(facts):
            return Carried(self._folder, facts)
        return Snapshot.open(self._folder)

    def made(self, before: Snapshot, total_rows: int | None, app: str, number: int) -> None:
        """Is told of a commit of this process that only added files and one integer to a snapshot."""
        if not before.takes_plain_commits or not before.is_plain:
            return
        try:
            found = identity(self._folder, before.version + 1)
        except FileNotFoundError:
            return
        there = entry(self._folder, before.version + 1)
        if there is None or there.provenance.get("asgard.load") != str(number):
            return  # the log was exchanged in this very instant
        facts = Facts(
            before.version + 1,
            found,
            before.table_id,
            before.properties,
            before.schema,
            total_rows,
            before.has_naive_timestamps,
            {app: number},
        )
        if isinstance(before, Carried):
            facts = replace(facts, numbers={**before.facts.numbers, app: number})
        with self._lock:
            self._facts = facts

    def forget(self) -> None:
        """Is told that something else was done to the table."""
        with self._lock:
            self._facts = None

    def _is_newest(self, facts: Facts) -> bool:
        try:
            there = identity(self._folder, facts.version)
        except FileNotFoundError:
            return False
        return there == facts.identity and not (self._folder / LOG).has(log_name(facts.version + 1))
