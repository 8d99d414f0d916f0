"""The lake in a bucket: every mode, ways back, time travel, compaction, sweeping; contents, not counts.

On moto, whose conditional put is a look and a put under Python's lock, and not promised to be one step: that
one of several racing writers wins is proved on MinIO, in `test_bucket_races`.
"""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import Conflict, DataError, PositionLost, QueryError, Refused
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, TableName
from asgard.engines.duckdb import DuckDBEngine
from asgard.lake.delta import bucket_loads
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.delta.table import LakeTable
from asgard.lake.parquet import Limits
from tests.lake.far import PLACE, far_root, far_table, keys, unknown_keys
from tests.lake.ground import NAME, SCHEMA, STREAM, content, load, rows, set_aside, token, values
from tests.servers.object_stores import SECRET_KEY, new_bucket, shared_store

A, B = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")]


@pytest.fixture
def config() -> dict[str, Any]:
    server = shared_store("moto")
    return server.s3_config(new_bucket(server))


@pytest.fixture
def table(config: dict[str, Any]) -> LakeTable:
    return far_table(config)


def set_aside_rows(table: LakeTable) -> list[tuple[Any, ...]]:
    mount = table.quarantined()
    return [] if mount is None else asked(table, "SELECT * FROM q", q=mount)


def asked(table: LakeTable, sql: str, **plain: Any) -> list[tuple[Any, ...]]:
    """The rows of a query, by the engine that users' queries run on."""
    with DuckDBEngine(256 << 20) as engine:
        engine.attach(NAME, table.mount())
        for name, mount in plain.items():
            engine.attach(name, mount)
        return values(engine.query(sql).read_all())


def test_nothing_is_there_before_the_first_load(table: LakeTable, config: dict[str, Any]) -> None:
    assert not table.exists()
    assert table.position(STREAM) is None
    assert list(DeltaLake(far_root(config)).tables()) == []
    with pytest.raises(QueryError, match="no table"):
        table.schema()
    assert keys(config) == []


def test_every_mode_and_its_position(table: LakeTable, config: dict[str, Any]) -> None:
    load(table, Mode.APPEND, rows(A), "1", aside=set_aside([(70, "bad")]))
    load(table, Mode.APPEND, rows(B), "2", keys=("id",), keep_existing=True)
    assert (content(table), token(table)) == ([*A, (3, "b")], "2")
    load(table, Mode.MERGE, rows(B), "3", keys=("id",), aside=set_aside([(71, "bad")]))
    assert (content(table), token(table)) == ([(1, "a"), *B], "3")
    assert [row[0] for row in set_aside_rows(table)] == [70, 71]
    load(table, Mode.REPLACE, rows(A), "4")
    assert (content(table), token(table)) == (A, "4")
    assert set_aside_rows(table) == []  # they belonged to rows that are gone
    assert [content(table, version) for version in range(1, 4)] == [A, [*A, (3, "b")], [(1, "a"), *B]]
    assert asked(table, "SELECT v, count(*) FROM bronze.shop.orders WHERE id > 1 GROUP BY v") == [("a", 1)]
    assert unknown_keys(config) == set()
    assert keys(config, f"{PLACE}/_asgard/loads") == []


def test_the_same_by_the_column(table: LakeTable) -> None:
    """Queries and scans ask for the columns and row groups that they need, in files of many row groups."""
    few = LakeTable(NAME, table._folder, Limits(row_group_rows=100, file_bytes=4000))
    many = [(number, f"{number % 7}" * 50) for number in range(5_000)]
    load(few, Mode.REPLACE, rows(many), "1")
    assert len(table.mount().files) > 1
    assert asked(table, "SELECT sum(id) FROM bronze.shop.orders WHERE id >= 4990") == [(49_945,)]
    assert values(table.scan(["id"], "id % 1000 = 1").read_all()) == [
        (1,),
        (1001,),
        (2001,),
        (3001,),
        (4001,),
    ]
    assert content(table) == sorted(many, key=repr)


def test_undo_and_resync(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    table.undo()
    assert (content(table), token(table)) == (A, "1")
    load(table, Mode.MERGE, rows(B), "2", keys=("id",))
    table.accept(STREAM, resync=True)
    assert token(table) is None
    load(table, Mode.APPEND, rows(B), "3")
    assert (content(table), token(table)) == (B, "3")


def test_a_column_that_comes_later(table: LakeTable) -> None:
    wider = pa.schema([*SCHEMA, ("at", pa.timestamp("us"))])
    load(table, Mode.APPEND, rows(A), "1")
    more = pa.RecordBatch.from_pylist([{"id": 3, "v": "b", "at": None}], wider)
    load(table, Mode.APPEND, more, "2")
    assert asked(table, 'SELECT id, "at" FROM bronze.shop.orders') == [(1, None), (2, None), (3, None)]
    load(table, Mode.MERGE, rows(B), "3", keys=("id",), allow_missing=True)
    assert content(table) == [(1, "a", None), (2, "b", None), (3, "b", None)]


def test_small_files_are_put_together(table: LakeTable, config: dict[str, Any]) -> None:
    for number in range(8):
        load(table, Mode.APPEND, rows([(number, "x")]), f"{number}")
    before = content(table)
    done = table.compact("run", lambda: False, nullcontext)
    assert done is not None
    assert (done.files_before, done.files_after) == (8, 1)
    assert (content(table), token(table), len(table.mount().files)) == (before, "7", 1)
    load(table, Mode.APPEND, rows([(8, "x")]), "8")
    assert content(table) == [*before, (8, "x")]
    assert keys(config, f"{PLACE}/_asgard/loads") == []


def test_a_log_with_checkpoints(table: LakeTable, config: dict[str, Any]) -> None:
    for number in range(21):
        load(table, Mode.APPEND, rows([(number, "x")]), f"{number}")
    assert f"{PLACE}/_delta_log/_last_checkpoint" in keys(config)
    assert (content(table), token(table)) == (sorted(((n, "x") for n in range(21)), key=repr), "20")


def test_names_that_a_key_cannot_have(config: dict[str, Any]) -> None:
    names = [TableName("bronze", "s", "Bestellung ä=~%/b"), TableName("silver", "", "plain"), NAME]
    for number, name in enumerate(names):
        load(far_table(config, name=name), Mode.APPEND, rows([(number, "x")]), "1")
    lake = DeltaLake(far_root(config))
    assert list(lake.tables()) == sorted(names)
    assert [values(lake.table(name).scan().read_all()) for name in names] == [[(n, "x")] for n in range(3)]
    assert not any("~" in key or "%" in key for key in keys(config))


def test_another_load_of_the_stream_wins(table: LakeTable, config: dict[str, Any]) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        load(table, Mode.APPEND, rows([(9, "first")]), "x")
        with pytest.raises(Conflict, match="another load of the same stream"):
            one.publish(prepared, Position("2"))
    assert (content(table), token(table)) == ([*A, (9, "first")], "x")
    load(table, Mode.APPEND, rows([]), "y")  # behind its commit the loser's files go
    assert unknown_keys(config) == set()
    assert keys(config, f"{PLACE}/_asgard/loads") == []


def test_a_load_of_another_stream_is_taken_in(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.MERGE, SCHEMA, keys=("id",))) as one:
        prepared = one.prepare([one.stage([rows(B)])])
        load(table, Mode.APPEND, rows([(3, "o")]), "o", stream="other")
        one.publish(prepared, Position("2"))
    assert (content(table), token(table), token(table, "other")) == ([(1, "a"), *B], "2", "o")


def test_what_was_staged_and_given_up_goes_at_once(table: LakeTable, config: dict[str, Any]) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        one.stage([rows(B)])
        one.quarantine([set_aside([(1, "bad")])])
        assert len(unknown_keys(config)) == 1
    assert unknown_keys(config) == set()
    assert [key for key in keys(config) if "quarantine" in key or "loads/" in key] == []


def test_a_staged_file_that_was_taken_away(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)) as one:
        prepared = one.prepare([staged := one.stage([rows(B)])])
        table._folder.delete(staged.files[0].path)
        with pytest.raises(Conflict, match="was deleted before the commit"):
            one.publish(prepared, Position("2"))
    assert (content(table), token(table)) == (A, "1")


def test_a_file_of_the_table_that_was_taken_away(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    mount = table.mount()
    table._folder.delete(mount.files[0].rpartition("/")[2])
    with pytest.raises(DataError, match="there is no file"):
        table.scan().read_all()
    with pytest.raises(DataError, match="there is no file"):
        asked(table, "SELECT * FROM bronze.shop.orders")
    with pytest.raises(DataError, match="there is no file"):
        table.scan(where="id = 1").read_all()


def test_a_log_that_was_taken_away(table: LakeTable) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    log = table._folder / "_delta_log"
    log.delete(*log.files())
    with pytest.raises(PositionLost, match="log was taken away"):
        table.position(STREAM)


def test_a_query_reads_its_tables_and_nothing_else_of_the_bucket(
    table: LakeTable, config: dict[str, Any]
) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    other = far_table(config, name=TableName("silver", "", "secret"))
    load(other, Mode.APPEND, rows(B), "1")
    log = f"{table._folder}/_delta_log/{0:020d}.json"
    for sql in (f"SELECT * FROM read_text('{log}')", f"SELECT * FROM '{other.mount().files[0]}'"):
        with pytest.raises((Refused, QueryError)):
            asked(table, sql)


def test_wrong_keys_are_told_without_them(config: dict[str, Any]) -> None:
    server = shared_store("moto")
    wrong = {**config, "endpoint_url": f"http://127.0.0.1:{server.port}", "bucket": "nobody-has-this"}
    with pytest.raises(QueryError, match="no such bucket") as told:
        load(far_table(wrong), Mode.APPEND, rows(A), "1")
    assert SECRET_KEY not in f"{told.value} {told.value.__cause__}"


def test_half_a_key_is_refused(config: dict[str, Any]) -> None:
    config.pop("secret_key")
    with pytest.raises(Exception, match="secret_key is missing"):
        far_table(config)


# ---- tickets


def ticket_of(table: LakeTable, owner: str | None) -> str:
    """A load's ticket and a staged file of it."""
    name = f"{os.urandom(16).hex()}"
    document = json.dumps({"format": 1, "version": -1, "owner": owner}).encode()
    (table._folder / "_asgard/loads").put(f"{name}.json", document)
    table._folder.put(f"part-{name}-aa.parquet", b"x")
    return name


def test_who_is_lost(table: LakeTable, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load(table, Mode.APPEND, rows(A), "1")
    here = bucket_loads.this_process()
    machine, namespace, _, start = here.split("/")
    alive, elsewhere = ticket_of(table, here), ticket_of(table, "machine/1/2/3")
    container = ticket_of(table, f"{machine}/9{namespace}/1/1")
    init = ticket_of(table, f"{machine}/{namespace}/1/{bucket_loads._start(1)}")
    lost = [
        ticket_of(table, None),
        ticket_of(table, f"{machine}/{namespace}/{2**22 + 1}/{start}"),
        ticket_of(table, f"{machine}/{namespace}/{os.getpid()}/{start}0"),
    ]
    assert all(unknown_keys(config) >= {f"part-{name}-aa.parquet"} for name in lost)
    load(table, Mode.APPEND, rows(B), "2")
    stay = [alive, elsewhere, container, init]
    assert unknown_keys(config) == {f"part-{name}-aa.parquet" for name in stay}
    monkeypatch.setattr(bucket_loads, "FOREIGN_SECONDS", -10.0)
    load(table, Mode.APPEND, rows([]), "3")
    assert unknown_keys(config) == {f"part-{alive}-aa.parquet"}
    assert content(table) == sorted(A + B)


def test_nothing_is_swept_before_a_commit(table: LakeTable, config: dict[str, Any]) -> None:
    """A request of a process that is gone may still be on its way."""
    load(table, Mode.APPEND, rows(A), "1")
    name = ticket_of(table, None)
    with table.load(LoadRequest(STREAM, Mode.APPEND, SCHEMA)):
        pass
    assert unknown_keys(config) == {f"part-{name}-aa.parquet"}
