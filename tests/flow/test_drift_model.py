"""Random drift under random contracts, against a table in plain Python."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import SchemaChanged
from asgard.core.stream import Mode
from asgard.quality.drift import Contract, Rule
from tests.flow.scripted import Script, rows
from tests.flow.test_ingest import Road

TYPES = {
    "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float": pa.float32(), "double": pa.float64(), "text": pa.string(),
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "int16": [0, 7, -(2**15)],
    "int32": [3, 2**24 + 1, 2**31 - 1],
    "int64": [5, 2**53 + 1, -(2**63)],
    "float": [0.5, 2.0, 2.0**60],
    "double": [0.1, 0.25, 3.0],
    "text": ["", "7", "x"],
}
HOLDS = {
    "int16": {"int16"},
    "int32": {"int16", "int32"},
    "int64": {"int16", "int32", "int64"},
    "float": {"int16", "float"},
    "double": {"int16", "int32", "float", "double"},
    "text": {"text"},
}
"""Narrower ones first."""
MAYBE = st.sampled_from([None, *Rule])
MODES = st.sampled_from([Mode.APPEND, Mode.MERGE, Mode.REPLACE])


@dataclass(frozen=True)
class Coming:
    """One load: its columns beside the key, and its rows; the key is the number of the row."""

    types: dict[str, str]
    rows: list[dict[str, Any]]
    mode: Mode
    contract: Contract


@st.composite
def coming(draw: st.DrawFn) -> Coming:
    names = draw(st.sets(st.sampled_from("abc"), min_size=1))
    types = {name: draw(st.sampled_from(list(TYPES))) for name in sorted(names)}
    values = st.fixed_dictionaries(
        {name: st.sampled_from([None, *VALUES[kind]]) for name, kind in types.items()}
    )
    found = draw(st.lists(values, max_size=3))
    first = draw(st.integers(0, 2))
    keyed = [{"id": first + number, **row} for number, row in enumerate(found)]
    return Coming(types, keyed, draw(MODES), Contract(columns=draw(MAYBE), types=draw(MAYBE)))


class RefusedByModelError(Exception):
    """The model would stop the load."""


@dataclass
class Model:
    """A table as it should be."""

    types: dict[str, str] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def load(self, load: Coming) -> tuple[int, dict[str, dict[str, int]]]:
        """Rows that are set aside, and what is discarded by column."""
        rule, there = load.contract, load.types if self.types is None else self.types
        strict = load.mode is not Mode.REPLACE
        new = set(load.types) - set(there)
        missing = set(there) - set(load.types)
        misfits = {n for n, kind in load.types.items() if n in there and kind not in HOLDS[there[n]]}
        if rule.columns is Rule.FREEZE and (new or missing):
            raise RefusedByModelError
        if strict and missing and rule.columns is not Rule.EVOLVE:
            raise RefusedByModelError
        if misfits and (rule.types is Rule.FREEZE or (rule.types is None and strict)):
            raise RefusedByModelError
        types = dict(there)
        if not strict:
            types = {n: there[n] if n in misfits else k for n, k in load.types.items() if n in there}
        if rule.types in (None, Rule.EVOLVE):
            for name in misfits:
                types[name] = _common(there[name], load.types[name]) if strict else load.types[name]
        kept, aside, discarded = self._sifted(load, new, misfits, types)
        if rule.columns in (None, Rule.EVOLVE):
            types |= {name: load.types[name] for name in new}
        if load.mode is Mode.REPLACE:
            self.rows = []
        elif load.mode is Mode.MERGE:
            keys = {row["id"] for row in kept}
            self.rows = [row for row in self.rows if row["id"] not in keys]
        self.rows += kept
        self.types = types
        return aside, discarded

    def _sifted(
        self, load: Coming, new: set[str], misfits: set[str], types: dict[str, str]
    ) -> tuple[list[dict[str, Any]], int, dict[str, dict[str, int]]]:
        kept, aside = [], 0
        found: Counter[tuple[str, str]] = Counter()
        for row in load.rows:
            bad = False
            stays = dict(row)
            for name, rule in [
                *((n, load.contract.columns) for n in new),
                *((n, load.contract.types) for n in misfits),
            ]:
                fits = row[name] is None or (name in misfits and _fits(row[name], types[name]))
                if rule not in (Rule.DISCARD_ROW, Rule.DISCARD_VALUE) or fits:
                    continue
                found[name, "rows" if rule is Rule.DISCARD_ROW else "values"] += 1
                bad |= rule is Rule.DISCARD_ROW
                stays[name] = None
            aside += bad
            kept += [] if bad else [stays]
        discarded: dict[str, dict[str, int]] = {}
        for (name, what), count in found.items():
            discarded.setdefault(name, {})[what] = count
        return kept, aside, discarded

    def content(self) -> Counter[tuple[Any, ...]]:
        names = ["id", *sorted(self.types or ())]
        return Counter(tuple(_plain(row.get(name)) for name in names) for row in self.rows)


def _common(one: str, other: str) -> str:
    for kind, held in HOLDS.items():
        if {one, other} <= held:
            return kind
    raise RefusedByModelError


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, str) or kind == "text":
        return isinstance(value, str) and kind == "text"
    if kind.startswith("int"):
        most: int = 2 ** (int(kind[3:]) - 1)
        return isinstance(value, int) and -most <= value < most
    exact: float = struct.unpack("f", struct.pack("f", value))[0] if kind == "float" else float(value)
    return Fraction(exact) == Fraction(value)


def _plain(value: Any) -> Any:
    return Fraction(value) if isinstance(value, int | float) else value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(coming(), min_size=2, max_size=4))
def test_a_table_is_what_the_rules_say(loads: list[Coming]) -> None:
    with TemporaryDirectory() as folder:
        road, model = Road(Path(folder) / "lake"), Model()
        for load in loads:
            schema = pa.schema([("id", pa.int64()), *((n, TYPES[k]) for n, k in load.types.items())])
            batch = rows(*(tuple(row[n] for n in schema.names) for row in load.rows), schema=schema)
            script = Script({"a": [batch]}, schema)
            wishes = {"keys": ("id",), "contract": load.contract}
            try:
                aside, discarded = model.load(load)
            except RefusedByModelError:
                try:
                    road.ingest(script, load.mode, **wishes)
                except SchemaChanged:
                    pass
                else:
                    raise AssertionError("the load should have been refused") from None
            else:
                outcome = road.ingest(script, load.mode, **wishes)
                assert sum(commit.quarantined for commit in outcome.commits) == aside
                assert outcome.discarded == discarded
            if model.types is None:
                assert not road.table.exists()
                continue
            names = ["id", *sorted(model.types)]
            types = {name: road.table.schema().field(name).type for name in names[1:]}
            assert types == {name: TYPES[kind] for name, kind in model.types.items()}
            found = road.table.scan(names).read_all().to_pylist()
            assert Counter(tuple(_plain(row[n]) for n in names) for row in found) == model.content()
