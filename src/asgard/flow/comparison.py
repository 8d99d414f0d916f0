"""How the rows of two tables differ: counts, columns and samples, in one pass that spills.

Values are compared as they are: NULL is the same as NULL, NaN as NaN, 0.0 is not -0.0, and decimals are never
floats. Columns whose types cannot be compared without bending a value are named and left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.engine import Engine
from asgard.core.errors import ConfigError, DataError
from asgard.core.table import Mount
from asgard.flow.plan import Columns, compared

ROW_BYTES, VALUE_BYTES = 48, 24
"""What grouping holds of a row, and of each of its values (measured)."""
KINDS = ("only_a", "only_b", "changed")
MOST_DIGITS = 38


@dataclass(frozen=True)
class Bounds:
    """What a comparison may take.

    Attributes:
        samples: rows of each kind to keep.
        memory_bytes: of the engine: whole rows of more than that are compared a share at a time (Promise 5).
    """

    samples: int = 5
    memory_bytes: int = 256 << 20


@dataclass
class Comparison:
    """What is different between a and b.

    Attributes:
        columns: how the columns differ; of b, seen from a.
        not_compared: columns that both have, of types that cannot be compared exactly.
        rows_a, rows_b: how many rows there are.
        counts: rows for each of KINDS; `changed` is there with a key alone.
        changed_columns: column to the number of rows in which it differs.
        samples: rows of each kind, as they came: of `only_a` and `only_b` the columns; of `changed` the keys,
            and each other column twice, as `a.NAME` and `b.NAME`, with `differs.NAME`.
    """

    columns: Columns
    not_compared: tuple[str, ...] = ()
    rows_a: int = 0
    rows_b: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    changed_columns: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[pa.RecordBatch]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    @property
    def is_equal(self) -> bool:
        """Nothing differs, neither columns nor rows."""
        return not self.columns and not any(self.counts.values())


def compare(
    engine: Engine,
    a: Mount,
    b: Mount,
    *,
    keys: Sequence[str] = (),
    ignore: Sequence[str] = (),
    bounds: Bounds | None = None,
) -> Comparison:
    """Compares two tables.

    Args:
        engine: fresh; both are attached to it.
        keys: columns that tell rows apart; without them, rows that differ are rows of one side alone.
        ignore: columns that are left out.
        bounds: how much is kept, and held.

    Raises:
        ConfigError: a key is not in both tables, or cannot be compared.
        DataError: a key comes twice.
    """
    bounds = bounds or Bounds()
    samples = bounds.samples
    schemas = [pa.schema([one for one in mount.schema if one.name not in ignore]) for mount in (a, b)]
    shared = [name for name in schemas[0].names if name in schemas[1].names]
    unlike = tuple(n for n in shared if not _comparable(schemas[0].field(n).type, schemas[1].field(n).type))
    names = [name for name in shared if name not in unlike]
    if missing := [key for key in keys if key not in names]:
        raise ConfigError(
            f"{', '.join(missing)} cannot be the key: not a column of both, of types that can be compared",
            hint=f"there are: {', '.join(names)}",
        )
    engine.attach("a", a)
    engine.attach("b", b)
    found = Comparison(compared(*schemas), unlike)
    found.rows_a, found.rows_b = (_rows(engine, side, mount) for side, mount in (("a", a), ("b", b)))
    if not names:
        return found
    if keys:
        for side in ("a", "b"):
            _check_unique(engine, side, keys)
        _by_key(
            engine, found, [*keys, *(name for name in names if name not in keys)], len(keys), schemas, samples
        )
    else:
        size_bytes = (found.rows_a + found.rows_b) * (ROW_BYTES + VALUE_BYTES * len(names))
        parts = -(-size_bytes // bounds.memory_bytes)
        for part in range(max(parts, 1)):
            _by_row(engine, found, names, schemas, samples, f"% {parts} = {part}" if parts > 1 else "")
    return found


def _by_row(
    engine: Engine,
    found: Comparison,
    names: Sequence[str],
    schemas: Sequence[pa.Schema],
    samples: int,
    share: str,
) -> None:
    """Of whole rows those that one side has more often; `share` is what the hash of those looked at is."""
    columns = ", ".join(f"{_quoted(name)} AS c{number}" for number, name in enumerate(names))
    signs = [n for n, name in enumerate(names) if _is_float(schemas, name)]
    signed = "".join(f", {_negative(_quoted(names[n]))} AS s{n}" for n in signs)
    grouped = ", ".join([*(f"c{n}" for n in range(len(names))), *(f"s{n}" for n in signs)])
    # Behind the union, where the columns of both sides have one type: of another type the hash is another.
    shared = f"WHERE hash({', '.join(f'c{n}' for n in range(len(names)))}) {share} " if share else ""
    sql = (
        f"SELECT {grouped}, sum(side)::BIGINT AS n FROM (SELECT {columns}{signed}, 1 AS side FROM a "
        f"UNION ALL SELECT {columns}{signed}, -1 FROM b) {shared}GROUP BY {grouped} HAVING sum(side) <> 0"
    )
    for batch in engine.query(sql):
        times = batch.column("n")
        rows = batch.select(range(len(names))).rename_columns(list(names))
        for kind, mask in (("only_a", pc.greater(times, 0)), ("only_b", pc.less(times, 0))):
            found.counts[kind] += abs(pc.sum(times.filter(mask)).as_py() or 0)
            _sample(found, kind, rows.filter(mask), samples)


def _by_key(
    engine: Engine,
    found: Comparison,
    names: Sequence[str],
    keys: int,
    schemas: Sequence[pa.Schema],
    samples: int,
) -> None:
    """The first `keys` names are the key."""
    columns = ", ".join(f"{_quoted(name)} AS c{number}" for number, name in enumerate(names))
    matched = " AND ".join(f"a.c{n} IS NOT DISTINCT FROM b.c{n}" for n in range(keys))
    differs = [_differs(n, _is_float(schemas, names[n])) for n in range(keys, len(names))]
    told = [
        "(a.there IS NULL) AS only_b",
        "(b.there IS NULL) AS only_a",
        *(f"{sql} AS d{n}" for n, sql in enumerate(differs, keys)),
        *(f"a.c{n} AS a{n}, b.c{n} AS b{n}" for n in range(len(names))),
    ]
    alone = ["a.there IS NULL", "b.there IS NULL", *differs]
    sql = (
        f"SELECT {', '.join(told)} FROM (SELECT {columns}, true AS there FROM a) a "
        f"FULL JOIN (SELECT {columns}, true AS there FROM b) b ON {matched} WHERE {' OR '.join(alone)}"
    )
    for batch in engine.query(sql):
        only_a, only_b = batch.column("only_a"), batch.column("only_b")
        both = pc.invert(pc.or_(only_a, only_b))
        for side, mask in (("a", only_a), ("b", only_b)):
            rows = batch.select([f"{side}{n}" for n in range(len(names))]).rename_columns(list(names))
            _sample(found, f"only_{side}", rows.filter(mask), samples)
        changed = batch.filter(both)
        for number in range(keys, len(names)):
            found.changed_columns[names[number]] += pc.sum(changed.column(f"d{number}")).as_py() or 0
        for kind, mask in zip(KINDS, (only_a, only_b, both), strict=True):
            found.counts[kind] += pc.sum(mask).as_py() or 0
        _sample(found, "changed", _side_by_side(changed, names, keys), samples)
    found.changed_columns = +found.changed_columns


def _side_by_side(changed: pa.RecordBatch, names: Sequence[str], keys: int) -> pa.RecordBatch:
    columns = {names[n]: changed.column(f"a{n}") for n in range(keys)}
    for n in range(keys, len(names)):
        columns |= {f"{one}.{names[n]}": changed.column(f"{one[0]}{n}") for one in ("a", "b", "differs")}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _sample(found: Comparison, kind: str, rows: pa.RecordBatch, samples: int) -> None:
    left = samples - sum(batch.num_rows for batch in found.samples[kind])
    if left > 0 and rows.num_rows:
        found.samples[kind].append(rows.slice(0, left))


def _check_unique(engine: Engine, side: str, keys: Sequence[str]) -> None:
    columns = ", ".join(map(_quoted, keys))
    said = ", ".join(f"{_quoted(key)}::VARCHAR" for key in keys)
    twice = f"SELECT {said}, count(*) FROM {side} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"
    for batch in engine.query(twice):
        for row in batch.to_pylist():
            *values, count = row.values()
            told = ", ".join(f"{key} = {value}" for key, value in zip(keys, values, strict=True))
            raise DataError(
                f"the key is not unique in {side}: {told} comes {count} times",
                hint="choose columns that tell rows apart, or none to compare whole rows",
            )


def _rows(engine: Engine, side: str, mount: Mount) -> int:
    if mount.rows is not None:
        return mount.rows
    return int(sum(batch.column(0)[0].as_py() for batch in engine.query(f"SELECT count(*) FROM {side}")))


def _differs(number: int, is_float: bool) -> str:
    one, two = f"a.c{number}", f"b.c{number}"
    plain = f"({one} IS DISTINCT FROM {two})"
    return f"({plain} OR {_negative(one)} <> {_negative(two)})" if is_float else plain


def _negative(column: str) -> str:
    """Whether a float is the zero that comparisons take for the other zero."""
    return f"coalesce({column} = 0 AND {column}::VARCHAR LIKE '-%', false)"


def _is_float(schemas: Sequence[pa.Schema], name: str) -> bool:
    return any(t.is_floating(schema.field(name).type) for schema in schemas)


def _comparable(one: pa.DataType, two: pa.DataType) -> bool:
    if one == two:
        return True
    whole = [_digits(kind) for kind in (one, two)]
    if None in whole:
        return False
    before, behind = (max(places[n] for places in whole if places) for n in (0, 1))
    return before + behind <= MOST_DIGITS


def _digits(kind: pa.DataType) -> tuple[int, int] | None:
    """Digits before and behind the point of exact numbers."""
    if t.is_integer(kind):
        return (20 if kind.bit_width == 64 else 10, 0)
    return (kind.precision - kind.scale, kind.scale) if t.is_decimal(kind) else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
