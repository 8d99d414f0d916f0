"""Types of text columns: proved by every value, never by chance, and exact."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgard.core.errors import DataError
from asgard.transport.text_proof import NAIVE, TextProof, convert_texts
from asgard.transport.text_proof import UTC as INSTANT

WHERE = {"column": "x"}
D = pa.decimal128


def proved(*texts: str | None) -> pa.DataType:
    proof = TextProof()
    proof.see(pa.array(texts, pa.string()))
    return proof.type


@pytest.mark.parametrize(
    ("texts", "type"),
    [
        (("1", "-2", "0"), pa.int64()),
        (("9223372036854775807", "-9223372036854775808"), pa.int64()),
        (("9223372036854775808",), D(38, 0)),
        (("1", "2.5"), D(18, 2)),
        (("1.234", "-99999999999999"), D(18, 4)),
        (("1.234", "123456789012345"), D(38, 4)),
        (("0.1234567890",), D(38, 18)),
        (("1e5", "2"), pa.float64()),
        (("0.30000000000000004", "1e-9"), pa.float64()),
        (("0.1234567890123456789", "0.5"), D(38, 19)),
        (("true", "false"), pa.bool_()),
        (("TRUE", "FALSE"), pa.bool_()),
        (("2024-02-29", "0001-01-01", "9999-12-31"), pa.date32()),
        (("2024-02-29 23:59:59", "2024-02-29T00:00:00.123456"), NAIVE),
        (("2024-02-29T23:59:59Z", "2024-02-29 23:59:59.5+00:00"), INSTANT),
        ((None, None), pa.null()),
        ((), pa.null()),
    ],
)
def test_what_every_value_proves(texts: tuple[str | None, ...], type: pa.DataType) -> None:
    assert proved(*texts) == type


@pytest.mark.parametrize(
    "texts",
    [
        ("007",), ("+1",), ("1 ",), (" 1",), ("1_000",), ("1,5",), ("0x1F",), ("٣",), ("1.",), (".5",), ("",),
        ("1" * 39,), ("1", "x"), ("NaN",), ("inf",), ("1e400",), ("9007199254740993", "1e3"),
        ("0.10000000000000000001", "1e3"), ("true", "TRUE"), ("true", "1"), ("yes",), ("t",), ("null",),
        ("2023-02-29",), ("2024-06-31",), ("2024-1-1",), ("0000-01-01",), ("10000-01-01",), ("01.02.2024",),
        ("2024-01-01 24:00:00",), ("2024-01-01 10:00",), ("2024-01-01 10:00:60",), ("2024-01-01", "10:00:00"),
        ("2024-01-01 10:00:00.1234567",), ("2024-01-01T10:00:00+02:00",),
        ("2024-01-01 10:00:00", "2024-01-01"), ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00"),
        ("0000-12-31 00:00:00",), ("1\n",), ("2024-01-01\n",),
    ],
)  # fmt: skip
def test_what_stays_text(texts: tuple[str, ...]) -> None:
    assert proved(*texts) == pa.string()


NUMBERS = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: format(d, "f")),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
TEXTS = st.one_of(
    NUMBERS, st.dates().map(str), st.datetimes().map(str), st.text(max_size=5), st.booleans().map(str)
)


@settings(deadline=None)
@given(
    st.lists(st.one_of(NUMBERS, st.none()), max_size=8) | st.lists(st.one_of(TEXTS, st.none()), max_size=8)
)
@example(["-0"])
@example(["-0.00", "1"])
@example(["1.5", "9007199254740993", "1e3"])
def test_what_is_proved_can_be_written_back(texts: list[str | None]) -> None:
    """Promise 2: the value of every text is the value in the column, whatever its type."""
    array = pa.array(texts, pa.string())
    type = proved(*texts)
    values = convert_texts(array, type, WHERE).to_pylist()
    for text, value in zip(texts, values, strict=True):
        if text is None or pa.types.is_string(type):
            assert value == text
        elif pa.types.is_integer(type) or pa.types.is_decimal(type):
            assert Decimal(value) == Decimal(text)
        elif pa.types.is_floating(type):
            assert Decimal(repr(value)) == Decimal(text)
        elif pa.types.is_boolean(type):
            assert text.lower() == str(value).lower()
        elif pa.types.is_date(type):
            assert value == date.fromisoformat(text)
        else:
            assert value == datetime.fromisoformat(text)


@settings(deadline=None)
@given(
    st.lists(st.one_of(TEXTS, st.none()), max_size=8), st.randoms(use_true_random=False), st.integers(1, 8)
)
def test_the_order_and_the_batches_do_not_matter(texts: list[str | None], chance: object, rows: int) -> None:
    type = proved(*texts)
    chance.shuffle(texts)  # type: ignore[attr-defined]
    proof = TextProof()
    for start in range(0, len(texts), rows):
        proof.see(pa.array(texts[start : start + rows], pa.string()))
    assert proof.type == type


@pytest.mark.parametrize(
    ("text", "type", "value"),
    [
        ("007", pa.int64(), 7),
        ("1.10", D(18, 2), Decimal("1.10")),
        ("0.1", pa.float64(), 0.1),
        ("2024-01-01T10:00:00+02:00", INSTANT, datetime(2024, 1, 1, 8, tzinfo=UTC)),
        ("2024-01-01 10:00", NAIVE, datetime(2024, 1, 1, 10)),
        ("1", pa.bool_(), True),
    ],
)
def test_types_that_are_asked_for(text: str, type: pa.DataType, value: object) -> None:
    assert convert_texts(pa.array([text, None]), type, WHERE).to_pylist() == [value, None]


@pytest.mark.parametrize(
    ("text", "type", "word"),
    [
        ("x", pa.int64(), "int64"), ("1.5", pa.int64(), "int64"), ("0x1F", pa.int64(), "int64"),
        ("40000", pa.int16(), "int16"), ("1.105", D(18, 2), "decimal(18, 2)"),
        ("1e3x", pa.float64(), "float64"), ("2024-06-31", pa.date32(), "date"),
        ("2024-01-01T10:00:00", INSTANT, "timestamptz"), ("2024-01-01T10:00:00Z", NAIVE, "timestamp"),
        ("0000-01-01", pa.date32(), "date"), ("2", pa.bool_(), "bool"), ("x", pa.null(), "null"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(text: str, type: pa.DataType, word: str) -> None:
    good = {D(18, 2): "1.10", pa.date32(): "2024-01-01", NAIVE: "2024-01-01 00:00:00", pa.null(): None,
            INSTANT: "2024-01-01T10:00:00Z", pa.bool_(): "true"}.get(type, "1")  # fmt: skip
    texts = pa.array([good] * 700 + [text] + [good] * 300, pa.string())
    with pytest.raises(DataError) as caught:
        convert_texts(texts, type, WHERE)
    assert caught.value.what == f"the value {text!r} is no {word}"
    assert "columns: {x: text}" in caught.value.hint
    assert caught.value.where == WHERE
