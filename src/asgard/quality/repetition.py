"""Keys that come more than once: how many there are, and in which rows of a load.

Nothing here counts distinct keys, which would hold them all in memory. Integers that lie close together, of
one column or of several, are marked in a bitmap. Other keys are grouped by their hash first, eight bytes each
whatever their width, and only those whose hash comes more than once are looked at themselves. Grouping
spills.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.quality.families import RowKind
from asgard.quality.phrases import Forms
from asgard.quality.predicates import Column, columns_of, identifier
from asgard.quality.proof import span
from asgard.quality.tables import Tables, rows_of

BITMAP_KEYS = 1 << 27
"""How many keys there may be between the smallest and the largest for a bitmap: 16 MiB for each worker."""

SAFE_BIGINT = 1 << 62
"""Two numbers below that, or above its negative, are no further apart than a BIGINT tells."""

Ranges = tuple[tuple[int, int], ...]
"""The least and the greatest value of each column of a key."""


def bitmap_ranges(engine: Engine, checks: Sequence[Check], tables: Tables) -> dict[tuple[str, ...], Ranges]:
    """Keys of integers that lie close enough together for a bitmap: quoted columns to their ranges.

    A bit for each key finds out that nothing comes twice for a fifth of what grouping costs; where something
    does, it is grouped after all. Only where the load is the whole table. The ranges are the files' own
    figures; where those are silent, a scan of the key finds them.
    """
    found = {}
    for check in checks:
        if check.kind != "unique" or not (tables.is_whole and tables.fresh.files):
            continue
        columns = columns_of(check, tables.schema)
        if not all(at.is_integer(column.type) for column in columns):
            continue
        known = [span(column, tables) for column in columns]
        ranges = tuple(one for one in known if one is not None)
        if len(ranges) < len(columns):
            ranges = _looked_up(engine, columns, tables)
        if ranges and prod(high - low + 1 for low, high in ranges) <= BITMAP_KEYS:
            found[tuple(column.sql for column in columns)] = ranges
    return found


def _looked_up(engine: Engine, columns: Sequence[Column], tables: Tables) -> Ranges:
    """The ranges by a scan; empty when a column has no value."""
    asked = ", ".join(f"min({c.sql}) AS low{i}, max({c.sql}) AS high{i}" for i, c in enumerate(columns))
    (found,) = rows_of(engine, f"SELECT {asked} FROM {tables.fresh_sql}")
    ranges = tuple((found[f"low{i}"], found[f"high{i}"]) for i in range(len(columns)))
    return () if any(low is None for low, _ in ranges) else ranges


def marks(keys: Sequence[str], ranges: Ranges) -> str:
    """SQL of how many different values a key of integers has: each is a bit, at its place among all that
    there could be. A key with a null has no place."""
    places, size = [], 1
    for key, (low, high) in zip(keys, ranges, strict=True):
        # A TINYINT does not hold every difference of its own, nor a BIGINT all of UBIGINT.
        wide = "BIGINT" if low > -SAFE_BIGINT and high < SAFE_BIGINT else "HUGEINT"
        places.append(f"CAST(CAST({key} AS {wide}) - CAST('{low}' AS {wide}) AS BIGINT) * {size}")
        size *= high - low + 1
    return f"bit_count(bitstring_agg({' + '.join(places)}, 0, {size - 1}))"


def repetitions(check: Check, tables: Tables) -> str:
    """SQL of how many keys come more than once, `bad_keys`, in how many rows of the load, `bad_rows`."""
    keys = tables.keys(check)
    listed = ", ".join(keys)
    there = all_there(keys) if check.kind == "unique" else "true"
    figures = "SELECT count(*) AS bad_keys, sum(n) AS bad_rows"
    if tables.is_whole:
        return (
            f"{figures} FROM (SELECT count(*) AS n FROM {tables.fresh_sql} "
            f"WHERE {there} AND {_suspect(keys, tables)} GROUP BY {listed} HAVING count(*) > 1)"
        )
    # By `=` the engine reads old rows between the load's own keys alone; by the other it skips nothing.
    plain = set(keys if check.kind == "unique" else _never_null(tables))
    same = {key: "=" if key in plain else "IS NOT DISTINCT FROM" for key in keys}
    joined = " AND ".join(f"w.{key} {same[key]} f.{key}" for key in keys)
    grouped = ", ".join(f"w.{key}" for key in keys)
    fresh = f"SELECT {listed}, count(*) AS _asgard_n FROM {tables.fresh_sql} WHERE {there} GROUP BY {listed}"
    return (
        f"{figures} FROM (SELECT any_value(f._asgard_n) AS n "
        f"FROM {tables.whole_sql} w JOIN ({fresh}) f ON {joined} GROUP BY {grouped} HAVING count(*) > 1)"
    )


def _never_null(tables: Tables) -> list[str]:
    """The columns, quoted, that have a value in every row of the load, as far as its files tell."""
    return [identifier(name) for name, known in tables.fresh.figures.items() if not known.nulls]


def repeated(check: Check, tables: Tables) -> str:
    """SQL that is true for rows of the load whose key comes more than once in the table as it would be."""
    keys = tables.keys(check)
    # A struct equals another with nulls in the same places; a row value with a null equals nothing.
    key = f"struct_pack({', '.join(f'k{i} := {k}' for i, k in enumerate(keys))})"
    there = all_there(keys) if check.kind == "unique" else "true"
    near = _suspect(keys, tables) if tables.is_whole else f"{key} IN (SELECT {key} FROM {tables.fresh_sql})"
    found = (
        f"SELECT {key} FROM {tables.whole_sql} "
        f"WHERE {there} AND {near} GROUP BY {', '.join(keys)} HAVING count(*) > 1"
    )
    return f"({there} AND {key} IN ({found}))"


def _suspect(keys: list[str], tables: Tables) -> str:
    """SQL that is true for every row whose key comes more than once, and by chance for a few others."""
    hashed = f"hash({', '.join(keys)})"
    return f"{hashed} IN (SELECT {hashed} FROM {tables.fresh_sql} GROUP BY {hashed} HAVING count(*) > 1)"


def all_there(keys: list[str]) -> str:
    """SQL that is true when no key is null."""
    return " AND ".join(f"{key} IS NOT NULL" for key in keys)


def _phrases(check: Check) -> tuple[Forms, Forms]:
    of = f"of {', '.join(check.columns)} " if check.columns else ""
    return (f"{of}comes once", f"{of}come once"), (f"{of}comes more than once", f"{of}come more than once")


KINDS = {
    "unique": RowKind(repeated, _phrases, noun="row", every_row=True, alone=True),
    "no_duplicates": RowKind(repeated, _phrases, noun="row", every_row=True, alone=True),
}
