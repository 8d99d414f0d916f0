"""Which values fit a type, judged for whole arrays as it is for each value alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgard.core.cast import Misfit, convert
from asgard.quality.drift import Contract, Rule, fitting, rules

ARRAYS: list[Any] = [
    pa.array([1, None, 2**40, -(2**31), 2**31, 2**53 + 1]),
    pa.array([0, 2**64 - 1, None], pa.uint64()),
    pa.array(["1", None, "", "x"]),
    pa.array([0.5, None, 0.1, float("inf"), -0.0]),
    pa.array([1, 1_000, None, -1, 2**62], pa.timestamp("ns")),
    pa.array([1, None, 2**62], pa.timestamp("s")),
    pa.array([1, None, 10**8, 255], pa.int64()).cast(pa.decimal128(24, 5)),
    pa.array([[1, 2], None, [], [2**40], [None]], pa.list_(pa.int64())),
    pa.array([["a"], None, []], pa.list_(pa.string())),
    pa.array([{"a": 1, "b": 2**40}, None, {"a": None, "b": 1}]),
    pa.array([True, None, False]),
    pa.array([b"x", None]),
    pa.array(["a", None, "b"]).dictionary_encode(),
]
TARGETS: list[pa.DataType] = [
    pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(10, 2), pa.string(),
    pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(), pa.bool_(), pa.binary(), pa.list_(pa.int32()),
    pa.struct([("a", pa.int8()), ("b", pa.int32())]),
]  # fmt: skip


def fits(value: pa.Array, target: pa.DataType) -> bool:
    """Whether an array of one value can be converted; a double also where a float is the same."""
    try:
        convert(value, target)
    except Misfit:
        if pa.types.is_float64(value.type) and pa.types.is_float32(target):
            return bool(pc.equal(value.cast(target, safe=False).cast(value.type), value)[0].as_py())
        return False
    return True


@settings(deadline=None)
@given(st.sampled_from(ARRAYS), st.sampled_from(TARGETS), st.data())
def test_an_array_fits_as_each_of_its_values_does(
    array: pa.Array, target: pa.DataType, data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.integers(0, len(array) - 1), max_size=8))
    some = array.take(pa.array(places, pa.int64()))
    found, mask = fitting(some, target)
    good = [fits(some.slice(n, 1), target) for n in range(len(some))]
    assert found.type == target
    assert (mask.to_pylist() if mask is not None else [False] * len(some)) == [not one for one in good]
    for number, one in enumerate(good):
        assert found[number].is_valid == (one and some[number].is_valid)


def test_nan_is_a_float_of_any_width() -> None:
    found, mask = fitting(pa.array([float("nan"), 0.1]), pa.float32())
    assert mask is not None
    assert mask.to_pylist() == [False, True]
    assert pc.is_nan(found).to_pylist() == [True, None]


@pytest.mark.parametrize("word", ["discard_row", "discard_value"])
def test_one_word_for_all_says_nothing_of_tables_when_it_discards(word: str) -> None:
    assert rules(word) == Contract(None, Rule(word), Rule(word))
    assert rules("freeze") == Contract(Rule.FREEZE, Rule.FREEZE, Rule.FREEZE)


def test_the_nearer_word_counts_part_by_part() -> None:
    near = Contract(columns=Rule.EVOLVE)
    assert near.over(rules("freeze")) == Contract(Rule.FREEZE, Rule.EVOLVE, Rule.FREEZE)
