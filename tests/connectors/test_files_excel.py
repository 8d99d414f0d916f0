"""Workbooks: numbers, dates and texts as they stand in the cells; errors and mixtures told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from asgard.connectors.files import FilesConfig, FilesSource
from asgard.core.errors import ConfigError, DataError, QueryError
from tests.connectors.reading import Loaded, load

NOON = dt.datetime(2024, 1, 2, 12, 0, 0, 123_000)


def workbook(folder: Path, name: str = "book.xlsx", **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / name)
    return folder / name


def loaded(folder: Path, name: str = "book", options: dict[str, Any] | None = None, **how: Any) -> Loaded:
    return load(FilesSource(FilesConfig(path=str(folder)), "tried"), name, options, **how)


@pytest.mark.parametrize(
    ("cells", "type", "wanted"),
    [
        ([1, 2.0, None, -3], "int64", [1, 2, None, -3]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([2**53, 0], "int64", [2**53, 0]),
        ([1e20, 1], "double", [1e20, 1.0]),
        ([True, False], "bool", [True, False]),
        (["a", "ä😀", ""], "string", ["a", "ä😀", None]),
        ([dt.date(2024, 2, 29), None], "date32[day]", [dt.date(2024, 2, 29), None]),
        ([NOON, dt.datetime(2024, 1, 3)], "timestamp[us]", [NOON, dt.datetime(2024, 1, 3)]),
        ([dt.time(1, 2, 3)], "time64[us]", [dt.time(1, 2, 3)]),
        ([dt.timedelta(hours=30)], "duration[us]", [dt.timedelta(hours=30)]),
        ([None, None], "null", [None, None]),
    ],
)
def test_types(tmp_path: Path, cells: list[Any], type: str, wanted: list[Any]) -> None:
    workbook(tmp_path, one=[["id", "x"], *([number, cell] for number, cell in enumerate(cells))])
    got = loaded(tmp_path)
    assert got.types == {"id": "int64", "x": type}
    assert [row["x"] for row in got.rows] == wanted


def test_cells_of_several_types_become_text_and_are_told(tmp_path: Path) -> None:
    cells = [1, 2.5, "n/a", True, dt.date(2024, 1, 1), NOON, dt.time(1, 2)]
    workbook(tmp_path, one=[["x"], *([cell] for cell in cells)])
    got = loaded(tmp_path)
    assert got.types == {"x": "string mixed"}
    assert [row["x"] for row in got.rows] == [
        "1", "2.5", "n/a", "true", "2024-01-01", "2024-01-02 12:00:00.123000", "01:02:00",
    ]  # fmt: skip
    assert "column x has cells of several types" in got.warnings[0]
    meant = loaded(tmp_path, options={"columns": {"x": "text"}})
    assert (meant.types, meant.warnings) == ({"x": "string"}, ())


@pytest.mark.parametrize(
    ("word", "cell", "wanted"),
    [
        ("int64", "007", 7),
        ("decimal(9, 2)", 1.25, "1.25"),
        ("float64", 1, 1.0),
        ("timestamp", dt.date(2024, 1, 1), None),
    ],
)
def test_types_that_are_asked_for(tmp_path: Path, word: str, cell: Any, wanted: Any) -> None:
    workbook(tmp_path, one=[["x"], [cell]])
    (row,) = loaded(tmp_path, options={"columns": {"x": word}}).rows
    assert row["x"] == (dt.datetime(2024, 1, 1) if wanted is None else wanted) or str(row["x"]) == wanted


@pytest.mark.parametrize(
    ("word", "cell"),
    [("int64", "x"), ("int64", 1.5), ("int16", 40000), ("date", 5), ("bool", "x"), ("date", NOON)],
)
def test_cells_that_do_not_fit_what_is_asked_for(tmp_path: Path, word: str, cell: Any) -> None:
    workbook(tmp_path, one=[["x"], [cell]])
    with pytest.raises(DataError, match=f"is no {word}") as caught:
        loaded(tmp_path, options={"columns": {"x": word}})
    assert caught.value.where["column"] == "x"


def test_sheets_are_tables(tmp_path: Path) -> None:
    workbook(tmp_path, first=[["a"], [1]], second=[["b"], [2]], empty=[])
    source = FilesSource(FilesConfig(path=str(tmp_path)), "tried")
    assert [stream.full_name for stream in source.streams()] == ["book.first", "book.second", "book.empty"]
    assert loaded(tmp_path, "book.second").rows == [{"b": 2}]
    path = {"path": "book.xlsx"}
    assert loaded(tmp_path, "x", path).rows == [{"a": 1}]
    assert loaded(tmp_path, "x", {**path, "sheet": "second"}).rows == [{"b": 2}]
    assert loaded(tmp_path, "x", {**path, "sheet": 2}).rows == [{"b": 2}]
    for wrong in ("third", 4, 0):
        with pytest.raises(QueryError, match="has no sheet") as caught:
            loaded(tmp_path, "x", {**path, "sheet": wrong})
        assert "first, second" in caught.value.hint
    with pytest.raises(DataError, match="not even a header"):
        loaded(tmp_path, "book.empty")


@pytest.mark.parametrize(
    ("rows", "options", "wanted"),
    [
        ([[None, None], [], [None, "a"], [None, 1]], {}, [{"a": 1}]),
        ([["title"], ["a", "b"], [1, 2]], {"header": 2}, [{"a": 1, "b": 2}]),
        ([["title"], ["more"], ["a"], [1]], {"skip_rows": 2}, [{"a": 1}]),
        (
            [[1, 2], [3, 4]],
            {"header": False},
            [{"column_1": 1, "column_2": 2}, {"column_1": 3, "column_2": 4}],
        ),
        ([["a", "a", None], [1, 2, 3]], {}, [{"a": 1, "a_2": 2, "column_3": 3}]),
        ([["a"], [1], [None], [2]], {}, [{"a": 1}, {"a": 2}]),
        ([[2024, True], [1, 2]], {}, [{"2024": 1, "true": 2}]),
        ([["a", "b"], [1, 2]], {"exclude_columns": ["a"]}, [{"b": 2}]),
    ],
)
def test_where_the_table_stands(
    tmp_path: Path, rows: list[list[Any]], options: dict[str, Any], wanted: list[Any]
) -> None:
    workbook(tmp_path, one=rows)
    assert loaded(tmp_path, options=options).rows == wanted


def test_cells_with_errors_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path, fine=[["a"], [1]], bad=[["a", "b"], [1, "#N/A"]])
    book = openpyxl.load_workbook(path)
    book["bad"]["B2"].data_type = "e"
    book.save(path)
    assert loaded(tmp_path, "book.fine").rows == [{"a": 1}]
    with pytest.raises(DataError, match="cell B2 is an error") as caught:
        loaded(tmp_path, "book.bad")
    assert "errors_are_null" in caught.value.hint
    assert loaded(tmp_path, "book.bad", {"errors_are_null": True}).rows == [{"a": 1, "b": None}]


def test_merged_cells_have_their_value_once(tmp_path: Path) -> None:
    path = workbook(tmp_path, one=[["a", "b"], [1, None], [None, 2]])
    book = openpyxl.load_workbook(path)
    book["one"].merge_cells("A2:A3")
    book.save(path)
    assert loaded(tmp_path).rows == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_several_workbooks_are_one_table(tmp_path: Path) -> None:
    workbook(tmp_path, "1.xlsx", one=[["a", "b"], [1, "x"]])
    workbook(tmp_path, "2.xlsx", one=[["b", "a"], ["y", 2.5]])
    got = loaded(tmp_path, "all", {"path": "*.xlsx"})
    assert [(row["a"], row["b"]) for row in got.rows] == [(1.0, "x"), (2.5, "y")]


def test_a_packed_workbook_is_refused(tmp_path: Path) -> None:
    workbook(tmp_path, one=[["a"], [1]]).rename(tmp_path / "book.xlsx.gz")
    with pytest.raises(ConfigError, match="is packed"):
        loaded(tmp_path, "x", {"path": "book.xlsx.gz"})
