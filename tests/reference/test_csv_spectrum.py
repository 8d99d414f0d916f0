"""csv-spectrum: each CSV file holds what its JSON twin says, by the lake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reference.project import outcomes, project

NAMES = [
    *("comma_in_quotes", "empty", "empty_crlf", "escaped_quotes", "json", "location_coordinates"),
    *("newlines", "newlines_crlf", "quotes_and_newlines", "simple", "simple_crlf", "utf8"),
]


def test_every_file_is_looked_at(reference: Path) -> None:
    assert sorted(path.stem for path in (reference / "csv-spectrum" / "csvs").glob("*.csv")) == NAMES


@pytest.mark.parametrize("types", ["text", "proved"])
def test_each_csv_equals_its_twin(reference: Path, tmp_path: Path, types: str) -> None:
    folder = reference / "csv-spectrum"
    tables = [{"name": name, "path": f"csvs/{name}.csv", "types": types} for name in NAMES]
    opened = project(tmp_path, {"type": "files", "path": str(folder)}, tables)
    assert set(outcomes(opened).values()) == {None}
    for name in NAMES:
        twin = json.loads((folder / "json" / f"{name}.json").read_text())
        if name == "location_coordinates":  # the twin is one object, and has another telephone number
            twin = [{**twin, "Contact Phone Number": "2095257564"}]
        table = opened.table(f"bronze.s.{name}", backend="arrow")
        columns = [field for field in table.schema if b"asgard.name" in (field.metadata or {})]
        originals = {field.metadata[b"asgard.name"].decode(): field.name for field in columns}
        rows = [
            {original: str(row[lake]) for original, lake in originals.items()} for row in table.to_pylist()
        ]
        assert rows == twin, name
