"""One plan of Redshift: what each stream reads, unloaded in one transaction or asked for row by row.

What is unloaded is there when the plan is: all of it shows the instant of the plan's transaction. What is
asked for directly is one statement of its own, and shows the instant at which it begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from asgard.connectors._redshift.catalog import EXACT_NAMES, Relation
from asgard.connectors._redshift.cursor import CursorColumn
from asgard.connectors._redshift.types import Attribute, Reading
from asgard.connectors._redshift.unload import UnloadedFile, Unloading
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.position import Position
from asgard.core.stream import Mode, Split
from asgard.transport.postgres import Connection
from asgard.transport.sql_plan import CursorMark, SqlPlan, SqlWish, StreamPlan

How = Literal["auto", "unload", "direct"]


@dataclass(frozen=True)
class Wish(SqlWish[Reading, Attribute, Relation]):
    """A stream as it is to be read."""

    how: How = "auto"

    @property
    def cursor(self) -> CursorColumn | None:
        """The cursor; None when everything is read each time.

        Raises:
            QueryError: there is no such column.
        """
        found = self.cursor_attribute
        if found is None:
            return None
        return CursorColumn.of(found)


class RedshiftPlan(SqlPlan):
    """Holds the unloaded files until it is closed."""

    def __init__(
        self, plans: Mapping[str, StreamPlan], unloading: Unloading | None, warnings: Sequence[str]
    ) -> None:
        super().__init__(plans, warnings)
        self._unloading = unloading

    def close(self) -> None:
        """Removes the files; those that cannot be removed now are by a later plan, or it warns."""
        unloading, self._unloading = self._unloading, None
        if unloading is not None:
            with suppress(AsgardError):
                unloading.clear()


class Planner:
    """Works out what each stream reads, in one transaction.

    Args:
        unloading: None where there is no bucket to unload to.
        unload_rows: from so many rows on a table is unloaded.
    """

    def __init__(self, connection: Connection, unloading: Unloading | None, unload_rows: int) -> None:
        self._connection = connection
        self._unloading = unloading
        self._unload_rows = unload_rows

    def plan(self, wish: Wish, position: Position | None, until: str | None) -> StreamPlan:
        """The splits, token and warnings of one stream.

        Raises:
            QueryError: the server does not know a name in the wish.
            PositionLost: the position does not belong to this table any more.
            Refused, ConfigError: UNLOAD may not write, or not there.
        """
        out = StreamPlan()
        cursor = wish.cursor
        condition = "" if cursor is None else self._since(out, wish, cursor, position, until)
        where = " AND ".join(f"({part}\n)" for part in (wish.reading.where, condition) if part)
        rest = f"FROM {wish.source}" + (f" WHERE {where}" if where else "")
        unloading = self._unloading_of(wish, rest)
        if unloading is None:
            out.splits = [_direct_split(wish, rest)]
        else:
            files = unloading.unload(self._connection, wish.reading, rest)
            out.splits = [_file_split(wish, unloading.folder, file) for file in files]
        return out

    def _since(
        self, out: StreamPlan, wish: Wish, cursor: CursorColumn, position: Position | None, until: str | None
    ) -> str:
        """The condition of the rows that are new; the token goes into the plan."""
        whole = wish.selection.mode is Mode.REPLACE  # its bound is for a later increment
        keyed = whole or bool(wish.selection.primary_key)
        token = position.token if position is not None and not whole else None
        since = CursorMark.read_of(token, cursor.name, cursor.type) if token is not None else None
        lag = wish.selection.cursor_lag
        bound = self._bound(wish, cursor, since, (until, 0.0 if keyed else lag))
        out.token = CursorMark(cursor.name, cursor.type, bound).token()
        if not lag:
            out.warnings.append(
                f"{wish.name} has no cursor_lag: rows that commit late, or with an older {cursor.name}, "
                "are missed"
            )
        return cursor.keyed(since, lag, until) if keyed else cursor.unkeyed(since, bound)

    def _bound(
        self, wish: Wish, cursor: CursorColumn, since: CursorMark | None, below: tuple[str | None, float]
    ) -> str | None:
        """The cursor's highest value, less a lag, and never below the last bound: rows may be gone."""
        until, lag = below
        limit = f" WHERE {cursor.sql} < {cursor.value(until)}" if until else ""
        highest = cursor.less(f"max({cursor.sql})", lag)
        rows = self._connection.rows(f"SELECT {cursor.text_of(highest)} FROM {wish.source}{limit}")
        found: str | None = rows[0][0]
        before = since.bound if since is not None else None
        if found is None or before is None:
            return before if found is None else found
        rows = self._connection.rows(f"SELECT {cursor.value(before)} >= {cursor.value(found)}")
        return before if rows[0][0] else found

    def _unloading_of(self, wish: Wish, rest: str) -> Unloading | None:
        """Whether to unload: what is large, or may be."""
        if wish.how == "unload" and self._unloading is None:
            raise ConfigError(
                f"{wish.name} is to be unloaded, and there is nowhere to",
                hint="unload: s3://bucket/prefix, and iam_role, at the source",
            )
        if self._unloading is None or wish.how == "direct" or wish.selection.limit_rows is not None:
            return None
        if wish.how == "auto" and wish.relation is not None and wish.relation.is_table:
            [(count,)] = self._connection.rows(f"SELECT count(*) {rest}")
            if int(count) < self._unload_rows:
                return None
        return self._unloading


def hexed(schema: pa.Schema) -> str:
    """A schema as a split carries it."""
    return str(schema.serialize().to_pybytes().hex())


def unhexed(text: str) -> pa.Schema:
    """The schema that a split carries."""
    return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(text)))


def _spec(wish: Wish) -> dict[str, object]:
    return {
        "name": wish.name,
        "schema": hexed(wish.reading.schema()),
        "native": hexed(wish.reading.native()),
    }


def _direct_split(wish: Wish, rest: str) -> Split:
    asked = ", ".join(column.asked for column in wish.reading.columns)
    limit = "" if wish.selection.limit_rows is None else f" LIMIT {wish.selection.limit_rows}"
    exact = wish.relation is not None and wish.relation.has_exact_names
    spec = {**_spec(wish), "sql": f"SELECT {asked} {rest}{limit}", "settings": [EXACT_NAMES] if exact else []}
    rows = wish.relation.rows if wish.relation is not None else None
    return Split("rows", wish.selection.stream.id, spec, rows)


def _file_split(wish: Wish, folder: str, file: UnloadedFile) -> Split:
    """A file; its id is the slice's and part's, which stay the same as long as the cluster does."""
    name = file.name.removeprefix(folder).lstrip("/").partition("/")[2]
    spec = {**_spec(wish), "file": file.name, "rows": file.rows, "size_bytes": file.size_bytes}
    return Split(name, wish.selection.stream.id, spec, file.rows, file.size_bytes)
