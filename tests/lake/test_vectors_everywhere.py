"""What else is done to tables: each on tables whose rows are marked as deleted."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from asgard.core.errors import Conflict, DataError
from asgard.core.stream import Mode
from asgard.core.table import History, LoadRequest
from asgard.flow.news import digest, news
from asgard.lake.delta import compact as compacting
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits
from asgard.testing.content import content_hash
from tests.lake.ground import delta, folder_of, load, set_aside, table_in, token, unknown_files, values
from tests.lake.vectors import EAGER, WIDE, filled, vectors_of, wide


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    table = table_in(tmp_path, EAGER)
    filled(table, 1000)
    return table


def merge(table: LakeTable, pairs: list[tuple[int, str]], token: str, **wishes: Any) -> None:
    load(table, Mode.MERGE, wide(pairs), token, keys=("id",), **wishes)


def pairs(table: LakeTable, at: int | None = None) -> dict[int, str]:
    found = values(table.scan(["id", "v"], at=at).read_all())
    assert len(dict(found)) == len(found)
    return dict(found)


def compact(table: LakeTable) -> Any:
    return table.compact("run", lambda: False, nullcontext)


def test_undo_brings_the_rows_back_and_they_are_marked_again(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(1, "a"), (2, "a")], "1")
    merge(table, [(2, "b"), (3, "b")], "2")
    table.undo()
    assert (pairs(table)[2], pairs(table)[3], token(table)) == ("a", "old", "1")
    assert content_hash(pa.RecordBatchReader.from_stream(delta(tmp_path).scan())) == content_hash(
        table.scan()
    )
    table.undo()
    assert (set(pairs(table).values()), vectors_of(tmp_path), token(table)) == ({"old"}, [], "0")
    merge(table, [(2, "c")], "again")
    assert (pairs(table)[2], len(pairs(table)), len(vectors_of(tmp_path))) == ("c", 1000, 1)


def test_undo_without_the_vector_of_before_is_refused(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(1, "a")], "1")
    (first,) = vectors_of(tmp_path)
    merge(table, [(2, "b")], "2")
    (folder_of(tmp_path) / first.file).unlink()
    with pytest.raises(DataError, match="1 of its files were deleted"):
        table.undo()
    assert pairs(table)[2] == "b"


def test_files_of_which_many_rows_are_gone_are_put_together(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(key, "a") for key in range(0, 1000, 8)], "1")
    before = content_hash(table.scan())
    done = compact(table)
    assert (done.files_before, done.files_after, vectors_of(tmp_path)) == (1, 1, [])
    assert (content_hash(table.scan()), token(table), table.mount().reader) == (before, "1", None)
    assert compact(table) is None
    merge(table, [(5, "b")], "2")
    assert compact(table) is None  # one row is not worth a file
    assert len(vectors_of(tmp_path)) == 1
    table.undo()
    assert content_hash(table.scan()) == before


def test_compaction_stands_aside_when_rows_are_marked_meanwhile(
    table: LakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(table, [(key, "a") for key in range(0, 1000, 8)], "1")
    written = compacting._written

    def meanwhile(*given: Any) -> Any:
        found = written(*given)
        monkeypatch.setattr(compacting, "_written", written)
        merge(table, [(9, "b")], "2")
        return found

    monkeypatch.setattr(compacting, "_written", meanwhile)
    assert compact(table) is None
    assert (pairs(table)[9], pairs(table)[8]) == ("b", "a")
    assert not unknown_files(tmp_path)


def test_vacuum_takes_vectors_that_no_kept_version_needs(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(1, "a")], "1")
    merge(table, [(2, "b")], "2")
    theirs = folder_of(tmp_path) / "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    theirs.write_bytes(b"of a load that may yet commit")
    there = {path.name for path in folder_of(tmp_path).glob("*.bin")}
    kept = table.vacuum(datetime.now(UTC) - timedelta(days=1))
    assert {path.name for path in folder_of(tmp_path).glob("*.bin")} == there
    assert kept.files == 0
    gone = table.vacuum(datetime.now(UTC) + timedelta(seconds=1))
    (newest,) = vectors_of(tmp_path)
    assert {path.name for path in folder_of(tmp_path).glob("*.bin")} == {newest.file, theirs.name}
    assert (gone.files, pairs(table)[1]) == (1, "a")


def test_a_wider_column_and_a_new_one(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(1, "a")], "1")
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("fill", pa.string()), ("more", pa.int32())])
    batch = pa.RecordBatch.from_pylist([{"id": 2, "v": "b", "fill": "", "more": 7}], schema)
    load(table, Mode.MERGE, batch, "2", keys=("id",))
    assert len(vectors_of(tmp_path)) == 1
    wider = pa.schema([*list(schema)[:3], ("more", pa.int64())])
    batch = pa.RecordBatch.from_pylist([{"id": 3, "v": "c", "fill": "", "more": 1 << 40}], wider)
    load(table, Mode.MERGE, batch, "3", keys=("id",), widens=True)
    assert vectors_of(tmp_path) == []
    found = {row["id"]: (row["v"], row["more"]) for row in table.scan().read_all().to_pylist()}
    assert (found[1], found[2], found[3], len(found)) == (("a", None), ("b", 7), ("c", 1 << 40), 1000)


def test_replace_and_rows_set_aside(table: LakeTable, tmp_path: Path) -> None:
    bad = set_aside([(77, "bad")]).append_column("fill", pa.array([""]))
    order = [*WIDE.names, "_asgard_reason"]
    merge(table, [(1, "a")], "1", aside=bad.select(order))
    quarantined = table.quarantined()
    assert (quarantined and quarantined.rows, len(vectors_of(tmp_path))) == (1, 1)
    done = load(table, Mode.REPLACE, wide([(5, "only")]), "2")
    assert (done.rows_added, done.rows_removed, pairs(table)) == (1, 1000, {5: "only"})
    assert content_hash(pa.RecordBatchReader.from_stream(delta(tmp_path).scan())) == content_hash(
        table.scan()
    )


def test_history_on_a_table_with_vectors(table: LakeTable, tmp_path: Path) -> None:
    delta(tmp_path)
    merge(table, [(1, "a"), (2, "a")], "1")
    since = pa.field("_asgard_valid_from", pa.timestamp("us", "UTC"))
    until = pa.field("_asgard_valid_to", pa.timestamp("us", "UTC"))
    schema = pa.schema([*WIDE, since, until])
    now = datetime(2030, 1, 1, tzinfo=UTC)
    row = {"id": 1, "v": "later", "fill": "", since.name: now, until.name: None}
    request: dict[str, Any] = {"keys": ("id",), "history": History()}
    load(table, Mode.HISTORY, pa.RecordBatch.from_pylist([row], schema), "2", **request)
    found = table.scan(["id", "v", "_asgard_valid_to"]).read_all().to_pylist()
    assert sorted(one["v"] for one in found if one["id"] == 1) == ["a", "later"]
    assert [one["v"] for one in found if one["_asgard_valid_to"] is None and one["id"] == 1] == ["later"]
    assert len(found) == 1001


def test_what_came_between_two_versions(table: LakeTable) -> None:
    version, mount = table.versions(1)[0].version, table.mount()
    seen = digest(mount)
    load(table, Mode.APPEND, wide([(2000, "came")]), "1")
    newer = (table.versions(1)[0].version, table.mount())
    found = news(table, version, seen, newer)
    assert (found.only_added, found.rows and found.rows.rows) == (True, 1)
    merge(table, [(1, "a"), (2001, "came")], "2")
    marked = (table.versions(1)[0].version, table.mount())
    found = news(table, newer[0], digest(newer[1]), marked)
    assert found.rows is not None
    assert (found.only_added, len(found.rows.files), found.rows.reader) == (False, 1, None)
    assert digest(marked[1]) not in ("", digest(newer[1]))
    load(table, Mode.APPEND, wide([(2002, "came")]), "3")
    found = news(table, marked[0], digest(marked[1]), (table.versions(1)[0].version, table.mount()))
    assert (found.only_added, found.rows and found.rows.rows) == (True, 1)


def test_a_column_of_a_table_with_more_vectors_than_a_file_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asgard.lake.delta.deletion_vectors.MOST_FILE_BYTES", 1)
    table = table_in(tmp_path, Limits(marked_bytes=0))
    filled(table, 100)
    load(table, Mode.APPEND, wide((key, "old") for key in range(100, 200)), "more")
    merge(table, [(1, "a"), (101, "a")], "1")
    assert len({vector.file for vector in vectors_of(tmp_path)}) == 2
    assert (pairs(table)[1], pairs(table)[101], len(pairs(table))) == ("a", "a", 200)
    assert not unknown_files(tmp_path)


# ---- races


def appended(lake: Path, key: int) -> bool:
    """Whether a row was appended by delta-rs, which gives up where it sees that rows went meanwhile."""
    try:
        write_deltalake(delta(lake), pa.Table.from_batches([wide([(key, "theirs")])]), mode="append")
    except CommitFailedError:
        return False
    return True


def test_merges_race_with_another_library(table: LakeTable, tmp_path: Path) -> None:
    """Each of ours is worked out anew on what delta-rs appended: nothing is lost, nothing comes twice."""
    merge(table, [(999, "old")], "", stream="first")  # what changes the protocol lets others' commits fail
    came = range(10_000, 10_030)

    landed: list[int] = []

    def theirs() -> None:
        landed.extend(number for number in came if appended(tmp_path, number))

    thread = threading.Thread(target=theirs)
    thread.start()
    for number in range(12):
        merge(table, [(key, f"{number}") for key in range(number, 1000, 100)], str(number))
    thread.join()
    found = pairs(table)
    assert {key for key in found if key >= 10_000} == {*landed}
    assert [found[key] for key in range(12)] == [str(number) for number in range(12)]
    assert len(found) == 1000 + len(landed)
    assert (token(table), left_by_us(tmp_path)) == ("11", set())


def test_of_two_loads_of_a_stream_one_marks(table: LakeTable, tmp_path: Path) -> None:
    request = LoadRequest("public.orders", Mode.MERGE, WIDE, keys=("id",))
    with table.load(request) as one, table.load(request) as other:
        prepared = [
            load_.prepare([load_.stage([wide([(1, name)])])]) for load_, name in ((one, "a"), (other, "b"))
        ]
        assert one.position is not None
        one.publish(prepared[0], one.position.finished("1"))
        with pytest.raises(Conflict):
            other.publish(prepared[1], one.position.finished("1"))
    assert (pairs(table)[1], len(pairs(table))) == ("a", 1000)
    assert not unknown_files(tmp_path)


def left_by_us(lake: Path) -> set[str]:
    """Files that no version names; delta-rs leaves those of its commits that failed."""
    return {name for name in unknown_files(lake) if not name.startswith("part-00000-")}


RACER = """
import sys
from pathlib import Path
from asgard.core.stream import Mode
from tests.lake.ground import load, table_in
from tests.lake.vectors import EAGER, wide
own, table = int(sys.argv[2]), table_in(Path(sys.argv[1]), EAGER)
for number in range(4):
    changed = wide([(key, f"{own}/{number}") for key in range(own + 4 * number, 1000, 40)])
    load(table, Mode.MERGE, changed, str(number), stream=f"s{own}", keys=("id",))
"""


def test_four_processes_and_another_library_race(table: LakeTable, tmp_path: Path) -> None:
    merge(table, [(999, "old")], "", stream="first")
    here = Path(__file__).resolve().parents[2]
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path), str(own)], cwd=here) for own in range(4)
    ]
    landed: list[int] = []
    seen = -1
    while any(racer.poll() is None for racer in racers):
        with suppress(subprocess.TimeoutExpired):
            racers[0].wait(0.05)
        if (version := delta(tmp_path).version()) > seen:  # one row for each commit of theirs: nobody starves
            landed += [5000 + version] if appended(tmp_path, 5000 + version) else []
            seen = delta(tmp_path).version()
    assert [racer.wait() for racer in racers] == [0] * 4
    expected = dict.fromkeys(range(1000), "old") | dict.fromkeys(landed, "theirs")
    for own in range(4):
        for number in range(4):
            expected |= dict.fromkeys(range(own + 4 * number, 1000, 40), f"{own}/{number}")
    assert pairs(table) == expected
    assert [token(table, f"s{own}") for own in range(4)] == ["3"] * 4
    assert not left_by_us(tmp_path)
