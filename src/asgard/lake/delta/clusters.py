"""Which files of a table lie over one another by key, and which are worth being put in order together.

A reader who looks for some keys, and a merge above all, opens every file whose bounds admit them. A table
whose rows came in no order has all files over all keys. How many lie over one spot is its depth.

Files of about one size are put in order together when `DEEP` of them lie over one spot, the smallest size
first: what is spread over the whole table waits until there is as much of it, so that a row is written anew
a few times while the table grows, and not each time (a log-structured merge). Bounds are what the log says;
texts are compared as far as it tells them, so that files which it cannot tell apart count as apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from asgard.core.table import DataFile
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.statistics import MOST_CHARACTERS

DEEP = 4
"""So many files of one size over one spot are put in order."""
Bound = tuple[Any, ...]
_BELOW_ALL, _ABOVE_ALL = (0,), (2,)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """The keys between which a file's rows lie, in an order that tuples have.

    Attributes:
        low, high: a file whose low is another's high only touches it.
    """

    file: LakeFile
    low: Bound
    high: Bound


def clusterable(schema: pa.Schema, columns: Iterable[str]) -> tuple[str, ...]:
    """The columns up to the first by whose bounds files cannot be told apart."""
    found: list[str] = []
    for name in columns:
        kind = schema.field(name).type if name in schema.names else None
        if kind is None or not (
            t.is_integer(kind)
            or t.is_decimal(kind)
            or t.is_date(kind)
            or t.is_timestamp(kind)
            or t.is_string(kind)
        ):
            break
        found.append(name)
    return tuple(found)


def spans(adds: pa.Table, files: Mapping[str, LakeFile], columns: Sequence[str]) -> list[Span]:
    """The spans of files that have one: those of one key alone, and of none, lie over nothing.

    Args:
        adds: the log's figures of all files, as `snapshot.add_actions` gives them.
        files: by path.
        columns: as `clusterable` gives them.
    """
    paths = adds.column("path").to_pylist()
    told = [_told(adds, name) for name in columns]
    found = []
    for number, path in enumerate(paths):
        bounds = _bounds([column[number] for column in told])
        if bounds is not None and bounds[0] < bounds[1]:
            found.append(Span(files[path], *bounds))
    return found


Told = tuple[Any, Any, bool]
"""Least and greatest value of a file, and whether it has values at all."""


def _told(adds: pa.Table, name: str) -> list[Told]:
    """What the log tells about a column, file by file."""
    nothing = [None] * adds.num_rows
    low, high = (_plain(adds, f"{which}.{name}") or nothing for which in ("min", "max"))
    nulls, rows = _plain(adds, f"null_count.{name}") or nothing, _plain(adds, "num_records") or nothing
    filled = [one is None or many is None or one < many for one, many in zip(nulls, rows, strict=True)]
    return list(zip(low, high, filled, strict=True))


def _plain(adds: pa.Table, name: str) -> list[Any] | None:
    if name not in adds.schema.names:
        return None
    column = adds.column(name)
    if t.is_timestamp(column.type) or t.is_date64(column.type):
        column = column.cast(pa.int64())
    elif t.is_date32(column.type):
        column = column.cast(pa.int32())
    return list(column.to_pylist())


def spans_of(files: Iterable[DataFile], schema: pa.Schema, columns: Sequence[str]) -> list[Span]:
    """The spans of files that are not in the log yet, by the figures that it will get."""
    found = []
    for file in files:
        figures = json.loads(file.stats, parse_float=Decimal)
        nulls = figures.get("nullCount", {})
        told = []
        for name in columns:
            kind = schema.field(name).type
            low, high = (_value(figures.get(part, {}).get(name), kind) for part in ("minValues", "maxValues"))
            told.append((low, high, nulls.get(name) != file.rows))
        bounds = _bounds(told)
        if bounds is not None and bounds[0] < bounds[1]:
            found.append(Span(LakeFile(file.path, file.size_bytes, file.rows), *bounds))
    return found


def _value(told: Any, kind: pa.DataType) -> Any:
    """A bound as `_plain` has it."""
    if told is None or not isinstance(told, str) or t.is_string(kind):
        return told
    if t.is_date(kind):
        return (date.fromisoformat(told) - _EPOCH.date()).days
    return (datetime.fromisoformat(told).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _bounds(told: Sequence[Told]) -> tuple[Bound, Bound] | None:
    """Both ends of a file's keys; None for a file without."""
    low: list[Any] = [1]
    for least, most, filled in told:
        if not filled:
            return None
        if least is None or most is None:
            return (_BELOW_ALL, _ABOVE_ALL) if len(low) == 1 else None
        if isinstance(least, str):
            least, most = least[:MOST_CHARACTERS], most[:MOST_CHARACTERS]
        if least != most:
            # Where the next columns begin is not known: files that share this value alone only touch.
            return (*low, least, 1), (*low, most, -1)
        low += [least, 0]
    return None


def depth(files: Iterable[Span]) -> int:
    """How many of them lie over one spot, at most."""
    return len(_deepest(files))


def crossings(files: Iterable[Span]) -> int:
    """How many pairs of them lie over one another."""
    total = open_ = 0
    for _, begins, _ in _ends(files):
        total += open_ if begins else 0
        open_ += 1 if begins else -1
    return total


def deepest_of_a_size(
    files: Sequence[Span], tier_of: Callable[[int], int], most_bytes: int
) -> list[LakeFile]:
    """The files of the next step: of the smallest size of which enough lie over one spot; none if nowhere.

    Args:
        tier_of: gives the class of a size in bytes.
        most_bytes: of the step, where two files are not more.
    """
    tiers: dict[int, list[Span]] = {}
    for one in files:
        tiers.setdefault(tier_of(one.file.size_bytes), []).append(one)
    for tier in sorted(tiers):
        if len(tiers[tier]) < DEEP:
            continue
        over = sorted(
            (one.file for one in _deepest(tiers[tier])), key=lambda file: (file.size_bytes, file.path)
        )
        if len(over) < DEEP:
            continue
        chosen: list[LakeFile] = []
        for file in over:
            if len(chosen) > 1 and sum(one.size_bytes for one in chosen) + file.size_bytes > most_bytes:
                break
            chosen.append(file)
        return chosen
    return []


def _ends(files: Iterable[Span]) -> list[tuple[Bound, bool, Span]]:
    """Where files begin and end, in order: what ends where another begins does not lie over it."""
    ends = [(end, begins, one) for one in files for end, begins in ((one.high, False), (one.low, True))]
    return sorted(ends, key=lambda end: (end[0], end[1], end[2].file.path))


def _deepest(files: Iterable[Span]) -> list[Span]:
    """Those over the first spot over which most of them lie."""
    open_: dict[str, Span] = {}
    most: list[Span] = []
    for _, begins, one in _ends(files):
        if begins:
            open_[one.file.path] = one
            if len(open_) > len(most):
                most = list(open_.values())
        else:
            del open_[one.file.path]
    return most
