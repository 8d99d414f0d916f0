"""JSON: exact numbers, records wherever they are, errors with line and column."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgard.core.errors import DataError, QueryError
from asgard.transport.json_records import RecordProofs, typed_records
from asgard.transport.json_text import dumps, lines, parse, records

D = pa.decimal128
JSON = {"asgard.type": "json"}


def found(data: bytes, path: str | None = None, piece_bytes: int = 7) -> list[Any]:
    return [record for piece in records(io.BytesIO(data), "f", path, piece_bytes) for record in piece]


def found_lines(data: bytes, piece_bytes: int = 7) -> list[Any]:
    return [record for piece in lines(io.BytesIO(data), "f", piece_bytes) for record in piece]


def table_of(values: list[Any], pinned: dict[str, str] | None = None) -> tuple[pa.Field, list[Any]]:
    """The column that the values become, and its values."""
    proofs = RecordProofs(pinned or {})
    proofs.see([{"x": value} for value in values])
    batch = typed_records([{"x": value} for value in values], proofs.schema, "f")
    return batch.schema.field(0), batch.column(0).to_pylist()


# ---- where records are


@pytest.mark.parametrize(
    ("data", "path", "wanted"),
    [
        (b'[{"a":1},{"a":2}]', None, [{"a": 1}, {"a": 2}]),
        (b" [ ] ", None, []),
        (b"", None, []),
        (b"  \n", None, []),
        (b'{"a":1}', None, [{"a": 1}]),
        (b'{"a":1}\n{"a":2}', None, [{"a": 1}, {"a": 2}]),
        (b"[1,2] [3]", None, [1, 2, 3]),
        (b'{"data":[{"a":1}],"page":1}', None, [{"a": 1}]),
        (b'{"data":{"items":[{"a":1}]},"tags":["x"]}', None, [{"a": 1}]),
        (b'{"items":[]}', None, []),
        (b'{"a":{"b":[{"c":1},{"c":2}]},"z":[{"y":1}]}', "a.b", [{"c": 1}, {"c": 2}]),
        (b'{"z":[{"y":"]"}],"a":{"b":[]}}', "a.b", []),
        (b'{"a":{"b":{"c":1}}}', "a.b", [{"c": 1}]),
        (b'\xef\xbb\xbf[{"a":"\xc3\xa4"}]', None, [{"a": "ä"}]),
        (b'"x"', None, ["x"]),
        (b"12345678901234567890123 ", None, [12345678901234567890123]),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_records(data: bytes, path: str | None, wanted: list[Any], piece_bytes: int) -> None:
    assert found(data, path, piece_bytes) == wanted


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        (b'{"a":[{"x":1}],"b":[{"x":1}]}', None, "several lists of records: a, b"),
        (b'{"a":1}', "b", "nothing at 'b'"),
        (b'{"a":{"b":1}}', "a.c", "nothing at 'a.c'"),
        (b"[1]", "a", "nothing at 'a'"),
    ],
)
def test_records_that_are_not_there(data: bytes, path: str | None, says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        found(data, path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "path", "place"),
    [
        (b'[{"a":1},\n{"a":x}]', None, "f:2:6"),
        (b'[{"a":1}', None, "f:1:9"),
        (b'[{"a":1} {"a":2}]', None, "f:1:10"),
        (b'[{"a":tru', None, "f:1:7"),
        (b'[{"a":"unfinished', None, "f:1:7"),
        (b'[{"a":NaN}]', None, "f:1:2"),
        (b'[{"a":1}] x', None, "f:1:11"),
        (b'{"d":[{"a":1}],"z":[1', "d", "f:1:22"),
        (b'{"d":[{"a":1}]', "d", "f:1:15"),
        (b'[{"a":"\xff"}]', None, None),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_broken_documents(data: bytes, path: str | None, place: str | None, piece_bytes: int) -> None:
    with pytest.raises(DataError, match="this is no JSON") as caught:
        found(data, path, piece_bytes)
    if place is not None:
        assert caught.value.where["file"] == place


@pytest.mark.parametrize("piece_bytes", [1, 5, 1 << 20])
def test_lines(piece_bytes: int) -> None:
    data = b'\xef\xbb\xbf{"a":1}\n\n {"a":"\xe2\x80\xa8"}\r\n[2]\n3'
    assert found_lines(data, piece_bytes) == [{"a": 1}, {"a": "\u2028"}, [2], 3]
    assert found_lines(b"", piece_bytes) == []


@pytest.mark.parametrize("piece_bytes", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"a":1}\n{"a":x}\n', "f:2:6"),
        (b'{"a":1}\n\n{"a":1} {"a":2}\n', "f:3:9"),
        (b'{"a":1}\n{"a":1', "f:2:7"),
        (b'{"a":1}\n{"a":"\xff"}', "f:2"),
        (b'{"a":-Infinity}', "f:1"),
    ],
)
def test_broken_lines(data: bytes, place: str, piece_bytes: int) -> None:
    with pytest.raises(DataError, match="this is no JSON") as caught:
        found_lines(data, piece_bytes)
    assert caught.value.where["file"] == place


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def exact(value: Any) -> Any:
    """The value with the number that a float's text says."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [exact(element) for element in value]
    return {name: exact(inner) for name, inner in value.items()} if isinstance(value, dict) else value


@settings(deadline=None)
@given(st.lists(VALUES, max_size=4), st.integers(1, 50))
@example([0.0, 1e-300, -0.5e22], 1)
def test_any_document_in_any_pieces(values: list[Any], piece_bytes: int) -> None:
    assert exact(found(json.dumps(values).encode(), None, piece_bytes)) == exact(values)
    text = "\n".join(json.dumps(value) for value in values).encode()
    assert exact(found_lines(text, piece_bytes)) == exact(values)
    assert exact(found(b'{"a": ' + json.dumps(values).encode() + b', "z": {}}', "a", piece_bytes)) == exact(
        values
    )
    assert exact(parse(json.dumps(values).encode(), "f")) == exact(values)


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_what_was_read(value: Any) -> None:
    assert json.loads(dumps(exact(value)), parse_float=Decimal) == exact(value)


NUMBER = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)


@settings(deadline=None)
@given(st.lists(NUMBER, min_size=1, max_size=5))
@example(["1e-400", "0.5"])
@example(["1.7976931348623157e308", "1e309"])
@example(["0.1234567890123456"])
@example(["4.9406564584124654e-324"])
def test_no_digit_of_a_number_gets_lost(numbers: list[str]) -> None:
    """Promise 2: whichever parser read it, and however it was written."""
    wanted = [Decimal(number) for number in numbers]
    text = "\n".join(f'{{"x": {number}}}' for number in numbers).encode()
    for records_ in (found_lines(text, 1 << 20), parse(b"[" + text.replace(b"\n", b",") + b"]", "f")):
        assert [exact(record["x"]) for record in records_] == wanted
        proofs = RecordProofs()
        proofs.see(records_)
        carried = typed_records(records_, proofs.schema, "f").column(0).to_pylist()
        assert [Decimal(repr(v)) if isinstance(v, float) else Decimal(v) for v in carried] == wanted


def test_numbers_are_written_in_one_form() -> None:
    text = '{"a":[1.10,1e2,-0.0,%s],"b":"\\ud800"}'
    long = "123456789012345678901234567890,1E+400,0.12345678901234567,1.0000000000000000"
    assert dumps(parse(text % long, "f")) == text.replace("1.10,1e2", "1.1,100.0") % long
    assert dumps(parse(b'{"a":[1.10,1e2,-0.0]}', "f")) == '{"a":[1.1,100.0,-0.0]}'


# ---- what they become


@pytest.mark.parametrize(
    ("values", "type", "wanted"),
    [
        ([1, None, -5], pa.int64(), [1, None, -5]),
        ([2**63 - 1, -(2**63)], pa.int64(), [2**63 - 1, -(2**63)]),
        ([2**63], D(38, 0), [Decimal(2**63)]),
        ([1, Decimal("2.5")], D(18, 2), [Decimal(1), Decimal("2.5")]),
        ([Decimal("1E-7"), Decimal("1E2")], D(18, 9), [Decimal("1E-7"), Decimal(100)]),
        ([Decimal("1E2"), 5], pa.int64(), [100, 5]),
        ([Decimal("1.5E300"), 1], pa.float64(), [1.5e300, 1.0]),
        ([True, None], pa.bool_(), [True, None]),
        (["2024-01-01", "007"], pa.string(), ["2024-01-01", "007"]),
        ([None], pa.null(), [None]),
    ],
)
def test_types_that_every_value_proves(values: list[Any], type: pa.DataType, wanted: list[Any]) -> None:
    field, got = table_of(values)
    assert (field.type, field.metadata) == (type, None)
    assert got == wanted


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, "x", None], ["1", '"x"', None]),
        ([1, True], ["1", "true"]),
        ([{"a": Decimal("1.10")}, [1]], ['{"a":1.1}', "[1]"]),
        ([10**40], [str(10**40)]),
        ([Decimal("1E400"), 1], ["1E+400", "1"]),
        ([Decimal("0.30000000000000004123"), Decimal("1E25")], ["0.30000000000000004123", "1e+25"]),
        ([Decimal("1E999999999")], ["1E+999999999"]),
        ([{"a": "\ud800"}], ['{"a":"\\ud800"}']),
    ],
)
def test_what_has_no_one_type_stays_json(values: list[Any], wanted: list[Any]) -> None:
    field, got = table_of(values)
    assert field.type == pa.string()
    assert field.metadata == {b"asgard.type": b"json"}
    assert got == wanted


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_column_says_what_the_document_said(values: list[Any]) -> None:
    """Promise 2, in whichever type the column is; and in whatever batches the values came."""
    values = exact(values)
    field, got = table_of(values)
    piecewise = RecordProofs()
    for value in values:
        piecewise.see([{"x": value}])
    assert piecewise.schema.field(0).equals(field, check_metadata=True)
    for value, carried in zip(values, got, strict=True):
        if field.metadata == {b"asgard.type": b"json"} and value is not None:
            assert json.loads(carried, parse_float=Decimal) == value
        elif pa.types.is_floating(field.type) and value is not None:
            assert Decimal(repr(carried)) == value
        else:
            assert carried == value


@pytest.mark.parametrize(
    ("word", "value", "wanted"),
    [
        ("text", 5, "5"), ("text", "x", "x"), ("text", [1], "[1]"), ("int64", Decimal("1.0"), 1),
        ("int64", "7", 7),
        ("float64", Decimal("0.1"), 0.1), ("float64", 1, 1.0), ("decimal(5, 1)", 1, Decimal("1.0")),
        ("decimal(5, 1)", "2.5", Decimal("2.5")), ("json", "x", '"x"'), ("bool", True, True),
    ],
)  # fmt: skip
def test_types_that_are_asked_for(word: str, value: Any, wanted: Any) -> None:
    assert table_of([value, None], {"x": word})[1] == [wanted, None]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("int64", Decimal("1.5")), ("int64", True), ("int64", 2**63), ("int16", 40000), ("int64", [1]),
        ("int64", Decimal("1E999999999")), ("decimal(5, 1)", Decimal("1.25")), ("decimal(5, 1)", True),
        ("bool", 1), ("timestamp", 5), ("date", "x"), ("float64", "x"), ("binary", 5),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(word: str, value: Any) -> None:
    with pytest.raises(DataError, match="is no ") as caught:
        table_of([None, value], {"x": word})
    assert caught.value.where["column"] == "x"
    assert "columns: {x: text}" in caught.value.hint


@pytest.mark.parametrize("levels", [200, 300, 100_000])
def test_deep_nesting_is_carried_or_refused(levels: int) -> None:
    nested = "[" * levels + "]" * levels
    text = f'{{"x": {nested}}}'.encode()

    def carried(read: Callable[[], list[Any]]) -> bool:
        try:
            found_records = read()
            proofs = RecordProofs()
            proofs.see(found_records)
            return typed_records(found_records, proofs.schema, "f").column(0).to_pylist() == [nested]
        except DataError:
            return False

    ways = (lambda: found_lines(text, 1 << 20), lambda: found(text), lambda: [parse(text, "f")])
    assert [carried(way) for way in ways] == [levels < 1000] * 3


def test_half_a_character_is_refused_and_can_be_allowed() -> None:
    with pytest.raises(DataError, match="half of a surrogate pair") as caught:
        table_of(["\ud800"])
    assert "columns: {x: json}" in caught.value.hint
    assert table_of(["\ud800"], {"x": "json"})[1] == ['"\\ud800"']


def test_records_that_are_no_objects_are_one_column() -> None:
    proofs = RecordProofs()
    proofs.see([1, {"a": 2}])
    batch = typed_records([1, {"a": 2}], proofs.schema, "f")
    assert batch.to_pylist() == [{"value": 1, "a": None}, {"value": None, "a": 2}]


def test_names_that_are_left_out_or_new() -> None:
    proofs = RecordProofs({}, frozenset({"b"}))
    proofs.see([{"a": 1, "b": "x"}])
    assert typed_records([{"a": 1, "b": "x"}], proofs.schema, "f", frozenset({"b"})).to_pylist() == [{"a": 1}]
    with pytest.raises(DataError, match="names that are no columns: b, c"):
        typed_records([{"c": 1}, {"b": 2}], proofs.schema, "f")
