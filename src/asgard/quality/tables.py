"""What the checks of one load look at: its rows, the table as it would be, other tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.core.names import EXTRACTED_AT, RESERVED_PREFIX
from asgard.core.stream import Mode
from asgard.core.table import Mount, TableName
from asgard.quality.predicates import columns_of, identifier

FRESH = "_asgard_fresh"
WHOLE = "_asgard_whole"
TABLE = "{table}"
"""How the query of a check calls the table."""

Past = Sequence[tuple[datetime, float]]
"""What a figure was at earlier loads, the oldest first."""


def _nothing_known(check: str) -> Past | None:
    return None


@dataclass(frozen=True)
class AuditContext:
    """The surroundings of a load that is checked.

    Attributes:
        mode: after a replace the rows of the load are the whole table.
        previous_rows: rows of the last good version; None for a first load or when unknown.
        now: the instant that freshness is measured from, timezone-aware.
        resolve: the newest mount of another table.
        table: the table that is loaded, for checks that refer to itself; None if none does.
        past: what a check, by its name, measured at earlier loads of the table; None where this is no load.
    """

    mode: Mode
    previous_rows: int | None
    now: datetime
    resolve: Callable[[TableName], Mount]
    table: TableName | None = None
    past: Callable[[str], Past | None] = _nothing_known


@dataclass(frozen=True)
class Tables:
    """Mounts under the names that SQL calls them by.

    Attributes:
        fresh: the rows of this load.
        whole: the table as it would be; the same as fresh when no check asks, or when it is the same.
        others: the tables referred to, by the name that the user gave: SQL name and schema.
        where: SQL that is true for the rows that are looked at; empty for all.
    """

    fresh: Mount
    whole: Mount
    others: dict[str, tuple[str, pa.Schema]] = field(default_factory=dict)
    where: str = ""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the load."""
        return self.fresh.schema

    @property
    def is_whole(self) -> bool:
        """True when the load is the whole table."""
        return self.whole is self.fresh

    @property
    def fresh_sql(self) -> str:
        """The load's rows in SQL."""
        return self._only(FRESH)

    @property
    def whole_sql(self) -> str:
        """The table as it would be in SQL."""
        return self._only(FRESH if self.is_whole else WHOLE)

    def _only(self, name: str) -> str:
        quoted = identifier(name)
        # On lines of its own: a comment at its end must not swallow the bracket.
        return f"(SELECT * FROM {quoted} WHERE\n{self.where}\n)" if self.where else quoted

    def only(self, where: str) -> Tables:
        """The same of the rows for which the SQL is true; what is known of all rows is forgotten."""
        if not where:
            return self
        fresh = replace(self.fresh, rows=None, figures={})
        whole = fresh if self.is_whole else replace(self.whole, rows=None, figures={})
        return replace(self, fresh=fresh, whole=whole, where=where)

    def keys(self, check: Check) -> list[str]:
        """The columns that rows are told apart by, quoted: those of the check, or all but Asgard's own."""
        if check.columns:
            return [column.sql for column in columns_of(check, self.schema)]
        return [identifier(name) for name in self.schema.names if not is_own(name)]


def is_own(column: str) -> bool:
    """True for the columns that Asgard adds to what it loads: they differ between equal rows."""
    return column == EXTRACTED_AT or column.startswith(RESERVED_PREFIX)


def attach(
    engine: Engine,
    checks: Sequence[Check],
    fresh: Mount,
    whole: Callable[[], Mount],
    context: AuditContext,
    asks_whole: Callable[[Check], bool],
) -> Tables:
    """Attaches what the checks need; `whole` is called only when one asks about it.

    Raises:
        ConfigError: a check names a column that is not there, or a table that is not.
    """
    for check in checks:
        if check.kind != "columns":  # which asks whether they are there
            columns_of(check, fresh.schema)
    entire = fresh
    own = str(context.table or "")
    if context.mode is not Mode.REPLACE and any(
        asks_whole(check) or check.options.get("to") == own for check in checks
    ):
        found = whole()
        entire = fresh if found.files and set(found.files) == set(fresh.files) else found
    engine.attach(FRESH, fresh)
    if entire is not fresh:
        engine.attach(WHOLE, entire)
    tables = Tables(fresh, entire)
    for to in {check.options["to"]: None for check in checks if "to" in check.options}:
        if to == own:
            tables.others[to] = (tables.whole_sql, entire.schema)
            continue
        name = f"_asgard_other_{len(tables.others)}"
        mount = context.resolve(named(to))
        engine.attach(name, mount)
        tables.others[to] = (identifier(name), mount.schema)
    return tables


def rows_of(engine: Engine, sql: str) -> list[dict[str, Any]]:
    """All rows of a small result."""
    with engine.query(sql) as reader:
        return list(reader.read_all().to_pylist())


def named(text: str) -> TableName:
    """`bronze.shop.orders` or `gold.revenue` as a name."""
    layer, *source, name = text.split(".")
    return TableName(layer, ".".join(source), name)
