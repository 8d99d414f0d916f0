"""CSV and TSV: every row comes whole, or the file and line of the one that does not."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asgard.core.cancel import Cancel
from asgard.core.errors import Cancelled, ConfigError, DataError
from asgard.transport.delimited import BLOCK_BYTES, END, ColumnProofs, Dialect, text_batches, typed_batch
from asgard.transport.files import find_files

PLAIN = Dialect()


def written(folder: Path, data: bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(data)
    return folder


def rows_of(
    folder: Path, data: bytes, dialect: Dialect = PLAIN, batch_bytes: int = BLOCK_BYTES[0]
) -> list[dict[str, str]]:
    (file,) = find_files(written(folder, data), "a.csv")
    return [row for batch in text_batches(file, dialect, batch_bytes) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (b"a,b\n1,2", [{"a": "1", "b": "2"}]),
        (b"a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        (b"a,b\r1,2\r", [{"a": "1", "b": "2"}]),
        (b"a,b\r\n1,2\n3,4\r", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (b'a,b\n1,""\n,2\n', [{"a": "1", "b": ""}, {"a": None, "b": "2"}]),
        (b'a,b\n"x,y","q""q"\n', [{"a": "x,y", "b": 'q"q'}]),
        (b'a,b\n"x\r\ny",z\n', [{"a": "x\r\ny", "b": "z"}]),
        (b'a,b\n1,x"y"\n', [{"a": "1", "b": 'x"y"'}]),
        (b'"a,x",b\n1,2\n', [{"a,x": "1", "b": "2"}]),
        (b"a,b\n\n1,2\n\n\n", [{"a": "1", "b": "2"}]),
        (b"a\n\n1\n\n", [{"a": None}, {"a": "1"}, {"a": None}]),
        (b'a\n""\n1', [{"a": ""}, {"a": "1"}]),
        (b"a,a,\n1,2,3\n", [{"a": "1", "a_2": "2", "column_3": "3"}]),
        (b"a,a_2,a\n1,2,3\n", [{"a": "1", "a_2": "2", "a_3": "3"}]),
        (b"a,b\n1,\x002\n", [{"a": "1", "b": "\x002"}]),
        (b"a,b\n", []),
        (b"a", []),
        (b"", []),
        (b"\n\n", []),
        (b'"', None),
    ],
)  # fmt: skip
def test_rows(tmp_path: Path, data: bytes, rows: list[dict[str, str]] | None) -> None:
    if rows is None:
        with pytest.raises(DataError, match="never closed"):
            rows_of(tmp_path, data)
    else:
        assert rows_of(tmp_path, data) == rows


@pytest.mark.parametrize(
    ("dialect", "data", "rows"),
    [
        (Dialect(delimiter=";"), b"a;b\n1,5;2\n", [{"a": "1,5", "b": "2"}]),
        (Dialect(delimiter="\t"), b"a\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
        (Dialect(quote="'"), b"a,b\n'1,1',\"2\n", [{"a": "1,1", "b": '"2'}]),
        (Dialect(quote=""), b'a,b\n1,"2\n', [{"a": "1", "b": '"2'}]),
        (Dialect(escape="\\"), b'a,b\n"x\\"y",2\n', [{"a": 'x"y', "b": "2"}]),
        (Dialect(header=0), b"1,2\n", [{"column_1": "1", "column_2": "2"}]),
        (Dialect(header=3), b"report\nof today,,\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (Dialect(skip_rows=2), b"report\nof today\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (Dialect(skip_rows=2), b"a,b\n1,2\n", []),
        (Dialect(skip_rows=9), b"a,b\n1,2\n", []),
        (Dialect(skip_rows=1), b"x\r\na,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        (Dialect(skip_rows=1), b"x\ra,b\r1,2\r", [{"a": "1", "b": "2"}]),
        (Dialect(null_values=("NA", "-")), b'a,b\nNA,"NA"\n', [{"a": None, "b": "NA"}]),
        (Dialect(null_values=("NA", "-")), b"a,b\n-,\n", [{"a": None, "b": ""}]),
        (Dialect(encoding="latin-1"), "a,b\nä,2\n".encode("latin-1"), [{"a": "ä", "b": "2"}]),
        (Dialect(encoding="utf-16"), "a,b\nä,2\n".encode("utf-16"), [{"a": "ä", "b": "2"}]),
        (Dialect(encoding="utf-16-le"), "\ufeffa,b\nä,2\n".encode("utf-16-le"), [{"a": "ä", "b": "2"}]),
        (Dialect(encoding="utf-8-sig"), b"\xef\xbb\xbfa,b\n1,2\n", [{"a": "1", "b": "2"}]),
        (Dialect(encoding="cp1252"), b"a\n\x80\n", [{"a": "€"}]),
    ],
)  # fmt: skip
def test_dialects(tmp_path: Path, dialect: Dialect, data: bytes, rows: list[dict[str, str]]) -> None:
    assert rows_of(tmp_path, data, dialect) == rows


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"a,b,c\n1,2\n", 2, "the row has 2 fields, the header has 3: '1,2'"),
        (b"a,b\n1,2,3\n", 2, "the row has 3 fields, the header has 2: '1,2,3'"),
        (b"a,b\n1,2\n\n3,4\n5\n6,7\n", 5, "the row has 1 fields"),
        (b'a,b\n1,"x\ny\nz"\n2\n', 5, "the row has 1 fields"),
        (b"a,b\n" + b"1,2\n" * 200_000 + b"1\n" + b"1,2\n" * 9, 200_002, "the row has 1 fields"),
        (b"a,b\n1,2\nx,\xff\n", 3, "bytes that are no utf-8"),
        (b"a\n\xc3\n", 2, "bytes that are no utf-8"),
    ],
)
def test_bad_rows_are_told_with_their_line(tmp_path: Path, data: bytes, line: int, says: str) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, data)
    assert says in caught.value.what
    assert caught.value.where["file"] == f"a.csv:{line}"
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [b'a,b\n1,"2\n3,4\n', b'a,b\n1,2\n"3,4', b'a\n"x', b'a,b\n1,"\n', b'a,"b\n', b'a,b\n1,"2""\n3,4\n'],
)
def test_a_quote_that_is_never_closed_swallows_nothing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="a quote is opened and never closed"):
        rows_of(tmp_path, data)


def test_more_lines_passed_over_than_a_block_holds(tmp_path: Path) -> None:
    data = b"a comment\n" * 20_000 + b"a,b\n1,2\n"
    assert rows_of(tmp_path, data, Dialect(skip_rows=20_000), 1 << 16) == [{"a": "1", "b": "2"}]


def test_an_escape_at_the_end_is_no_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        rows_of(tmp_path, b"a,b\n1,x\\", Dialect(escape="\\"))


def test_bytes_of_another_encoding_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not written in the encoding"):
        rows_of(tmp_path, "a,b\nä,2\n".encode("utf-16")[:-1], Dialect(encoding="utf-16"))
    with pytest.raises(ConfigError, match="no encoding 'utf-99'"):
        rows_of(tmp_path, b"a\n", Dialect(encoding="utf-99"))


@pytest.mark.parametrize("columns", [1, 2, 500, 20_000])
def test_any_number_of_columns_is_text(tmp_path: Path, columns: int) -> None:
    names = [f"name {number}" for number in range(columns)]
    data = ",".join(names) + "\n" + ",".join("7" * columns) + "\n"
    assert rows_of(tmp_path, data.encode()) == [dict.fromkeys(names, "7")]


def test_rows_that_are_longer_than_a_block(tmp_path: Path) -> None:
    long = "x" * (BLOCK_BYTES[0] + 10)
    data = "a,b\n" + "1,2\n" * 40_000 + f'3,"{long}"\n' + "4,5\n" * 40_000
    rows = rows_of(tmp_path, data.encode(), batch_bytes=1 << 16)
    assert rows == [{"a": "1", "b": "2"}] * 40_000 + [{"a": "3", "b": long}] + [{"a": "4", "b": "5"}] * 40_000


def test_batches_are_about_as_large_as_asked(tmp_path: Path) -> None:
    written(tmp_path, b"a,b\n" + b"1,some text\n" * 100_000)
    (file,) = find_files(tmp_path, "a.csv")
    sizes = [batch.nbytes for batch in text_batches(file, PLAIN, 1 << 17)]
    assert len(sizes) > 5
    assert max(sizes) < 1 << 18


def test_a_cancelled_reading_ends(tmp_path: Path) -> None:
    written(tmp_path, b"a,b\n" + b"1,2\n" * 100_000)
    (file,) = find_files(tmp_path, "a.csv")
    cancel = Cancel()
    batches = text_batches(file, PLAIN, 1 << 16, cancel)
    next(batches)
    cancel.cancel()
    with pytest.raises(Cancelled):
        next(batches)


FIELD = st.text(st.sampled_from('ab1,;"\n\r\t \\ä'), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
@example([["", "", ""]], "\n", csv.QUOTE_ALL, False)
@example([['"', "\n", "a\r"]], "\r\n", csv.QUOTE_MINIMAL, True)
def test_what_python_writes_comes_back(
    tmp_path: Path, rows: list[list[str]], newline: str, quoting: int, cut: bool
) -> None:
    if any("\r" in field for row in rows for field in row):
        quoting = csv.QUOTE_ALL  # Python's writer leaves a lone carriage return bare
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=newline)  # type: ignore[arg-type]
    writer.writerows([["x", "y", "z"], *rows])
    data = text.getvalue().removesuffix(newline if cut else "")
    found = rows_of(tmp_path, data.encode(), Dialect(null_values=()))
    assert [list(row.values()) for row in found] == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.text(st.sampled_from('ab,"\n'), max_size=30))
def test_whatever_a_file_holds_no_row_is_lost(tmp_path: Path, text: str) -> None:
    """Any text either gives exactly the rows that Python's reader finds, or an error."""
    strict = csv.reader(io.StringIO(f"x,y\n{text}", newline=""), strict=True)
    try:
        wanted = [row for row in strict if row]
    except csv.Error:
        wanted = None
    try:
        found = [
            list(row.values()) for row in rows_of(tmp_path, f"x,y\n{text}".encode(), Dialect(null_values=()))
        ]
    except DataError:
        return
    if wanted is not None:
        assert found == wanted[1:]


def test_the_end_line_is_nobody_elses(tmp_path: Path) -> None:
    assert rows_of(tmp_path, f"a,b\n{END},1\n".encode()) == [{"a": END, "b": "1"}]


def test_types_over_several_files(tmp_path: Path) -> None:
    written(tmp_path, b"id,x\n1,5\n", "1.csv")
    written(tmp_path, b"y,id\nz,2.5\n", "2.csv")
    columns = ColumnProofs({"x": "text"}, frozenset({"gone"}))
    files = find_files(tmp_path, "*.csv")
    for file in files:
        for batch in text_batches(file, PLAIN):
            columns.see(batch)
    schema = columns.schema()
    assert schema == pa.schema([("id", pa.decimal128(18, 2)), ("x", pa.string()), ("y", pa.string())])
    assert columns.schema(proved=False).types == [pa.string()] * 3
    table = pa.Table.from_batches(
        [
            typed_batch(batch, schema, file, frozenset())
            for file in files
            for batch in text_batches(file, PLAIN)
        ]
    )
    assert [list(map(str, row.values())) for row in table.to_pylist()] == [
        ["1.00", "5", "None"],
        ["2.50", "None", "z"],
    ]
    with pytest.raises(DataError, match="has a new column: y"):
        typed_batch(next(text_batches(files[1], PLAIN)), schema.remove(2), files[1], frozenset())
