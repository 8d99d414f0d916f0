"""Loads of Iceberg tables that are born to be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from asgard.lake.iceberg import publish
from asgard.lake.iceberg.commit import Draft, Edit
from asgard.lake.iceberg.position import Record
from tests.lake import scenarios
from tests.lake.ground import SCHEMA, STREAM, rows
from tests.lake.iceberg.ground import as_any, iceberg_table
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    table = iceberg_table(Path(order["lake"]))
    if "race" in order:
        _race(Path(order["lake"]), order["race"])
    else:
        scenarios.run(order["scenario"], as_any(table))
    return 0


def _race(lake: Path, wanted: int) -> None:
    """Reads on from the position that it finds, as others do; whoever loses a race drops its rows."""
    table = iceberg_table(lake)
    while int(position.token or 0) < wanted if (position := table.position(STREAM)) else True:
        try:
            with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
                done = int(one.position.token or 0) if one.position else 0
                prepared = one.prepare([one.stage([rows([(done, "x")])])])
                one.publish(prepared, Position(str(done + 1)))
        except publish.Conflict:
            continue


def _forget_position() -> None:
    """The record is written without its position."""
    to_json = Record.to_json
    Record.to_json = lambda self: to_json(replace(self, position=None))  # type: ignore[method-assign]


def _without_properties() -> None:
    """The data is committed, and the position is not."""
    commit = Draft.commit
    Draft.commit = lambda self, edit: commit(self, _without(edit))  # type: ignore[method-assign]


def _without(edit: Edit) -> Edit:
    return replace(edit, properties={})


FAULTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "forget-position": _forget_position,
    "commit-elsewhere": _without_properties,
}
"""Pieces of the protocol taken out: the kill tests must notice."""


if __name__ == "__main__":
    pa.array([1])  # imports pandas where it is installed
    serve(child, FAULTS)
