"""The wish to know how two tables, two versions of one, or one in two environments differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asgard.app.project.workspace import Workspace
from asgard.app.tables.rows import json_rows
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.names import RESERVED_PREFIX
from asgard.core.table import Mount
from asgard.flow.comparison import KINDS, Bounds, Comparison, compare

__all__ = ["DiffWish", "diff", "diff_as_dict"]

METADATA = "extracted_at"
"""What each load says of itself, besides the columns with the reserved prefix."""


@dataclass(frozen=True)
class DiffWish:
    """What is to be compared.

    Attributes:
        a, b: tables as `Workspace.table` takes them; `dev:silver.orders` is the table of an environment.
            Without b it is a again.
        at_a, at_b: versions; None for the newest.
        keys: columns that tell rows apart; none: whole rows are compared.
        ignore: columns that are left out, besides what loads say of themselves.
        metadata: compares that, too.
        samples: rows to show of each kind.
    """

    a: str
    b: str = ""
    at_a: int | None = None
    at_b: int | None = None
    keys: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    metadata: bool = False
    samples: int = 5


@dataclass(frozen=True)
class _Pair:
    """Two tables that can be compared.

    Attributes:
        ignore: columns that are left out.
    """

    workspace: Workspace
    a: Mount
    b: Mount
    ignore: tuple[str, ...]


def diff(
    opened: Callable[[str | None], Workspace], wish: DiffWish, cancel: Cancel | None = None
) -> Comparison:
    """Compares two tables; memory stays within the project's.

    Args:
        opened: gives the workspace of an environment; None for the one that the command has.

    Raises:
        ConfigError: there is no such table, version or key.
        DataError: a key comes twice.
        Cancelled: that was asked for.
    """
    pair = _pair(opened, wish)
    budget_bytes = pair.workspace.budget.engine_bytes
    with pair.workspace.open_engine(budget_bytes) as engine:
        forget = (cancel or Cancel()).on_cancel(engine.interrupt)
        try:
            bounds = Bounds(wish.samples, budget_bytes)
            return compare(engine, pair.a, pair.b, keys=wish.keys, ignore=pair.ignore, bounds=bounds)
        finally:
            forget()


def check_wish(opened: Callable[[str | None], Workspace], wish: DiffWish) -> None:
    """Sees that what is to be compared is there.

    Raises:
        ConfigError: it is not.
    """
    pair = _pair(opened, wish)
    for key in wish.keys:
        if key not in pair.a.schema.names or key not in pair.b.schema.names:
            raise ConfigError(f"there is no column {key!r} in both tables, which is a key")


def _pair(opened: Callable[[str | None], Workspace], wish: DiffWish) -> _Pair:
    if not wish.b and wish.at_a == wish.at_b:
        raise ConfigError(
            "a table is equal to itself", hint="name two tables, or two versions: --at 3 --at 5"
        )
    workspace, a = _mount(opened, wish.a, wish.at_a)
    _, b = _mount(opened, wish.b or wish.a, wish.at_b)
    own = {*a.schema.names, *b.schema.names}
    hidden = {name for name in own if name == METADATA or name.startswith(RESERVED_PREFIX)}
    ignore = {*wish.ignore, *(() if wish.metadata else hidden - set(wish.keys))}
    if strange := set(wish.ignore) - own:
        raise ConfigError(f"neither table has a column {', '.join(sorted(strange))}")
    return _Pair(workspace, a, b, tuple(ignore))


def _mount(opened: Callable[[str | None], Workspace], name: str, at: int | None) -> tuple[Workspace, Mount]:
    environment, colon, table = name.rpartition(":")
    workspace = opened(environment if colon else None)
    return workspace, workspace.table(table).mount(at)


def diff_as_dict(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON; values as `asgard query --json` has them."""
    return {
        "equal": found.is_equal,
        "schema": found.columns.as_dict(),
        "not_compared": list(found.not_compared),
        "rows": {"a": found.rows_a, "b": found.rows_b},
        "differences": {kind: found.counts[kind] for kind in KINDS},
        "changed_columns": dict(found.changed_columns.most_common()),
        "samples": {
            "only_a": json_rows(found.samples["only_a"]),
            "only_b": json_rows(found.samples["only_b"]),
            "changed": [row for batch in found.samples["changed"] for row in _changed(batch)],
        },
    }


def _changed(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with their key, and of the other columns those that differ, as [a, b]."""
    pairs = [name.removeprefix("differs.") for name in batch.schema.names if name.startswith("differs.")]
    keys: Sequence[str] = batch.schema.names[: len(batch.schema.names) - 3 * len(pairs)]
    return [
        {
            "key": {key: row[key] for key in keys},
            "columns": {n: [row[f"a.{n}"], row[f"b.{n}"]] for n in pairs if row[f"differs.{n}"]},
        }
        for row in json_rows([batch])
    ]
