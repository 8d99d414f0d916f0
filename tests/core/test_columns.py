"""Arrays that are laid out here are those that pyarrow makes, and pandas is not asked about them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.core.columns import MOST_VALUES, array_of, scalar_of

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = {
    pa.string(): TEXTS,
    pa.binary(): st.binary(),
    pa.int64(): INTEGERS,
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(1 << 31), (1 << 31) - 1),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
@given(data=st.data())
def test_arrays_are_those_of_pyarrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind]))
    made = array_of(values, kind)
    made.validate(full=True)
    # By their bytes as well: NaN is not equal to itself.
    assert made.type == kind
    assert bits(made) == bits(pa.array(values, kind))


def bits(array: pa.Array) -> list[Any]:
    plain = array.cast(pa.binary()) if pa.types.is_string(array.type) else array
    floats = pa.types.is_floating(array.type)
    return (plain.view(pa.int64()) if floats else plain).to_pylist()


@pytest.mark.parametrize("rows", [MOST_VALUES - 1, MOST_VALUES, MOST_VALUES + 1])
def test_large_arrays_are_the_same(rows: int) -> None:
    values = [None if row % 7 == 0 else f"n{row}" for row in range(rows)]
    assert array_of(values, pa.string()).to_pylist() == values


@pytest.mark.parametrize(
    ("values", "kind", "error"),
    [
        ([1 << 63], pa.int64(), OverflowError),
        ([True], pa.int64(), pa.ArrowTypeError),
        (["x"], pa.int64(), pa.ArrowInvalid),
        ([(1 << 53) + 1], pa.float64(), pa.ArrowInvalid),
        ([2], pa.bool_(), pa.ArrowInvalid),
        ([b"x"], pa.int64(), pa.ArrowInvalid),
        ([1], pa.string(), pa.ArrowTypeError),
    ],
)
def test_what_pyarrow_refuses_is_refused(values: list[Any], kind: pa.DataType, error: type) -> None:
    with pytest.raises(error):
        array_of(values, kind)


def test_an_error_names_the_text_that_is_none() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        array_of(["fine", "half \ud800"], pa.string())
    assert caught.value.object == "half \ud800"


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_are_those_of_pyarrow(instant: datetime) -> None:
    for zone in (UTC, timezone(timedelta(hours=-3, minutes=-30))):
        kind = pa.timestamp("us", tz="UTC")
        assert scalar_of(instant.replace(tzinfo=zone), kind).equals(
            pa.scalar(instant.replace(tzinfo=zone), kind)
        )


def test_other_instants_are_left_to_pyarrow() -> None:
    naive = datetime(2026, 1, 2, 3, 4, 5, 6)
    assert scalar_of(naive, pa.timestamp("us")).as_py() == naive
    seconds = naive.replace(tzinfo=UTC, microsecond=0)
    assert scalar_of(seconds, pa.timestamp("s", tz="UTC")).as_py() == seconds


def test_pandas_is_not_imported() -> None:
    code = """
import sys
from datetime import UTC, datetime
import pyarrow as pa
from asgard.core.columns import array_of, scalar_of

array_of(["a", None], pa.string())
array_of([1, None], pa.int64())
pa.repeat(scalar_of(datetime.now(UTC), pa.timestamp("us", tz="UTC")), 3)
assert "pandas" not in sys.modules
import pandas
"""
    subprocess.run([sys.executable, "-c", code], check=True)
