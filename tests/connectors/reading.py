"""What the connectors' tests share: a source's rows as a pipeline would get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asgard.core.position import Position, Token
from asgard.core.source import Source
from asgard.core.stream import Mode, Selection
from asgard.testing.connectors import read_all


@dataclass(frozen=True)
class Loaded:
    """What one plan gave."""

    schema: pa.Schema
    rows: list[dict[str, Any]]
    token: Token | None
    warnings: tuple[str, ...]
    splits: int

    @property
    def types(self) -> dict[str, str]:
        """Column to type; `asgard.type` behind it."""
        told = {}
        for field in self.schema:
            label = (field.metadata or {}).get(b"asgard.type", b"").decode()
            told[field.name] = f"{field.type} {label}".strip()
        return told


def load(source: Source, name: str, options: Mapping[str, Any] | None = None, **how: Any) -> Loaded:
    """One plan of a stream, read to its end.

    Args:
        how: `since` (a token), `until`, `parallel`, `query`; the rest goes to the Selection.
    """
    chosen = source.StreamOptions.model_validate(options or {})  # type: ignore[misc]
    since, until, parallel = how.pop("since", None), how.pop("until", None), how.pop("parallel", 1)
    stream = source.describe(name, chosen, how.get("query"))
    if "cursor" in how:
        how.setdefault("mode", Mode.MERGE if how.get("primary_key") else Mode.APPEND)
    selection = Selection(stream, options=chosen, **how)
    positions = {} if since is None else {stream.id: Position(token=since)}
    with source.plan([selection], positions, until, parallel) as plan:
        stream = plan.stream_of(selection)
        rows = read_all(source, plan.splits, stream.schema).to_pylist()
        return Loaded(stream.schema, rows, plan.tokens.get(stream.id), plan.warnings, len(plan.splits))
