"""The strategies: what they promise to bring does come, and what they make is valid Arrow."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from asgard.testing.arrow import FLAT_TYPES, arrays, batches, schemas, types

NESTED = ["struct", "list", "large_list", "fixed_size_list", "list_view", "large_list_view", "map"]
NESTED += ["dictionary", "run_end_encoded"]
QUICK = settings(max_examples=2000, database=None, deadline=None, phases=[Phase.generate])


@given(st.data())
@settings(max_examples=30)
def test_batches_are_valid_and_keep_to_their_schema(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    batch = data.draw(batches(schema, min_rows=1, max_rows=5))
    batch.validate(full=True)
    assert batch.schema == schema
    assert 1 <= batch.num_rows <= 5
    for field, column in zip(schema, batch.columns, strict=True):
        assert field.nullable or not column.null_count


@pytest.mark.parametrize("name", NESTED)
def test_every_nested_type_comes(name: str) -> None:
    assert str(find(types(max_depth=1), lambda kind: str(kind).split("<")[0] == name, settings=QUICK))


@pytest.mark.parametrize("kind", FLAT_TYPES, ids=str)
def test_every_flat_type_has_values_and_nulls(kind: pa.DataType) -> None:
    assert find(arrays(kind, 2), lambda array: array.null_count > 0, settings=QUICK).type == kind
    assert len(find(arrays(kind, 2, nullable=False), lambda array: len(array) == 2, settings=QUICK)) == 2


def test_arrays_are_cut_from_longer_ones() -> None:
    assert find(arrays(pa.int64(), 3), lambda array: array.offset > 8, settings=QUICK).offset == 9


def test_nulls_hide_values() -> None:
    def hides(array: pa.Array) -> bool:
        hidden = pa.Array.from_buffers(
            array.type, len(array), [None, array.buffers()[1]], offset=array.offset
        )
        return any(null.as_py() is None and value.as_py() for null, value in zip(array, hidden, strict=True))

    assert find(arrays(pa.int32(), 2), hides, settings=QUICK).null_count


@pytest.mark.parametrize("extreme", [-(2**63), 2**63 - 1])
def test_extremes_come(extreme: int) -> None:
    assert find(arrays(pa.int64(), 1, False), lambda array: array[0].as_py() == extreme, settings=QUICK)


def test_values_beyond_the_canonical_types_come_only_when_asked_for() -> None:
    kind = pa.timestamp("ns")
    odd = find(arrays(kind, 1, False, carriable=False), lambda a: a[0].value % 1000 != 0, settings=QUICK)
    assert odd[0].value % 1000
