"""One reading of a stream: what is wished, the pages that come, and where the stream stands with them.

With a cursor a reading may end before its last page: what was read is committed, and the next one goes on
there. A list whose count falls while it is read has to be read again; that is for the caller.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from asgard.connectors._api.cursor import Stand, Value, higher, is_above, server_clock, value_of
from asgard.connectors._api.options import ApiStreamOptions, Increment
from asgard.connectors._api.pages import Mark, Page
from asgard.connectors._api.paging import Offsets, PageNumbers, value_at
from asgard.connectors._api.spool import Spool
from asgard.core.budget import MEBIBYTE
from asgard.core.cancel import Cancel
from asgard.core.errors import SchemaChanged
from asgard.core.position import Token
from asgard.core.stream import Mode, Selection
from asgard.core.types import TYPE, metadata
from asgard.transport.column_types import word_of
from asgard.transport.json_records import RecordProofs

STRETCH_BYTES = 64 * MEBIBYTE
STRETCH_SECONDS = 300.0
STRETCH_ROWS = 200_000
"""After so much a plan with a cursor ends, is committed, and the next one goes on at the next page."""
GC_OBJECTS = 100_000


@dataclass(frozen=True)
class Fetched:
    """What a plan fetched of one stream.

    Attributes:
        pages: how many.
        token: where the stream stands with it; None without a cursor.
        goes_on: whether there is more to be read.
    """

    spool: Spool
    pages: int
    token: Token | None
    goes_on: bool
    warnings: tuple[str, ...] = ()


@dataclass
class Begun:
    """A reading that `describe` began, for the plan to go on with.

    Attributes:
        pages: those it looked at.
        rest: those behind them.
    """

    options: ApiStreamOptions
    rest: Iterator[Page]
    pages: list[Page] = field(default_factory=list)


@dataclass(frozen=True)
class Wish:
    """What is to be fetched.

    Attributes:
        increment, stand: None without a cursor.
        values: for placeholders.
    """

    selection: Selection
    options: ApiStreamOptions
    increment: Increment | None = None
    stand: Stand | None = None
    values: Mapping[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it begins with the first page of everything."""
        return not self.values and (self.stand is None or self.stand.mark is None)

    @property
    def start(self) -> Mark | None:
        """The page to begin with; None for the first."""
        return None if self.stand is None else self.stand.mark

    @property
    def known(self) -> Mapping[str, Any]:
        """What the values of earlier readings proved."""
        return {} if self.stand is None else self.stand.columns

    @property
    def above(self) -> Value | None:
        """Only records above this are wanted: without a key, those at the bound would come twice."""
        keyed = self.selection.primary_key or self.selection.mode is not Mode.APPEND
        return None if self.stand is None or keyed else self.stand.value


class Gathering:
    """One reading of a stream into a spool.

    Attributes:
        fell: whether the count of records that answers tell fell, or is more than came.
    """

    def __init__(self, wish: Wish, proofs: RecordProofs, pages: Iterator[Page], cancel: Cancel) -> None:
        stand, selection = wish.stand, wish.selection
        self.fell = False
        self._wish, self._pages_to_come, self._cancel = wish, pages, cancel
        self._name = selection.stream.name
        self._where = {"stream": self._name, "column": selection.cursor or ""}
        key = selection.primary_key or wish.options.record_key
        self._spool = Spool(self._name, proofs, key, empty_is_null=wish.options.empty_is_null)
        self._before = proofs.schema if wish.known else None
        self._highest = stand.highest if stand and stand.mark else None
        self._began = stand.began if stand and stand.mark else None
        self._pages = 0
        self._ends_at = time.monotonic() + STRETCH_SECONDS

    def all(self) -> Fetched:
        """Reads to the end, or as far as one plan goes.

        Raises:
            DataError, QueryError: an answer is not what it should be; nothing is kept.
        """
        try:
            with _rare_collections():
                page = self._gathered()
                self._spool.finish()
            return self._result(page)
        except BaseException:
            self._spool.close()
            raise

    def _gathered(self) -> Page | None:
        wish = self._wish
        most = wish.selection.limit_rows
        highest_total = 0
        page: Page | None = None
        counted = isinstance(wish.options.pagination, PageNumbers | Offsets) and wish.start is None
        for page in self._pages_to_come:
            self._cancel.check()
            self._pages += 1
            self._take(page)
            if counted and page.total is not None:
                self.fell = self.fell or page.total < highest_total
                highest_total = max(highest_total, page.total)
            if self._is_enough(page) or (most is not None and self._spool.rows >= most):
                return page
        if counted and highest_total > self._spool.rows - self._spool.repeated:
            self.fell = True
        return page

    def _take(self, page: Page) -> None:
        if self._began is None:
            self._began = server_clock(page.date, time.time())
        cursor = self._wish.selection.cursor
        if cursor is not None:
            records = above(page.records, cursor, self._wish.above)
            page = replace(page, records=records)
            for record in records:
                value = value_of(value_at(record, cursor), self._where)
                self._highest = higher(self._highest, value, self._where)
        self._spool.add(page)

    def _is_enough(self, page: Page) -> bool:
        """Whether the plan may end here, and has enough: what comes next is found by the cursor."""
        if self._wish.stand is None or not page.marked or self._wish.selection.mode is Mode.REPLACE:
            return False
        spool = self._spool
        full = spool.size_bytes >= STRETCH_BYTES or spool.rows >= STRETCH_ROWS
        return full or time.monotonic() >= self._ends_at

    def _result(self, last: Page | None) -> Fetched:
        stand, spool = self._wish.stand, self._spool
        if self._before is not None:
            _refuse_other_types(self._before, spool.schema, self._name)
        if stand is None or last is None:
            return Fetched(spool, self._pages, None if stand is None else stand.token, False)
        assert self._began is not None
        assert self._wish.increment is not None
        columns = spool.proofs.to_json()
        if last.onward is not None:
            token = stand.left_at(last.onward, self._highest, self._began, columns).token
            return Fetched(spool, self._pages, token, self._wish.selection.limit_rows is None)
        ended = stand.ended(self._highest, self._began, columns, self._wish.increment)
        return Fetched(spool, self._pages, ended.token, False)


def above(records: list[Any], cursor: str | None, bound: Value | None) -> list[Any]:
    """The records above a bound; all where there is none."""
    if bound is None or cursor is None:
        return records
    return [record for record in records if is_above(value_at(record, cursor), bound)]


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Lets Python look for cycles less often: records are many objects at once, and none of them is garbage
    before all are; looking for it took a fifth of the processor."""
    thresholds = gc.get_threshold()
    gc.set_threshold(GC_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _refuse_other_types(before: pa.Schema, now: pa.Schema, name: str) -> None:
    """Refuses values that the columns of what is in the table already do not carry."""
    for column in before:
        other = now.field(column.name)
        same = other.type == column.type and metadata(other).get(TYPE) == metadata(column).get(TYPE)
        if same or pa.types.is_null(column.type):
            continue
        word = "json" if metadata(other).get(TYPE) == "json" else word_of(other.type)
        raise SchemaChanged(
            f"a value came that {column.type} does not carry, which {column.name} was so far",
            hint=f"`columns: {{{column.name}: {word}}}` in asgard.yml, and then asgard resync",
            where={"stream": name, "column": column.name},
        )
