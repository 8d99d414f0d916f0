"""History (SCD2): every version of a row with the range in which it held, worked out by key.

A version holds from `_asgard_valid_from` until `_asgard_valid_to`, which is null as long as it holds. Rows
that come are versions too: one that says what the version before it says is none, one that comes late goes
in between, and a key that was closed and comes again begins anew.

DuckDB sees keys, instants, and a hash of what each row says; it answers with what has to change about rows,
by file and row number. Values stay in Arrow. Memory is bounded by DuckDB's limit, which spills, and by the
changes of one file (Promise 5). docs/decisions/0180-history.md has the rules.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.names import EXTRACTED_AT, VALID_FROM, VALID_TO
from asgard.core.table import History
from asgard.core.types import is_metadata_column
from asgard.lake.folder import Folder
from asgard.lake.merge import FILE, ROW, KeyIndex
from asgard.lake.rewrite import NO_ROWS, left_out, rows_of, span
from asgard.lake.widening import sql_type
from asgard.transport import duck

THERE, CAME = 0, 1
MOMENTS = pa.timestamp("us", "UTC")
_SINCE, _UNTIL = duck.identifier(VALID_FROM), duck.identifier(VALID_TO)
_MOMENT = "INTERVAL 1 MICROSECOND"
_NEVER, _FIRST = "NULL::TIMESTAMPTZ", "TIMESTAMPTZ '0001-01-01 00:00:00+00'"

_AFTER_ALL_THAT_ARE_THERE = f"""
CREATE OR REPLACE TABLE came AS
SELECT came.* REPLACE (CASE WHEN latest >= since THEN latest + {_MOMENT} ELSE since END AS since)
FROM came LEFT JOIN (SELECT KEYS, max(greatest(since, until)) AS latest FROM there GROUP BY ALL) USING (KEYS)
"""

_RANGES = f"""
CREATE TABLE revisions AS
WITH told AS (  -- of several at one instant the last that came counts, unless it says what is there already
    SELECT *,
        first_value(origin) OVER last AS last_origin,
        first_value(said) OVER last AS last_said,
        first_value(deleted) OVER last AS last_deleted,
        row_number() OVER last = 1 AS is_last,
        max(said) FILTER (origin = {THERE}) OVER (PARTITION BY KEYS, since) AS known
    FROM (SELECT * FROM came UNION ALL BY NAME SELECT * FROM there)
    WINDOW last AS (PARTITION BY KEYS, since ORDER BY origin DESC, file_index DESC, row DESC)
), counting AS (
    SELECT * EXCLUDE (last_origin, last_said, last_deleted, is_last, known),
        CASE WHEN origin = {THERE} THEN last_origin = {THERE} OR (last_said = said AND NOT last_deleted)
            ELSE is_last AND (deleted OR known IS DISTINCT FROM said) END AS counts
    FROM told
), closings AS (  -- a range that ends where no other begins: the key was deleted then
    SELECT KEYS, until AS since FROM (
        SELECT KEYS, until, lead(since) OVER (PARTITION BY KEYS ORDER BY since) AS next FROM there
    ) WHERE until IS NOT NULL AND next IS DISTINCT FROM until
), compared AS (
    SELECT *,
        coalesce(origin = {CAME} AND is_version AND lag(is_version) OVER line AND lag(said) OVER line = said,
            false) AS same
    FROM (
        SELECT *, NOT deleted AS is_version FROM counting WHERE counts
        UNION ALL BY NAME SELECT *, false AS is_version FROM closings
    )
    WINDOW line AS (PARTITION BY KEYS ORDER BY since, is_version)
), ranges AS (
    SELECT *, lead(since) OVER (PARTITION BY KEYS ORDER BY since, is_version) AS ends
    FROM compared WHERE NOT same
)
SELECT origin, file_index, row, true AS gone, since, until FROM counting WHERE NOT counts
UNION ALL SELECT origin, file_index, row, true, since, until FROM compared WHERE same OR deleted
UNION ALL SELECT origin, file_index, row, false, since, ends FROM ranges
WHERE is_version AND (ends IS DISTINCT FROM until OR since IS DISTINCT FROM told)
"""

_NO_REVISIONS = """
CREATE TABLE revisions (
    origin INTEGER, file_index UBIGINT, row BIGINT, gone BOOLEAN, since TIMESTAMPTZ, until TIMESTAMPTZ
)
"""

_ENDED = f"""
INSERT INTO revisions
SELECT origin, file_index, row, false, since, CASE WHEN since >= $at THEN since + {_MOMENT} ELSE $at END
FROM (ROWS) ANTI JOIN came USING (KEYS) WHERE until IS NULL
"""


@dataclass(frozen=True)
class _Range:
    """SQL of when a version holds: `told` is its beginning as the row has it."""

    since: str
    told: str
    until: str


def _range_in(known: Container[str]) -> _Range:
    """The ranges of rows in files with these columns: those from before the table was a history hold since
    they were read."""
    there = [duck.identifier(name) for name in (VALID_FROM, EXTRACTED_AT) if name in known]
    since = f"coalesce({', '.join([*there, _FIRST])})"
    if VALID_FROM not in known:
        return _Range(since, _NEVER, _NEVER)
    return _Range(since, _SINCE, _UNTIL)


class HistoryIndex(KeyIndex):
    """The versions of staged files and of the table, for the question what becomes of them."""

    def revisions(
        self,
        table_files: Sequence[str],
        columns: pa.Schema,
        history: History,
        wider: Container[str] = (),
    ) -> Revisions:
        """What has to change about rows, so that the ranges of every key follow one another.

        Args:
            table_files: the table's files, absolute, that may hold the keys; all of them where keys that did
                not come are closed.
            columns: those that came, by which a row says something new or the same.
            history: how rows become versions.
            wider: columns that have a narrower type in the table's files than in those that came.
        """
        files = self._with_keys(table_files)
        said = [c for c in columns if not is_metadata_column(c.name) and c.name not in self._keys.columns]
        known = {name for path in files for name in self._columns(path).names}
        deleted = self._deleted() if self._keys.deleted and self._files else "false"
        came = self._rows(
            "staged", CAME, _Range(_SINCE, _SINCE, _NEVER), _hash_of(said, columns.names, ()), deleted
        )
        said_there = _hash_of(said, known, wider)
        there = self._rows(self._files_sql(files), THERE, _range_in(known), said_there, "false")
        with duck.translated():
            if self._files:
                self._connection.execute(f"CREATE TABLE came AS {came}")
            else:
                self._connection.execute(f"CREATE TABLE came AS SELECT * FROM ({there}) WHERE false")
            found = self._sql(f"({there}) SEMI JOIN came USING (KEYS)") if files else "came WHERE false"
            self._connection.execute(f"CREATE TABLE there AS SELECT * FROM {found}")
            if not history.by_cursor:
                self._connection.execute(self._sql(_AFTER_ALL_THAT_ARE_THERE))
            self._connection.execute(self._sql(_RANGES))
        if history.closes_at is not None:
            self._end(files, history.closes_at)
        return Revisions(self._connection, {CAME: self._files, THERE: files})

    def ended(self, table_files: Sequence[str], at: datetime) -> Revisions:
        """What has to change about rows, so that keys that hold end at an instant if they were not staged.
        What was staged are keys alone."""
        files = self._with_keys(table_files)
        with duck.translated():
            source = "staged" if self._files else f"{self._files_sql(files)} WHERE false"
            self._connection.execute(f"CREATE TABLE came AS SELECT {self._keys_sql()} FROM {source}")
            self._connection.execute(_NO_REVISIONS)
        self._end(files, at)
        return Revisions(self._connection, {CAME: self._files, THERE: files})

    def _end(self, files: Sequence[str], at: datetime) -> None:
        if not files:
            return
        known = {name for path in files for name in self._columns(path).names}
        rows = self._rows(self._files_sql(files), THERE, _range_in(known), "0", "false")
        with duck.translated():
            self._connection.execute(self._sql(_ENDED).replace("ROWS", rows), {"at": at})

    def _rows(self, source: str, origin: int, range_: _Range, said: str, deleted: str) -> str:
        """The versions of files, under names that no column of theirs has."""
        return (
            f"SELECT {self._keys_sql()}, {origin} AS origin, {FILE} AS file_index, {ROW} AS row, "
            f"{range_.since} AS since, {range_.told} AS told, {range_.until} AS until, {said} AS said, "
            f"{deleted} AS deleted "
            f"FROM {source}"
        )

    def _keys_sql(self) -> str:
        return ", ".join(f"{duck.identifier(name)} AS k{i}" for i, name in enumerate(self._keys.columns))

    def _sql(self, text: str) -> str:
        return text.replace("KEYS", ", ".join(f"k{i}" for i in range(len(self._keys.columns))))


class Revisions:
    """What has to change about rows of files. They lie in the DuckDB of their index as long as that is open.

    Attributes:
        came, there: staged files and files of the table about whose rows something has to change.
        superseded: how many rows of the table vanish: others came for the same instants.
    """

    def __init__(self, connection: duck.Connection, files: dict[int, Sequence[str]]) -> None:
        self._connection = connection
        with duck.translated():
            rows = connection.sql(
                "SELECT origin, file_index, count(*) FILTER (gone) FROM revisions GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
        self._places = {files[origin][index]: (origin, index) for origin, index, _ in rows}
        self.came = tuple(files[origin][index] for origin, index, _ in rows if origin == CAME)
        self.there = tuple(files[origin][index] for origin, index, _ in rows if origin == THERE)
        self.superseded = sum(gone for origin, _, gone in rows if origin == THERE)

    def of(self, file: str) -> Revision:
        """The changes of one file's rows; from any thread."""
        origin, index = self._places[file]
        with duck.translated(), self._connection.cursor() as cursor:
            found = cursor.execute(
                "SELECT row, gone, since, until FROM revisions "
                "WHERE origin = ? AND file_index = ? ORDER BY row",
                [origin, index],
            ).to_arrow_table()
        kinds = (pa.int64(), pa.bool_(), MOMENTS, MOMENTS)
        columns = (found.column(i).combine_chunks().cast(kind) for i, kind in enumerate(kinds))
        return Revision(*columns)


@dataclass(frozen=True)
class Revision:
    """Changes of one file's rows.

    Attributes:
        rows: their numbers, ascending.
        gone: whether the row vanishes.
        since, until: its range, as it is now.
    """

    rows: pa.Int64Array
    gone: pa.BooleanArray
    since: pa.TimestampArray
    until: pa.TimestampArray

    def applied(self, batch: pa.RecordBatch, start: int, left: pa.Int64Array) -> pa.RecordBatch:
        """A batch with the ranges of its rows as they are now, without those that are gone.

        Args:
            start: the number of the batch's first row.
            left: rows that were gone before.
        """
        begin, length = span(self.rows, start, start + batch.num_rows)
        if not length:
            return left_out(batch, start, left)
        numbers = pa.arange(start, start + batch.num_rows)
        changed = pc.is_in(numbers, value_set=self.rows.slice(begin, length))
        for name, values in ((VALID_FROM, self.since), (VALID_TO, self.until)):
            index = batch.schema.get_field_index(name)
            now = pc.replace_with_mask(batch.column(index), changed, values.slice(begin, length))
            batch = batch.set_column(index, batch.schema.field(index), now)
        gone = self.rows.slice(begin, length).filter(self.gone.slice(begin, length))
        before = left.slice(*span(left, start, start + batch.num_rows))
        lost = pa.concat_arrays([gone, before])
        return batch.filter(pc.invert(pc.is_in(numbers, value_set=lost))) if len(lost) else batch


def revised(
    folder: Folder,
    revisions: Revisions,
    gone: Mapping[str, pa.Int64Array],
    files: Sequence[str],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """The rows of files, as `rows_of`, with the changes that revisions have for them.

    Args:
        gone: rows of files that do not count, by file.
    """
    for path in files:
        revision, left, start = revisions.of(path), gone.get(path, NO_ROWS), 0
        for batch in rows_of(folder, [path], schema):
            yield revision.applied(batch, start, left)
            start += batch.num_rows


def _hash_of(columns: Sequence[pa.Field], known: Container[str], wider: Container[str]) -> str:
    """SQL of what a row says; columns that the files do not have say null, and those that become wider say
    what they will.

    It has 64 bits, and is compared with those of the versions beside it alone: of 10^19 changes one is taken
    for none. Zeros of either sign differ.
    """
    said = []
    for column in columns:
        name = duck.identifier(column.name) if column.name in known else "NULL"
        if column.name in wider and column.name in known:
            name = f"{name}::{sql_type(column.type)}"
        if not t.is_floating(column.type):
            said.append(name)
        if t.is_floating(column.type) or t.is_nested(column.type):
            said.append(f"{name}::VARCHAR")  # nested: an empty struct and a missing one have the same hash
    return f"hash({', '.join(said)})" if said else "0::UBIGINT"
