"""NaN in Parquet: the files' figures leave it out, and no query may lose its row for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.core.table import Mount
from asgard.engines.duckdb import DuckDBEngine

NAN = float("nan")


@pytest.fixture(params=[pa.float16(), pa.float32(), pa.float64()], ids=str)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DuckDBEngine]:
    """A table whose figures say 1.0 to 2.0, in one file and in two."""
    inner = pa.struct([("x y", request.param), ("n", pa.int64())])
    schema = pa.schema([("id", pa.int64()), ("v", request.param), ("s", inner), ("l", pa.list_(inner))])
    rows = [
        {"id": i, "v": v, "s": {"x y": v, "n": i}, "l": [{"x y": v, "n": i}]}
        for i, v in enumerate([1.0, NAN, 2.0, -0.0])
    ]
    rows.append({"id": 4, "v": None, "s": None, "l": None})
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "t.parquet")
    with DuckDBEngine(256 << 20) as engine:
        engine.attach("t", Mount(schema, (str(tmp_path / "t.parquet"),)))
        yield engine


@pytest.mark.parametrize(
    "where",
    [
        "v > 5",
        "v = 'nan'",
        "v >= 'nan'::DOUBLE",
        "v IN ('nan'::DOUBLE, 7)",
        "v NOT BETWEEN -10 AND 10",
        "v = (SELECT 'nan'::DOUBLE)",
        "v IN (SELECT max(v) FROM t)",
        's."x y" > 5',
        "s = (SELECT max(s) FROM t)",
        "s.\"x y\" IN (SELECT 'nan'::DOUBLE)",
        'l[1]."x y" > 5',
    ],
)
def test_it_is_found_as_the_greatest_number(engine: DuckDBEngine, where: str) -> None:
    assert engine.query(f"SELECT id FROM t WHERE {where}").read_all().to_pydict() == {"id": [1]}


def test_it_is_found_by_a_join(engine: DuckDBEngine) -> None:
    sql = "SELECT id FROM t JOIN (VALUES ('nan'::DOUBLE)) AS o(x) ON t.v = o.x"
    assert engine.query(sql).read_all().to_pydict() == {"id": [1]}


def test_values_are_as_they_were(engine: DuckDBEngine) -> None:
    sql = "SELECT v::VARCHAR AS v, s::VARCHAR AS s, (s IS NULL) AS gone FROM t ORDER BY id"
    found = engine.query(sql).read_all().to_pydict()
    assert found["v"] == ["1.0", "nan", "2.0", "-0.0", None]
    assert found["s"][3:] == ["{'x y': -0.0, 'n': 3}", None]
    assert found["gone"] == [False] * 4 + [True]
