"""Every type of every format of files: what arrives by itself, as it is asked for, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.connectors.files import FilesConfig, FilesSource
from asgard.core.errors import DataError
from asgard.core.types import canonical_batch, canonical_schema
from tests.connectors import rest_types
from tests.connectors.files_types import CELLS, PARQUET, TEXTS, WISHED, written
from tests.connectors.reading import Loaded, load
from tests.connectors.type_pages import Case, Wished, told

MARKS = {"csv": ",", "tsv": "\t"}


def loaded(folder: Path, name: str, **options: object) -> Loaded:
    return load(FilesSource(FilesConfig(path=str(folder)), "tried"), name, options)


def type_of(case: Case) -> str:
    return f"{case.arrow} {case.label}".strip()


def put_texts(folder: Path, format: str, values: Sequence[str | None]) -> None:
    """A file with the values beside a number: an empty field alone on its line would be an empty line."""
    lines = [["n", "x"], *([str(number), written(value)] for number, value in enumerate(values))]
    (folder / f"texts.{format}").write_text("".join(MARKS[format].join(line) + "\n" for line in lines))


@pytest.mark.parametrize("format", ["csv", "tsv"])
@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.name or case.given[0])
def test_texts_arrive_as_what_they_prove(tmp_path: Path, format: str, case: Case) -> None:
    put_texts(tmp_path, format, case.given)
    got = loaded(tmp_path, "texts")
    assert got.types == {"n": "int64", "x": type_of(case)}
    assert told(row["x"] for row in got.rows) == told(case.wanted)


@pytest.mark.parametrize("format", ["csv", "tsv"])
@pytest.mark.parametrize("wish", WISHED, ids=lambda wish: wish.word)
def test_texts_as_they_are_asked_for(tmp_path: Path, format: str, wish: Wished) -> None:
    put_texts(tmp_path, format, [value for value, _ in wish.taken])
    got = loaded(tmp_path, "texts", columns={"x": wish.word})
    assert told(row["x"] for row in got.rows) == told(arrived for _, arrived in wish.taken)
    for value, says in wish.refused:
        put_texts(tmp_path, format, [value])
        with pytest.raises(DataError, match=says) as caught:
            loaded(tmp_path, "texts", columns={"x": wish.word})
        assert caught.value.where == {"file": f"texts.{format}", "column": "x"}


def put_json(folder: Path, format: str, values: Sequence[str]) -> None:
    records = [f'{{"x": {value}}}' for value in values]
    whole = "\n".join(records) if format == "jsonl" else f"[{', '.join(records)}]"
    (folder / f"values.{format}").write_text(whole)


@pytest.mark.parametrize("format", ["json", "jsonl"])
@pytest.mark.parametrize("case", rest_types.CASES, ids=lambda case: case.name or case.given[0][:20])
def test_json_arrives_as_what_its_values_prove(tmp_path: Path, format: str, case: Case) -> None:
    put_json(tmp_path, format, case.given)
    got = loaded(tmp_path, "values")
    assert got.types == {"x": type_of(case)}
    assert told(row["x"] for row in got.rows) == told(case.wanted)


@pytest.mark.parametrize("format", ["json", "jsonl"])
@pytest.mark.parametrize("wish", rest_types.WISHED, ids=lambda wish: wish.word)
def test_json_as_it_is_asked_for(tmp_path: Path, format: str, wish: Wished) -> None:
    put_json(tmp_path, format, [value for value, _ in wish.taken])
    got = loaded(tmp_path, "values", columns={"x": wish.word})
    assert told(row["x"] for row in got.rows) == told(arrived for _, arrived in wish.taken)
    for value, says in wish.refused:
        put_json(tmp_path, format, [value])
        with pytest.raises(DataError, match=says):
            loaded(tmp_path, "values", columns={"x": wish.word})


@pytest.mark.parametrize("case", PARQUET, ids=lambda case: str(case.made))
def test_parquet_columns_are_carried(tmp_path: Path, case: Case) -> None:
    pq.write_table(pa.table({"x": pa.array(case.given, case.made)}), tmp_path / "typed.parquet")
    got = loaded(tmp_path, "typed")
    batch = pa.RecordBatch.from_pylist(got.rows, got.schema)
    carried = canonical_batch(batch, canonical_schema(got.schema))
    label = (carried.schema.field("x").metadata or {}).get(b"asgard.type", b"").decode()
    assert (str(carried.schema.field("x").type).replace(" ('x')", ""), label) == (case.arrow, case.label)
    assert told(carried["x"].to_pylist()) == told(case.wanted)


def test_what_parquet_has_and_the_lake_does_not_hold_is_refused(tmp_path: Path) -> None:
    nanoseconds = pa.array([1], pa.int64()).cast(pa.timestamp("ns"))
    pq.write_table(pa.table({"x": nanoseconds}), tmp_path / "typed.parquet")
    source = FilesSource(FilesConfig(path=str(tmp_path)), "tried")
    schema = source.describe("typed").schema
    with pytest.raises(DataError, match="x"):
        canonical_batch(pa.RecordBatch.from_arrays([nanoseconds], schema=schema), canonical_schema(schema))


@pytest.mark.parametrize("case", CELLS, ids=lambda case: case.name or str(case.given))
def test_cells_arrive_as_what_they_are(tmp_path: Path, case: Case) -> None:
    book = openpyxl.Workbook()
    for row in (["n", "x"], *([number, cell] for number, cell in enumerate(case.given))):
        book.worksheets[0].append(row)
    book.save(tmp_path / "book.xlsx")
    got = loaded(tmp_path, "book")
    assert got.types == {"n": "int64", "x": type_of(case)}
    assert told(row["x"] for row in got.rows) == told(case.wanted)
    assert bool(got.warnings) == (case.label == "mixed")
