"""Files are put in order by key: rows, positions and older versions stay; who asks for few keys opens few."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgard.core.stream import Mode
from asgard.core.table import Compacted, LoadRequest
from asgard.lake import sorting
from asgard.lake.delta import clusters
from asgard.lake.delta import compact as compacting
from asgard.lake.delta.snapshot import LakeFile, Snapshot
from asgard.lake.delta.table import LakeTable
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits
from asgard.lake.sorting import Unordered, sorted_rows
from asgard.testing.content import content_hash
from tests.lake.ground import delta, folder_of, load, table_in, token, unknown_files

SMALL = Limits(row_group_bytes=1 << 15, file_bytes=1 << 16)
ROWS = 6000


def put_in_order(table: LakeTable, by: Sequence[str] = ("id",)) -> list[Compacted]:
    done = []
    while (one := table.compact("", lambda: False, nullcontext, by)) is not None:
        done.append(one)
    return done


def shuffled(start: int, step: int, rows: int = ROWS) -> pa.RecordBatch:
    """Keys start, start + step, ... in no order, with values that take some room."""
    dice = random.Random(start)
    keys = [start + step * number for number in range(rows)]
    dice.shuffle(keys)
    return pa.RecordBatch.from_pydict({"id": keys, "v": [f"{dice.getrandbits(64):x}" for _ in keys]})


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    """A table of which every file lies over all keys."""
    table = table_in(tmp_path, SMALL)
    for number in range(6):
        load(table, Mode.APPEND, shuffled(number, 6), f"t{number}")
    return table


def snapshot_of(lake: Path) -> Snapshot:
    snapshot = Snapshot.open(LocalFolder(folder_of(lake)))
    assert snapshot is not None
    return snapshot


def spans(lake: Path, *columns: str) -> list[clusters.Span]:
    snapshot = snapshot_of(lake)
    return clusters.spans(snapshot.adds, {file.path: file for file in snapshot.files()}, columns)


def touched(lake: Path, low: int, high: int) -> int:
    """How many files a merge of keys between two has to look into."""
    return len(snapshot_of(lake).files({"id": (pa.scalar(low), pa.scalar(high))}))


def test_files_over_one_another_are_put_in_order_and_rows_only_move(table: LakeTable, tmp_path: Path) -> None:
    before, files = content_hash(table.scan()), touched(tmp_path, 0, 6 * ROWS)
    at = table.versions(1)[0].version
    assert table.upkeep(("id",)).depth == files >= 6
    assert touched(tmp_path, 100, 120) > files // 2
    done = put_in_order(table)
    assert done
    assert content_hash(table.scan()) == before
    assert content_hash(table.scan(at=at)) == before
    assert token(table) == "t5"
    assert table.upkeep(("id",)).depth < clusters.DEEP
    assert touched(tmp_path, 100, 120) < clusters.DEEP
    assert unknown_files(tmp_path) == set()
    version = table.versions(1)[0].version
    assert put_in_order(table) == []  # it converges
    assert table.versions(1)[0].version == version
    assert content_hash(delta(tmp_path).to_pyarrow_table()) == before  # another hand reads the same


def test_a_table_of_many_steps_converges(
    table: LakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "STEP_BYTES", 1 << 18)
    before = content_hash(table.scan())
    assert 2 <= len(put_in_order(table)) < 20
    assert content_hash(table.scan()) == before
    assert touched(tmp_path, 100, 120) < clusters.DEEP


def test_every_file_is_in_order_within(table: LakeTable) -> None:
    put_in_order(table)
    for path in table.mount().files:
        keys = pq.read_table(path).column("id")
        assert pc.all(pc.less(keys.combine_chunks()[:-1], keys.combine_chunks()[1:])).as_py()


def test_merge_undo_and_replace_go_on_over_it(table: LakeTable) -> None:
    put_in_order(table)
    expected = content_hash(table.scan())
    load(
        table, Mode.MERGE, pa.RecordBatch.from_pydict({"id": [7, -1], "v": ["new", "new"]}), "m", keys=("id",)
    )
    assert content_hash(table.scan()) != expected
    put_in_order(table)
    table.undo()
    assert content_hash(table.scan()) == expected
    assert token(table) == "t5"
    load(table, Mode.REPLACE, shuffled(0, 1, 10), "r")
    assert table.mount().rows == 10


def test_what_is_spread_thin_waits(table: LakeTable, tmp_path: Path) -> None:
    put_in_order(table)
    for number in range(2):
        load(table, Mode.MERGE, shuffled(number, 97, 300), f"m{number}", keys=("id",))
    version = table.versions(1)[0].version
    assert put_in_order(table) == []
    assert table.versions(1)[0].version == version


@pytest.mark.parametrize(
    "keys",
    [
        lambda dice: [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(ROWS)],
        lambda dice: ["x" * 80 + f"{dice.getrandbits(32):x}" for _ in range(ROWS)],
        lambda dice: [date_of(dice.randrange(10_000)) for _ in range(ROWS)],
        lambda dice: [instant_of(dice.randrange(10**9)) for _ in range(ROWS)],
        lambda dice: [Decimal(dice.randrange(10**9)) / 100 for _ in range(ROWS)],
        lambda dice: [dice.choice([None, dice.randrange(1000)]) for _ in range(ROWS)],
    ],
    ids=["text", "long text", "date", "instant", "decimal", "nulls"],
)
def test_keys_of_any_kind(keys: Callable[[random.Random], list[Any]], tmp_path: Path) -> None:
    table = table_in(tmp_path, SMALL)
    for number in range(5):
        dice = random.Random(number)
        values = [f"{dice.getrandbits(64):x}" for _ in range(ROWS)]
        load(table, Mode.APPEND, pa.RecordBatch.from_pydict({"id": keys(dice), "v": values}), f"{number}")
    before = content_hash(table.scan())
    put_in_order(table)
    assert content_hash(table.scan()) == before
    assert table.upkeep(("id",)).depth < clusters.DEEP
    assert put_in_order(table) == []


def date_of(days: int) -> Any:
    return (datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=days)).date()


def instant_of(seconds: int) -> datetime:
    return datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=seconds % 999_983)


def test_compound_keys_are_ordered_by_all_their_columns(tmp_path: Path) -> None:
    table = table_in(tmp_path, SMALL)
    for number in range(5):
        batch = shuffled(number, 5)
        tenant = pa.array([key % 2 for key in batch.column("id").to_pylist()], pa.int32())
        load(table, Mode.APPEND, batch.append_column("tenant", tenant), f"{number}")
    before = content_hash(table.scan())
    put_in_order(table, ("tenant", "id"))
    assert content_hash(table.scan()) == before
    assert clusters.depth(spans(tmp_path, "tenant", "id")) < clusters.DEEP
    assert put_in_order(table, ("tenant", "id")) == []


def test_a_load_is_made_to_work_anew_once_at_most(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "STEP_BYTES", 1 << 18)
    request = LoadRequest("public.orders", Mode.MERGE, shuffled(0, 1, 1).schema, keys=("id",))
    with table.load(request) as one:
        prepared = one.prepare([one.stage([shuffled(3, 6, 50)])])
        before = one.position
        assert before is not None
        assert table.compact("", lambda: False, nullcontext, ("id",)) is not None
        assert table.compact("", lambda: False, nullcontext, ("id",)) is None  # it is still under way
        one.publish(prepared, before.finished("merged"))
    assert token(table) == "merged"
    assert put_in_order(table)


def test_no_load_fails_and_no_row_is_lost_while_upkeep_goes_on(tmp_path: Path) -> None:
    load(table_in(tmp_path, SMALL), Mode.MERGE, shuffled(0, 1), "first", keys=("id",))
    errors: list[BaseException] = []
    over, done = threading.Event(), Counter[str]()

    def write(stream: str, mode: Mode, start: int) -> None:
        """As another process: with a table of its own."""
        table, keys = table_in(tmp_path, SMALL), ("id",) if mode is Mode.MERGE else ()
        try:
            for number in range(12):
                batch = shuffled(start + number, 7, 800)
                load(table, mode, batch, f"{number}", stream=stream, keys=keys)
        except BaseException as error:  # told by the test
            errors.append(error)

    def tidy() -> None:
        table = table_in(tmp_path, SMALL)
        try:
            last = False
            while not last:
                last = over.is_set()  # once more after the last load
                done["moved"] += table.compact("", lambda: False, nullcontext, ("id",)) is not None
                table.vacuum(datetime.now(UTC) - timedelta(hours=1))  # no less is kept for queries and loads
                table.expire(datetime.now(UTC))
        except BaseException as error:  # told by the test
            errors.append(error)

    writers = [
        threading.Thread(target=write, args=("merging", Mode.MERGE, 0)),
        threading.Thread(target=write, args=("appending", Mode.APPEND, 10**6)),
    ]
    upkeep = threading.Thread(target=tidy)
    for thread in (*writers, upkeep):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    upkeep.join()
    assert errors == []
    assert done["moved"]
    expected = dict(zip(*shuffled(0, 1).to_pydict().values(), strict=True))
    for number in range(12):
        expected |= dict(zip(*shuffled(number, 7, 800).to_pydict().values(), strict=True))
    appended = [shuffled(10**6 + number, 7, 800) for number in range(12)]
    merged = pa.RecordBatch.from_pydict({"id": [*expected], "v": [*expected.values()]})
    table = table_in(tmp_path, SMALL)
    assert content_hash(table.scan()) == content_hash(pa.Table.from_batches([merged, *appended]))
    assert (token(table, "merging"), token(table, "appending")) == ("11", "11")


def test_it_gives_up_when_it_is_stopped(table: LakeTable, tmp_path: Path) -> None:
    asked = iter([False] * 3)
    assert table.compact("", lambda: next(asked, True), nullcontext, ("id",)) is None
    assert unknown_files(tmp_path) == set()


@given(
    ranges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), max_size=12),
)
@settings(max_examples=100, deadline=None)
def test_depth_and_crossings_are_what_counting_says(ranges: list[list[int]]) -> None:
    found = [
        clusters.Span(LakeFile(str(number), 1, 1), (1, low, 1), (1, high, -1))
        for number, (low, high) in enumerate(ranges)
        if low < high
    ]
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i] if a.low < b.high and b.low < a.high]
    assert clusters.crossings(found) == len(pairs)
    spots = [spot + 0.5 for spot in range(30)]
    deepest = max((sum(one.low[1] < s < one.high[1] for one in found) for s in spots), default=0)
    assert clusters.depth(found) == deepest


def test_what_does_not_fit_into_memory_is_put_in_order_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "PART_BYTES", 1 << 14)
    dice = random.Random(1)
    rows = pa.table(
        {
            "id": [dice.randrange(3000) for _ in range(20_000)],
            "v": ["v" * dice.randrange(40) for _ in range(20_000)],
            "l": [[dice.random()] * dice.randrange(3) for _ in range(20_000)],
        }
    )
    for number in range(2):
        pq.write_table(rows.slice(number * 10_000, 10_000), tmp_path / f"{number}.parquet")
    files = [str(tmp_path / f"{number}.parquet") for number in range(2)]
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("l", pa.list_(pa.float64()))])
    wanted = Unordered(LocalFolder(tmp_path), files, schema, ("id",))
    found = pa.Table.from_batches(sorted_rows(wanted), schema)
    expected = rows.cast(schema).take(pc.sort_indices(rows, [("id", "ascending")]))
    assert found.column("id").equals(expected.column("id"))
    assert content_hash(found) == content_hash(expected)
