"""Masks over every type: what is left, what is refused, and that nothing clear is in a message."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.core.errors import ConfigError, DataError
from asgard.quality.masking import Mask, Masking, misused, remasked

KEY = b"a key of a test that is long enough"
CANARY = "c4n4ry-m4sk-11b0"


def masked(
    values: pa.Array, mask: Mask, column: str = "c", scope: str = "s.t", key: bytes = KEY
) -> list[Any]:
    batch = pa.record_batch({column: values})
    masking = Masking({column: mask}, scope, key)
    result = masking.applied(batch)
    assert result.schema.equals(masking.schema(batch.schema), check_metadata=True)
    values = result.column(0).to_pylist()
    assert isinstance(values, list)
    return values


def test_a_hash_is_hmac_sha256_of_the_text_by_a_key_derived_from_ours() -> None:
    derived = hmac.digest(KEY, b"asgard mask hash", "sha256")
    expected = hmac.digest(derived, CANARY.encode(), "sha256").hex()
    assert masked(pa.array([CANARY, None, CANARY]), Mask.HASH) == [expected, None, expected]


def test_hashes_are_equal_across_tables_and_types_and_tokens_are_not() -> None:
    numbers, texts = pa.array([42], pa.int32()), pa.array(["42"])
    assert masked(numbers, Mask.HASH) == masked(texts, Mask.HASH, "d", "other.table")
    assert masked(pa.array([42], pa.uint64()), Mask.HASH) == masked(texts, Mask.HASH)
    assert masked(numbers, Mask.TOKENIZE) == masked(texts, Mask.TOKENIZE)
    assert masked(texts, Mask.TOKENIZE) != masked(texts, Mask.TOKENIZE, "d")
    assert masked(texts, Mask.TOKENIZE) != masked(texts, Mask.TOKENIZE, scope="other.table")
    assert masked(texts, Mask.HASH) != masked(texts, Mask.HASH, key=KEY + b"!")
    assert masked(texts, Mask.TOKENIZE)[0].startswith("tok_")


@pytest.mark.parametrize(
    ("value", "left"),
    [("", "****"), ("1234567", "****"), ("12345678", "****5678"), ("ab çdéfgh", "****éfgh"), (None, None)],
)
def test_partial(value: str | None, left: str | None) -> None:
    assert masked(pa.array([value], pa.string()), Mask.PARTIAL) == [left]


def test_partial_of_numbers() -> None:
    assert masked(pa.array([4111111111111111, 12]), Mask.PARTIAL) == ["****1111", "****"]


NESTED = pa.array([[CANARY]])
EVERY = [
    pa.array([CANARY], pa.large_string()),
    pa.array([CANARY]).dictionary_encode(),
    pa.array([CANARY.encode()]),
    pa.array([1], pa.uint8()),
    pa.array([1.5], pa.float32()),
    pa.array([True]),
    pa.array([Decimal("1.50")], pa.decimal256(50, 2)),
    pa.array([datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("ns", "Europe/Oslo")),
    pa.array([datetime(2026, 1, 2).time()], pa.time64("us")),
    pa.array([None], pa.null()),
]


@pytest.mark.parametrize("values", EVERY, ids=lambda values: str(values.type))
@pytest.mark.parametrize("mask", [Mask.HASH, Mask.TOKENIZE])
def test_every_plain_type(values: pa.Array, mask: Mask) -> None:
    (one,) = masked(values, mask)
    assert one is None if values.null_count else len(one) == (64 if mask is Mask.HASH else 36)


@pytest.mark.parametrize("values", [*EVERY, NESTED], ids=lambda values: str(values.type))
def test_nothing_is_left_of_what_is_redacted(values: pa.Array) -> None:
    assert masked(values, Mask.REDACT) == [None]


@pytest.mark.parametrize(
    ("values", "mask"),
    [(NESTED, Mask.HASH), (NESTED, Mask.TOKENIZE), (NESTED, Mask.PARTIAL), (pa.array([b"x"]), Mask.PARTIAL)],
    ids=str,
)
def test_what_a_mask_cannot_be_put_on_is_refused(values: pa.Array, mask: Mask) -> None:
    with pytest.raises(ConfigError, match="cannot be masked by") as refused:
        masked(values, mask)
    assert CANARY not in str(refused.value)


def test_a_value_without_canonical_form_is_in_no_message() -> None:
    finer_than_a_microsecond = pa.array([1_767_312_000_123_456_789], pa.timestamp("ns"))
    with pytest.raises(DataError, match="which is masked, has no canonical form") as refused:
        masked(finer_than_a_microsecond, Mask.HASH)
    error = refused.value
    told = f"{error.as_dict()}{error.__cause__!r}{error.__context__!r}"
    assert "2026" not in told
    assert "789" not in told


def test_other_columns_are_the_same_arrays() -> None:
    batch = pa.record_batch({"a": pa.array([CANARY]), "b": pa.array(["clear"])})
    result = Masking({"a": Mask.REDACT}).applied(batch)
    assert result.column("b").buffers()[2].address == batch.column("b").buffers()[2].address


def test_a_column_that_is_not_there_is_refused_unless_it_may_miss() -> None:
    schema = pa.schema({"mail": pa.string()})
    with pytest.raises(ConfigError, match="email: to be masked, but there is no such column"):
        Masking({"email": Mask.REDACT}).schema(schema)
    assert Masking({"email": Mask.REDACT}, may_miss=True).schema(schema) == schema


def test_what_fits_no_column_is_redacted_unless_it_is_named() -> None:
    batch = pa.record_batch({"a": pa.array(["x"]), "_rescued": pa.array([CANARY])})
    for masks, left in (({"a": Mask.REDACT}, None), ({"_rescued": Mask.PARTIAL}, "****11b0")):
        masking = Masking(masks)
        assert masking.applied(batch).column("_rescued").to_pylist() == [left]
        assert masking.schema(batch.schema).field("_rescued").metadata


def test_without_a_key_nothing_is_hashed() -> None:
    with pytest.raises(ConfigError, match="there is no masking_key"):
        Masking({"a": Mask.HASH})
    assert KEY.decode() not in repr(Masking({"a": Mask.HASH}, key=KEY))


def test_which_masks_a_key_and_a_cursor_may_have() -> None:
    masks = {"id": Mask.HASH, "no": Mask.TOKENIZE, "at": Mask.HASH, "code": Mask.PARTIAL, "x": Mask.REDACT}
    told = [column for column, _, _ in misused(masks, ["id", "no", "code"], "at")]
    assert told == ["at", "code"]


def test_marks_tell_masks_and_keys_apart() -> None:
    clear = pa.schema({"a": pa.string()})
    hashed = Masking({"a": Mask.HASH}, key=KEY).schema(clear)
    assert remasked(hashed, hashed) == []
    for other in (clear, Masking({"a": Mask.HASH}, key=KEY + b"!").schema(clear)):
        assert remasked(hashed, other) == remasked(other, hashed) == ["a"]
    assert remasked(pa.schema({"b": pa.string()}), hashed) == []


@given(st.lists(st.one_of(st.none(), st.text())), st.sampled_from([Mask.HASH, Mask.TOKENIZE]))
def test_equal_stays_equal_and_different_different(values: list[str | None], mask: Mask) -> None:
    result = masked(pa.array(values, pa.string()), mask)
    assert [one is None for one in result] == [one is None for one in values]
    assert len(set(zip(values, result, strict=True))) == len(set(values)) == len(set(result))
