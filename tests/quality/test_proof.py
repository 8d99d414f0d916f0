"""What the files' own figures prove is not scanned, and no answer differs for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.table import ColumnFigures, Mount
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits, ParquetFiles
from asgard.lake.statistics import figures_of
from tests.quality.ground import Ground, checks

COUNT = itertools.count()
INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64())


def staged(ground: Ground, tables: Sequence[pa.Table]) -> Mount:
    """A file for each table, as the lake writes and knows them."""
    files = []
    for table in tables:
        writer = ParquetFiles(
            LocalFolder(ground.folder), lambda: f"{next(COUNT)}.parquet", table.schema, Limits()
        )
        for batch in table.to_batches():
            writer.write(batch)
        files.extend(writer.finish())
    schema = tables[0].schema
    figures = figures_of([file.stats for file in files], schema)
    paths = tuple(str(ground.folder / file.path) for file in files)
    return Mount(schema, paths, sum(file.rows for file in files), figures=figures)


@st.composite
def columns(draw: st.DrawFn) -> list[pa.Table]:
    """A column `v` of numbers in one to three files."""
    numbers: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
        (pa.int16(), st.integers(-3, 3)),
        (pa.decimal128(5, 2), st.integers(-300, 300).map(lambda n: Decimal(n).scaleb(-2))),
        (pa.decimal128(38, 10), st.integers(-(10**37), 10**37).map(lambda n: Decimal(n).scaleb(-10))),
        (pa.float64(), st.floats() | st.sampled_from([-0.0, 0.1, 0.10000000000000002])),
        (pa.float32(), st.floats(width=32) | st.just(0.0)),
    ]
    type_, values = draw(st.sampled_from(numbers))
    parts = draw(st.lists(st.lists(st.none() | values, min_size=1, max_size=5), min_size=1, max_size=3))
    return [pa.table({"v": pa.array(part, type_)}) for part in parts]


bounds = st.integers(-3, 3) | st.floats(-3, 3).map(lambda f: round(f, 3)) | st.sampled_from([0.1, 2**63 - 1])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(columns(), bounds, bounds)
def test_no_answer_differs_for_the_figures(
    ground: Ground, tables: list[pa.Table], low: float, high: float
) -> None:
    mount = staged(ground, tables)
    asked = checks(
        {"not_null": "v"},
        {"non_negative": "v"},
        {"between": {"column": "v", "min": low}},
        {"between": {"column": "v", "max": high}},
        {"between": {"column": "v", "min": low, "max": high}},
    )
    told = ground.verdict(asked, mount)
    scanned = ground.verdict(asked, replace(mount, figures={}))
    assert [result.as_dict() for result in told.results] == [result.as_dict() for result in scanned.results]


def test_what_is_proven_is_not_read(ground: Ground) -> None:
    # The file holds what the figures deny: only who reads it can know.
    mount = replace(
        ground.mount(pa.table({"v": pa.array([None, 99], pa.int64())})),
        rows=2,
        figures={"v": ColumnFigures(nulls=0, smallest=1, largest=5)},
    )
    asked = checks({"not_null": "v"}, {"between": {"column": "v", "min": 1, "max": 5}})
    assert [result.failed_rows for result in ground.verdict(asked, mount).results] == [0, 0]
    beyond = checks({"between": {"column": "v", "min": 1, "max": 4}})
    assert [result.failed_rows for result in ground.verdict(beyond, mount).results] == [1]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_keys_of_several_integers_repeat_or_do_not(ground: Ground, data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(INTEGERS), min_size=1, max_size=3))
    names = [f"k{index}" for index in range(len(types))]
    places = {
        name: st.none() | _near(type_, data.draw(st.sampled_from(["low", "high"])))
        for name, type_ in zip(names, types, strict=True)
    }
    rows = data.draw(st.lists(st.fixed_dictionaries(places), min_size=1, max_size=12))
    table = pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))
    keys = [tuple(row[name] for name in names) for row in rows if None not in row.values()]
    repeated = sum(keys.count(key) > 1 for key in keys)
    (check,) = checks({"unique": names})
    for mount in (staged(ground, [table]), ground.mount(table)):
        (result,) = ground.verdict([check], mount).results
        assert (result.rows, result.failed_rows) == (len(keys), repeated)


def _near(type_: pa.DataType, end: str) -> st.SearchStrategy[int]:
    signed = pa.types.is_signed_integer(type_)
    low = -(2 ** (type_.bit_width - 1)) if signed else 0
    high = 2 ** (type_.bit_width - signed) - 1
    return st.integers(low, low + 4) if end == "low" else st.integers(high - 4, high)


@pytest.mark.parametrize(
    ("stats", "known"),
    [
        (['{"numRecords":2,"minValues":{"v":1},"maxValues":{"v":4},"nullCount":{"v":0}}'], (0, 1, 4)),
        (['{"numRecords":2,"nullCount":{"v":2}}'], (2, None, None)),
        (['{"numRecords":2,"nullCount":{"v":1}}'], (1, None, None)),
        (
            [
                '{"numRecords":2,"nullCount":{"v":2}}',
                '{"numRecords":2,"minValues":{"v":7},"maxValues":{"v":9},"nullCount":{"v":1}}',
            ],
            (3, 7, 9),
        ),
        (
            [
                '{"numRecords":2,"nullCount":{"v":0}}',
                '{"numRecords":2,"minValues":{"v":7},"maxValues":{"v":9},"nullCount":{"v":1}}',
            ],
            (1, None, None),
        ),
        (['{"numRecords":2}', '{"numRecords":2,"nullCount":{"v":0}}'], None),
        ([], None),
    ],
)
def test_figures_of_several_files(stats: list[str], known: tuple[int, int, int] | None) -> None:
    found = figures_of(stats, pa.schema([("v", pa.int64())]))
    assert found == ({} if known is None else {"v": ColumnFigures(*known)})
