"""Contracts for drift: what becomes of columns that are new, and of values that do not fit the table's type.

The words are those that users of dlt know. Where a contract says nothing, a load does what
`core.types.reconcile` says: new columns are added, narrower types carried, and everything else stops it. A
contract never loosens what a value has to be (Promise 2): one that does not fit is left out by the user's own
word and counted, or its row is set aside, or the load stops.

Reference: https://dlthub.com/docs/general-usage/schema-contracts
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.cast import Misfit, convert
from asgard.core.columns import array_of
from asgard.core.errors import SchemaChanged
from asgard.core.types import canonical_batch, is_metadata_column, reconcile


class Rule(StrEnum):
    """What happens to what does not fit."""

    EVOLVE = "evolve"
    FREEZE = "freeze"
    DISCARD_ROW = "discard_row"
    DISCARD_VALUE = "discard_value"


@dataclass(frozen=True)
class Contract:
    """The rules of one table; None where nobody said one.

    Attributes:
        tables: what a name with wildcards may newly bring in: evolve or freeze.
        columns: columns that the table does not have.
        types: values that do not fit the table's type.
    """

    tables: Rule | None = None
    columns: Rule | None = None
    types: Rule | None = None

    def over(self, other: Contract) -> Contract:
        """These rules, and the other's where these say nothing."""
        return Contract(self.tables or other.tables, self.columns or other.columns, self.types or other.types)

    @property
    def sets_aside(self) -> bool:
        """Whether rows may go to the quarantine."""
        return Rule.DISCARD_ROW in (self.columns, self.types)


@dataclass(frozen=True)
class Renaming:
    """A column that vanished and one that came, of one type and at one place: perhaps the same."""

    before: str
    now: str


@dataclass
class Discards:
    """What was left out and set aside, by column; safe from several threads."""

    _values: dict[str, int] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, column: str, *, values: int = 0, rows: int = 0) -> None:
        """Counts values that were left out, or rows that were set aside for the column's sake."""
        with self._lock:
            for counts, count in ((self._values, values), (self._rows, rows)):
                if count:
                    counts[column] = counts.get(column, 0) + count

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Column to `values` and `rows`, as JSON; a row counts for each column that it was set aside for."""
        with self._lock:
            names = sorted({*self._values, *self._rows})
            found = {
                name: {"values": self._values.get(name, 0), "rows": self._rows.get(name, 0)} for name in names
            }
        return {name: {key: n for key, n in counts.items() if n} for name, counts in found.items()}


@dataclass(frozen=True)
class Parted:
    """A batch under a contract.

    Attributes:
        good: the rows that stay, in the agreed columns.
        bad: the rows that are set aside, in the same columns, null where a value does not fit.
        reasons: of each bad row; they hold the values that do not fit.
    """

    good: pa.RecordBatch
    bad: pa.RecordBatch
    reasons: list[str]


@dataclass(frozen=True)
class Agreement:
    """What a table and a stream agreed on under a contract.

    Attributes:
        contract: the rules.
        own: the columns that are loaded, in the types in which they are.
        left_out: new columns that are not let in.
        unlike: columns none of whose values fits, although Arrow could carry them: another kind of text.
        needed: columns without whose values a row cannot be placed: none of theirs is left out.
        widens: columns whose type becomes wider in the table.
        allow_missing: whether columns may vanish.
        renamings: what looks like a renamed column.
        discards: what was discarded so far.
    """

    contract: Contract
    own: pa.Schema
    left_out: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    needed: frozenset[str] = frozenset()
    widens: bool = False
    allow_missing: bool = False
    renamings: tuple[Renaming, ...] = ()
    discards: Discards = field(default_factory=Discards)

    def parted(self, batch: pa.RecordBatch) -> Parted:
        """The batch by the rules.

        Args:
            batch: in lake names; what it has beside the agreed columns is new.

        Raises:
            DataError: a value does not fit, and the rules do not say that it may be left out.
            SchemaChanged: the plan did not know a column, and the rules do not leave it out.
        """
        columns: list[pa.Array] = []
        misfits: list[tuple[str, str, pa.Array, pa.Array]] = []
        for column in self.own:
            index = batch.schema.get_field_index(column.name)
            array = batch.column(index) if index >= 0 else pa.nulls(batch.num_rows, column.type)
            carried, mask = self._fitting(array, column)
            columns.append(carried)
            if mask is not None:
                misfits.append((column.name, f"is no {column.type}", array, mask))
        for name in batch.schema.names:
            if self.own.get_field_index(name) < 0:
                misfits += self._new(name, batch.column(name))
        aside = self._counted(misfits, batch.num_rows)
        whole = pa.RecordBatch.from_arrays(columns, names=self.own.names)
        if not aside.told:
            good = canonical_batch(whole, self.own)
            return Parted(good, good.slice(0, 0), [])
        whole = canonical_batch(whole, _loose(self.own))
        bad = whole.filter(aside.mask)
        good = canonical_batch(whole.filter(pc.invert(aside.mask)), self.own)
        return Parted(good, bad, aside.reasons())

    def _fitting(self, array: pa.Array, column: pa.Field) -> tuple[pa.Array, pa.Array | None]:
        rule = self.contract.types
        if column.name in self.unlike:
            return pa.nulls(len(array), column.type), array.is_valid()
        may_leave = rule is Rule.DISCARD_ROW or (
            rule is Rule.DISCARD_VALUE and column.name not in self.needed
        )
        return fitting(array, column.type) if may_leave else (array, None)

    def _new(self, name: str, array: pa.Array) -> Iterator[tuple[str, str, pa.Array, pa.Array]]:
        if self.contract.columns not in (Rule.DISCARD_ROW, Rule.DISCARD_VALUE):
            refuse_strangers([name])
        if array.null_count < len(array) and not t.is_null(array.type):
            yield name, "is a new column", array, array.is_valid()

    def _counted(self, misfits: list[tuple[str, str, pa.Array, pa.Array]], rows: int) -> _Aside:
        aside = _Aside(pa.repeat(False, rows))
        for name, why, array, mask in misfits:
            count = pc.sum(mask).as_py() or 0
            known = self.own.get_field_index(name) >= 0
            rule = self.contract.types if known else self.contract.columns
            if rule is Rule.DISCARD_ROW:
                aside.add(name, why, array, mask)
                self.discards.add(name, rows=count)
            else:
                self.discards.add(name, values=count)
        return aside


class _Aside:
    """Rows of one batch that are set aside, and why."""

    def __init__(self, mask: pa.BooleanArray) -> None:
        self.mask = mask
        self.told: list[tuple[str, str, pa.Array, pa.Array]] = []

    def add(self, name: str, why: str, array: pa.Array, mask: pa.BooleanArray) -> None:
        self.mask = pc.or_(self.mask, mask)
        self.told.append((name, why, array, mask))

    def reasons(self) -> list[str]:
        """One a row, with the values: the quarantine keeps what the table's types cannot."""
        lines: dict[int, list[str]] = {row: [] for row in pc.indices_nonzero(self.mask).to_pylist()}
        for name, why, array, mask in self.told:
            rows = pc.indices_nonzero(mask)
            for row, text in zip(rows.to_pylist(), _texts(array, rows), strict=True):
                lines[row].append(f"schema_contract: {name} {why}: {text}")
        return ["; ".join(told) for told in lines.values()]


def agree(
    table: pa.Schema | None,
    incoming: pa.Schema,
    contract: Contract,
    *,
    needed: Collection[str] = (),
    allow_missing: bool = False,
) -> Agreement:
    """What a stream's columns become in a table.

    Args:
        table: the table's columns; None where there is no table, or it begins anew: everything is agreed on.
        incoming: what comes, canonical, in lake names.
        needed: columns that keys, cursors and deletes are told by.
        allow_missing: whether columns may vanish whatever the rules say.

    Raises:
        SchemaChanged: something is new or does not fit, and is frozen; all of it is named.
    """
    kept = frozenset(needed)
    if table is None or not table.names:
        return Agreement(contract, _with_gaps(incoming, contract, kept), needed=kept, widens=False,
                         allow_missing=allow_missing)  # fmt: skip
    added = [name for name in incoming.names if name not in table.names]
    missing = [name for name in table.names if name not in incoming.names and not is_metadata_column(name)]
    misfits = [column.name for column in incoming if column.name in table.names and not _fits(table, column)]
    _refuse_frozen(table, incoming, contract, added, [] if allow_missing else missing, misfits)
    discards = (Rule.DISCARD_ROW, Rule.DISCARD_VALUE)
    left_out = [name for name in added if name not in kept] if contract.columns in discards else []
    own = [column for column in incoming if column.name not in left_out]
    unlike: list[str] = []
    if contract.types in discards:
        _refuse_needed(table, incoming, contract, [name for name in misfits if name in kept])
        unlike = [
            n for n in misfits if t.is_string(table.field(n).type) and t.is_string(incoming.field(n).type)
        ]
        own = [_as_in(table, column) if column.name in misfits else column for column in own]
    return Agreement(
        contract,
        _with_gaps(pa.schema(own), contract, kept),
        tuple(left_out),
        tuple(unlike),
        kept,
        contract.types is Rule.EVOLVE,
        allow_missing or contract.columns is Rule.EVOLVE,
        tuple(_renamings(table, incoming, missing, added)),
    )


def refuse_strangers(names: Collection[str]) -> None:
    """Raises SchemaChanged: columns came that the plan did not know. Nothing of the load is published."""
    raise SchemaChanged(
        f"the columns {', '.join(names)} came in the middle of the stream",
        hint="run again: the next plan knows them; schema_contract: {columns: discard_value} leaves them out",
        where={"column": ", ".join(names)},
    )


def fitting(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, pa.BooleanArray | None]:
    """The values in another type, null where they do not fit, and where that is; None where all fit."""
    try:
        return convert(array, target), None
    except Misfit as misfit:
        source, mask = misfit.source, _roundtrip_misfits(array, target)
        if mask is None and misfit.value is None and source == array.type:
            return pa.nulls(len(array), target), array.is_valid()
    if t.is_floating(array.type) and t.is_floating(target):
        return _without(array, mask).cast(target, safe=False), mask
    if mask is not None:
        try:
            return convert(_without(array, mask), target), mask
        except Misfit:
            pass  # what it found was not all: a time that overflows both ways
    rows = set(_misfits(array, target, 0))
    mask = array_of([row in rows for row in range(len(array))], pa.bool_())
    return convert(_without(array, mask), target), mask


def _without(array: pa.Array, mask: pa.BooleanArray) -> pa.Array:
    return array.take(pc.if_else(mask, pa.scalar(None, pa.int64()), pa.arange(0, len(array))))


def _roundtrip_misfits(array: pa.Array, target: pa.DataType) -> pa.BooleanArray | None:
    """Where values of numbers and times do not come back the same; None for types that cannot be asked so."""
    kinds = (t.is_integer, t.is_floating, t.is_timestamp)
    if not any(kind(array.type) and kind(target) for kind in kinds):
        return None
    if t.is_timestamp(target) and (array.type.tz is None) != (target.tz is None):
        return None
    back = array.cast(target, safe=False).cast(array.type, safe=False)
    same = pc.equal(back, array)
    if t.is_floating(array.type):
        same = pc.or_(same, pc.is_nan(array))
    return pc.invert(pc.fill_null(same, True))


def _misfits(array: pa.Array, target: pa.DataType, start: int) -> Iterator[int]:
    """The numbers of the rows that do not fit, by halves."""
    try:
        convert(array, target)
    except Misfit:
        if len(array) == 1:
            yield start
            return
        middle = len(array) // 2
        yield from _misfits(array.slice(0, middle), target, start)
        yield from _misfits(array.slice(middle), target, start + middle)


def _fits(table: pa.Schema, column: pa.Field) -> bool:
    have = table.field(column.name)
    try:
        reconcile(pa.schema([have]), pa.schema([column]))
    except SchemaChanged:
        return False
    return True


def _as_in(table: pa.Schema, column: pa.Field) -> pa.Field:
    """The column in the table's type, and with what the table says about it."""
    have = table.field(column.name)
    return pa.field(column.name, have.type, column.nullable, have.metadata)


def _are_texts(*columns: pa.Field) -> bool:
    return all(t.is_string(column.type) for column in columns)


def _with_gaps(schema: pa.Schema, contract: Contract, needed: frozenset[str]) -> pa.Schema:
    """A value that is left out is null, also where the source has none."""
    if contract.types is not Rule.DISCARD_VALUE:
        return schema
    return pa.schema([c if c.name in needed else c.with_nullable(True) for c in schema])


def _loose(schema: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_nullable(True) for column in schema])


def _refuse_frozen(
    table: pa.Schema,
    incoming: pa.Schema,
    contract: Contract,
    added: list[str],
    missing: list[str],
    misfits: list[str],
) -> None:
    lines: dict[str, str] = {}
    frozen = []
    if contract.columns is Rule.FREEZE and (added or missing):
        frozen.append("columns")
        lines |= {name: f"is new, {incoming.field(name).type}" for name in added}
        lines |= dict.fromkeys(missing, "does not come any more")
    if contract.types is Rule.FREEZE and misfits:
        frozen.append("types")
        lines |= {name: _change(table, incoming, name) for name in misfits}
    if lines:
        raise SchemaChanged(
            f"schema_contract freezes {' and '.join(frozen)}: "
            + "; ".join(f"{name}: {why}" for name, why in lines.items()),
            hint="nothing was published. evolve or discard_value let the load go on; --full-refresh takes "
            "what comes whole",
            where={"column": ", ".join(lines)},
        )


def _refuse_needed(table: pa.Schema, incoming: pa.Schema, contract: Contract, names: list[str]) -> None:
    if names and contract.types is Rule.DISCARD_VALUE:
        raise SchemaChanged(
            "a key, cursor or soft_delete cannot be left out: "
            + "; ".join(f"{name}: {_change(table, incoming, name)}" for name in names),
            hint="types: discard_row sets such rows aside; --full-refresh takes the new columns whole",
            where={"column": ", ".join(names)},
        )


def _change(table: pa.Schema, incoming: pa.Schema, name: str) -> str:
    return f"the table has {table.field(name).type}, {incoming.field(name).type} comes"


def _renamings(
    table: pa.Schema, incoming: pa.Schema, missing: list[str], added: list[str]
) -> Iterator[Renaming]:
    """Pairs of one type and one place: a hint for people, nothing is done about it."""
    before = [name for name in table.names if not is_metadata_column(name)]
    for name in missing:
        place = before.index(name)
        now = incoming.names[place] if place < len(incoming.names) else ""
        if now in added and incoming.field(now).type == table.field(name).type:
            yield Renaming(name, now)


def _texts(array: pa.Array, rows: pa.Array) -> list[str]:
    found: list[Any] = array.take(rows).to_pylist()
    return [value if isinstance(value, str) else repr(value) for value in found]


def rules(word: str) -> Contract:
    """A contract of one word for all.

    discard_row and discard_value say nothing of tables: a table that is new is one to load.
    """
    rule = Rule(word)
    return Contract(rule if rule in (Rule.EVOLVE, Rule.FREEZE) else None, rule, rule)
