"""Keys that come more than once: how many there are, and in which rows of a load.

Nothing here counts distinct keys, which would hold them all in memory. Close integers are marked in a bitmap;
other keys are grouped by their hash first, eight bytes each whatever their width, and only those whose hash
comes more than once are looked at themselves. Grouping spills.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.types as at

from asgard.core.check import Check
from asgard.core.engine import Engine
from asgard.quality.predicates import columns_of
from asgard.quality.tables import Tables, rows_of

BITMAP_KEYS = 1 << 27
"""How far apart the smallest and the largest key may be to be marked in a bitmap: 16 MiB for each worker."""


def bitmap_bounds(engine: Engine, checks: Sequence[Check], tables: Tables) -> dict[str, tuple[int, int]]:
    """Single integer keys whose values lie close enough together for a bitmap: column to its bounds.

    A bit for each key finds out that nothing comes twice for a fifth of what grouping costs; where something
    does, it is grouped after all. Only where the load is the whole table.
    """
    keys = sorted(
        {
            column.sql
            for check in checks
            if check.kind == "unique" and len(check.columns) == 1 and tables.is_whole and tables.fresh.files
            for column in columns_of(check, tables.schema)
            if at.is_integer(column.type)
        }
    )
    if not keys:
        return {}
    asked = ", ".join(f"min({key}) AS low{i}, max({key}) AS high{i}" for i, key in enumerate(keys))
    (found,) = rows_of(engine, f"SELECT {asked} FROM {tables.fresh_sql}")
    bounds = {key: (found[f"low{i}"], found[f"high{i}"]) for i, key in enumerate(keys)}
    return {k: (lo, hi) for k, (lo, hi) in bounds.items() if lo is not None and hi - lo < BITMAP_KEYS}


def marks(key: str, bounds: tuple[int, int]) -> str:
    """SQL of how many different values an integer key has."""
    return f"bit_count(bitstring_agg({key}, {bounds[0]}, {bounds[1]}))"


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
    same = "=" if check.kind == "unique" else "IS NOT DISTINCT FROM"
    joined = " AND ".join(f"w.{key} {same} f.{key}" for key in keys)
    grouped = ", ".join(f"w.{key}" for key in keys)
    fresh = f"SELECT {listed}, count(*) AS _asgard_n FROM {tables.fresh_sql} WHERE {there} GROUP BY {listed}"
    return (
        f"{figures} FROM (SELECT any_value(f._asgard_n) AS n "
        f"FROM {tables.whole_sql} w JOIN ({fresh}) f ON {joined} GROUP BY {grouped} HAVING count(*) > 1)"
    )


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
