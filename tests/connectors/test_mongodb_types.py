"""BSON values arrive as they were: in columns, in JSON, or rescued; never bent."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import bson
import numpy as np
import pyarrow as pa
import pytest
from bson import json_util
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from asgard.connectors._mongodb.bson import FEW, GUESSES, pieces
from asgard.connectors._mongodb.columns import Column, Layout, Seen, path_of, sampled, settled, written_path
from asgard.connectors._mongodb.decode import Decoder, count_kinds
from asgard.core.errors import ConfigError, DataError
from tests.connectors.mongodb_types import CASES, DECLARED, RESCUED, Case, Declared

CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_MS
)
MILLISECONDS: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
REPEATED = (1, FEW + 5)
"""Alone, and so often that documents are taken apart together."""


def decoded(documents: Sequence[bytes], layout: Layout, piece_bytes: int = 1 << 20) -> pa.Table:
    decoder = Decoder(layout)
    batches = [decoder.batch(piece) for piece in pieces(b"".join(documents), piece_bytes)]
    return pa.Table.from_batches(batches, schema=layout.schema)


def seen_in(documents: Sequence[bytes], depth: int = 1) -> dict[str, Seen]:
    seen: dict[str, Seen] = {}
    for piece in pieces(b"".join(documents), 1 << 20):
        count_kinds(piece, depth, seen)
    return seen


def flat(documents: Sequence[bytes], depth: int = 1, **declared: str) -> pa.Table:
    """Flattened by what a sample of all of them says."""
    columns = settled(None, sampled(seen_in(documents, depth), depth), declared)
    return decoded(documents, Layout(columns, document=False))


def told(value: pa.Scalar) -> Any:
    """The value, with times beyond Python's as microseconds, and NaN and zeros told apart."""
    if pa.types.is_timestamp(value.type):
        try:
            return value.as_py()
        except (ValueError, OverflowError):
            return value.value
    plain = value.as_py()
    return repr(plain) if isinstance(plain, float) else plain


def json_of(documents: Sequence[bytes], canonical: bool = False) -> list[str]:
    found: list[str] = decoded(documents, Layout((), canonical=canonical))["document"].to_pylist()
    return found


@pytest.mark.parametrize("times", REPEATED)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_documents_are_json(case: Case, times: int) -> None:
    for value in case.values:
        documents = [case.document(value)] * times
        assert json_of(documents) == [f'{{"v":{value.relaxed}}}'] * times
        assert json_of(documents, canonical=True) == [f'{{"v":{value.in_canonical}}}'] * times


@pytest.mark.parametrize("case", [case for case in CASES if not case.code], ids=lambda case: case.name)
def test_canonical_json_is_the_same_bytes_again(case: Case) -> None:
    for value in case.values:
        (text,) = json_of([case.document(value)], canonical=True)
        assert bson.encode(json_util.loads(text, json_options=CANONICAL)) == case.document(value)


@pytest.mark.parametrize("times", REPEATED)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fields_become_columns(case: Case, times: int) -> None:
    documents = [case.document(value) for value in case.values] * times
    table = flat(documents)
    if not case.word:
        assert table.schema.names == ["_rescued"]
    else:
        about = table.schema.field("v")
        assert (str(about.type), (about.metadata or {}).get(b"asgard.type", b"").decode()) == (
            case.arrow,
            case.label,
        )
    for value, row in zip(list(case.values) * times, range(len(documents)), strict=True):
        rescued = table["_rescued"][row].as_py()
        if value.column is RESCUED:
            assert rescued == f'{{"v":{value.relaxed}}}'
            assert not case.word or table["v"][row].as_py() is None
        else:
            assert rescued is None
            expected = repr(value.column) if isinstance(value.column, float) else value.column
            assert not case.word or told(table["v"][row]) == expected


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.word)
def test_a_declared_type_takes_what_it_holds_exactly(declared: Declared) -> None:
    values = [given for given, _ in declared.taken] + list(declared.rescued)
    documents = [bson.encode({"v": value}) for value in values]
    table = decoded(documents, Layout((Column(("v",), declared.word),), document=False))
    expected = [column for _, column in declared.taken] + [None] * len(declared.rescued)
    assert table["v"].to_pylist() == expected
    rescued = table["_rescued"].to_pylist()
    assert rescued[: len(declared.taken)] == [None] * len(declared.taken)
    for document, text in zip(documents[len(declared.taken) :], rescued[len(declared.taken) :], strict=True):
        assert text == json_of([document])[0]


# ---- whole documents

OIDS = st.binary(min_size=12, max_size=12).map(ObjectId)
NAMES = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), max_size=9)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.integers(-9, 9).map(Int64)
    | st.floats(allow_nan=False)
    | st.just(float("nan"))
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
    | st.binary(max_size=5).map(lambda data: Binary(data, 5))
    | st.integers(-(1 << 63), (1 << 63) - 1).map(DatetimeMS)
    | st.integers(0, 253_402_300_799_999).map(DatetimeMS)
    | OIDS
    | st.decimals(allow_nan=False, places=4, min_value=-(10**20), max_value=10**20).map(Decimal128)
    | st.builds(Timestamp, st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
    | st.builds(Regex, st.text("ab\\.", max_size=4), st.sampled_from(["", "i", "im"]))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(documents=DOCUMENTS, times=st.sampled_from([1, 7]), piece_bytes=st.sampled_from([1, 200, 1 << 20]))
def test_random_documents_are_the_same_bytes_again(
    documents: list[dict[str, Any]], times: int, piece_bytes: int
) -> None:
    raw = [bson.encode(document) for document in documents] * times
    layout = Layout((), canonical=True)
    texts = decoded(raw, layout, piece_bytes)["document"].to_pylist()
    assert [bson.encode(json_util.loads(text, json_options=CANONICAL)) for text in texts] == raw
    relaxed = json_util.RELAXED_JSON_OPTIONS
    asked = [json_util.dumps(bson.decode(one, MILLISECONDS), json_options=relaxed) for one in raw]
    assert list(map(json.loads, json_of(raw))) == list(map(json.loads, asked))


@settings(max_examples=150, deadline=None)
@given(documents=DOCUMENTS, times=st.sampled_from([1, 7]), depth=st.integers(1, 3))
def test_nothing_of_random_documents_is_lost_in_columns(
    documents: list[dict[str, Any]], times: int, depth: int
) -> None:
    """Columns with types of their own or all JSON: put together again they are the documents."""
    raw = [bson.encode(document) for document in documents] * times
    columns = [
        Column(column.path, "json") for column in settled(None, sampled(seen_in(raw, depth), depth), {})
    ]
    table = decoded(raw, Layout(tuple(columns), document=False, canonical=True, keep_nulls=True))
    whole = [json.loads(text) for text in json_of(raw, canonical=True)]
    for row, document in zip(table.to_pylist(), whole, strict=True):
        found: dict[str, Any] = {}
        placed = {written_path(column.path): row[column.name] for column in columns}
        values = [(path, json.loads(text)) for path, text in placed.items() if text is not None]
        for path, value in [*values, *json.loads(row["_rescued"] or "{}").items()]:
            at = found
            *above, last = path_of(path)
            for name in above:
                at = at.setdefault(name, {})
            assert last not in at
            at[last] = value
        assert found == document


@settings(max_examples=100, deadline=None)
@given(
    documents=st.lists(
        st.fixed_dictionaries({}, optional={"a": SCALARS, "b": SCALARS}), min_size=1, max_size=20
    )
)
def test_a_column_and_its_rescue_are_all_values(documents: list[dict[str, Any]]) -> None:
    """A value is in its column, or in `_rescued` as in the document; missing and null are in neither."""
    raw = [bson.encode(document) for document in documents]
    whole = [json.loads(text) for text in json_of(raw)]
    table = flat(raw)
    for row, document in enumerate(whole):
        rescued = json.loads(table["_rescued"][row].as_py() or "{}")
        for name in ("a", "b"):
            there = document.get(name)
            placed = name in table.schema.names and table[name][row].is_valid
            assert placed + (name in rescued) == (there is not None)
            assert name not in rescued or rescued[name] == there


@pytest.mark.parametrize("count", [FEW - 1, FEW, FEW + 1, 500])
def test_documents_of_any_shape_go_together(count: int) -> None:
    documents = [
        bson.encode({f"f{n % (3 * GUESSES)}": n, "list": list(range(n % 7)), "same": "x" * (n % 30)})
        for n in range(count)
    ]
    assert list(map(json.loads, json_of(documents))) == [bson.decode(one) for one in documents]


def test_names_that_begin_alike_are_told_apart() -> None:
    names = ["abcdefg", "abcdefgh", "abcdefghi", "abcdefgX", "a", "", "ab"]
    documents = [bson.encode({name: 1}) for name in names] * 9
    assert json_of(documents) == [f'{{"{name}":1}}' for name in names] * 9


def test_one_long_list_beside_short_ones() -> None:
    documents = [bson.encode({"l": list(range(20_000))}), *[bson.encode({"l": [1]})] * 40]
    first, *others = json_of(documents)
    assert json.loads(first) == {"l": list(range(20_000))}
    assert others == ['{"l":[1]}'] * 40


# ---- what does not fit


def test_fields_of_one_name_stay_two() -> None:
    body = b"\x10a\0\x01\0\0\0" + b"\x10a\0\x02\0\0\0"
    document = struct.pack("<i", len(body) + 5) + body + b"\0"
    for times in REPEATED:
        assert json_of([document] * times) == ['{"a":1,"a":2}'] * times
        assert flat([document] * times).to_pylist() == [{"a": 1, "_rescued": '{"a":2}'}] * times


def test_ragged_values_are_rescued_under_their_path() -> None:
    documents = [
        {"n": 1, "a": {"b": "x", "c": {"d": 1}}},
        {"n": 2, "a": {"b": "y"}},
        {"n": "three", "a": {"b": 5, "new": 1}},
        {"n": 4, "a": "none", "a.b": "dotted", "N": "upper"},
        {"n": None, "a": {}},
        {},
    ]
    rows = flat([bson.encode(one) for one in documents], depth=2).to_pylist()
    assert [row["n"] for row in rows] == [1, 2, None, 4, None, None]
    assert [row["a_b"] for row in rows] == ["x", "y", None, None, None, None]
    assert [row["a_c"] for row in rows] == ['{"d":1}', None, None, None, None, None]
    assert [row["a_new"] for row in rows] == [None, None, 1, None, None, None]
    assert [row["a.b"] for row in rows] == [None, None, None, "dotted", None, None]
    assert [row["_rescued"] and json.loads(row["_rescued"]) for row in rows] == [
        None,
        None,
        {"n": "three", "a.b": 5},
        {"a": "none", "N": "upper"},
        {"a": {}},
        None,
    ]


def test_null_and_missing_are_told_apart_if_wanted() -> None:
    documents = [bson.encode(one) for one in ({"a": 1}, {"a": None}, {})]
    layout = Layout((Column(("a",), "int64"),), document=False, keep_nulls=True)
    assert decoded(documents, layout)["_rescued"].to_pylist() == [None, '{"a":null}', None]


def test_fields_that_mean_types_are_refused_or_kept() -> None:
    document = bson.encode({"v": {"$date": "no date"}})
    with pytest.raises(DataError, match=r"a field named \$date"):
        json_of([document])
    kept = decoded([document], Layout((), keep_wrappers=True))
    assert kept["document"].to_pylist() == ['{"v":{"$date":"no date"}}']


@pytest.mark.parametrize("text", [b"\xff", b"fine, then \xc3\x28", b"\xed\xa0\x80"])
def test_texts_that_are_no_utf8_are_refused(text: bytes) -> None:
    body = b"\x02v\0" + struct.pack("<i", len(text) + 1) + text + b"\0"
    document = struct.pack("<i", len(body) + 5) + body + b"\0"
    for read in (json_of, flat):
        with pytest.raises(DataError, match="no UTF-8"):
            read([document])


@pytest.mark.parametrize("count", [1, 100])
def test_the_document_that_is_wrong_is_named(count: int) -> None:
    documents = [bson.encode({"_id": n, "v": "fine"}) for n in range(count)]
    documents.append(
        bson.encode({"_id": ObjectId(b"x" * 12), "v": "fine"}).replace(b"fine", b"\xff\xff\xff\xff")
    )
    with pytest.raises(DataError, match="no UTF-8") as refused:
        json_of(documents)
    assert refused.value.where == {"document": '{"$oid":"787878787878787878787878"}'}


def test_a_key_is_never_rescued() -> None:
    documents = [bson.encode({"_id": 1}), bson.encode({"_id": "one"})]
    with pytest.raises(DataError, match='_id is "one", which is no int64') as refused:
        decoded(documents, Layout((Column(("_id",), "int64"),)))
    assert "columns: {_id: json}" in refused.value.hint


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x04\0\0\0",
        b"\x05\0\0\0",
        b"\xff\xff\xff\x7f\0",
        b"\x08\0\0\0\x99v\0\0",
        b"\x0c\0\0\0\x02v\0\xff\0\0\0\0",
        b"\x08\0\0\0\x10vv\0",
        b"\x0c\0\0\0\x02v\0\x00\0\0\x80\0",
    ],
)
def test_bytes_that_are_no_bson_are_refused(bytes_: bytes) -> None:
    for times in REPEATED:
        with pytest.raises(DataError, match="no BSON"):
            json_of([bytes_] * times)


@settings(max_examples=200, deadline=None)
@given(document=DOCUMENTS, place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damaged_bytes_never_break_out(document: list[dict[str, Any]], place: float, value: int) -> None:
    """What one byte's change makes is read as something, or refused; the process goes on."""
    raw = bytearray(b"".join(map(bson.encode, document)) * 4)
    raw[int(place * len(raw))] = value
    try:
        texts = json_of([bytes(raw)])
    except DataError:
        return
    for text in texts:
        json.loads(text)


# ---- columns


def test_twins_by_name_are_refused_where_they_are_declared() -> None:
    for declared in ({"a.b": "text", "a_b": "text"}, {"document": "text"}, {"a": "json", "a.b": "text"}):
        with pytest.raises(ConfigError):
            settled(None, [], declared)


def test_what_is_declared_goes_before_the_sample() -> None:
    found = [Column(("a",), "json"), Column(("b",), "int64"), Column(("B",), "int64"), Column(("C",), "text")]
    columns = settled(
        Column(("_id",), "objectid"), found, {"a.x": "text", "b": "text", "c": "bool", "_id": "json"}
    )
    assert {written_path(column.path): column.word for column in columns} == {
        "_id": "json",
        "b": "text",
        "a.x": "text",
        "c": "bool",
    }


@given(path=st.lists(st.text("a.\\b", max_size=4), min_size=1, max_size=4))
def test_paths_are_written_and_read(path: list[str]) -> None:
    assert path_of(written_path(path)) == tuple(path)


def test_numbers_without_pandas() -> None:
    """The decoder's arrays are laid out in buffers; bits and masks survive the way there and back."""
    from asgard.connectors._mongodb.bson import as_arrow, as_mask

    flags = np.array([True, False, True, True, False, False, True, False, True])
    assert as_arrow(flags).to_pylist() == flags.tolist()
    assert as_mask(as_arrow(flags)).tolist() == flags.tolist()
    assert as_mask(as_arrow(flags).slice(3)).tolist() == flags[3:].tolist()
