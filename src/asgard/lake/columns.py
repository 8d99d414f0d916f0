"""What a load makes of a table's columns, whichever format keeps the table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import Mode
from asgard.core.table import Evolution, LoadRequest


@dataclass(frozen=True)
class Columns:
    """What a load makes of the table's columns.

    Attributes:
        table: the table's schema after the load, every field with its id.
        staged: the columns that come, in the table's types and order.
        evolution: how they differ.
        last_id: the highest field id ever given.
    """

    table: pa.Schema
    staged: pa.Schema
    evolution: Evolution
    last_id: int

    @property
    def wider(self) -> frozenset[str]:
        """Columns whose type becomes wider: every file that stays is written anew with them."""
        return frozenset(self.evolution.rewritten)


def replacement(known: pa.Schema, incoming: pa.Schema) -> Evolution:
    """A column with another type is another column: the old one went, a new one came."""
    changed = {name for name in incoming.names if name in known.names and
               known.field(name).type != incoming.field(name).type}  # fmt: skip
    return Evolution(
        added=tuple(name for name in incoming.names if name not in known.names or name in changed),
        missing=tuple(name for name in known.names if name not in incoming.names or name in changed),
    )


def check_request(incoming: pa.Schema, request: LoadRequest) -> None:
    """Sees that the columns that a request names are among those that come.

    Raises:
        ConfigError: they are not, or cannot be what they are named for.
        DataError: no column comes.
    """
    if not incoming.names:
        raise DataError("the stream has no columns", hint="a table needs at least one")
    if request.mode in (Mode.MERGE, Mode.HISTORY) and not request.keys:
        raise ConfigError(f"{request.mode} needs a key", hint="set primary_key, or use append or replace")
    asked = [*request.keys, *([request.order_by] if request.order_by else [])]
    strange = [name for name in asked if name not in incoming.names]
    if strange:
        raise ConfigError(
            f"the key columns {', '.join(strange)} do not come",
            hint=f"there are: {', '.join(incoming.names)}",
        )
    nested = [name for name in asked if pa.types.is_nested(incoming.field(name).type)]
    if nested:
        raise ConfigError(f"{', '.join(nested)} cannot be a key: it is a list, struct or map")
