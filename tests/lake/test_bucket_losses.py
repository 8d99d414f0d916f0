"""Answers that get lost on the way from a bucket: what happened is what the log says, never the exception.

A put that got no answer may have been carried out, may not, or may be yet. In each case a load that is tried
again to its end leaves exactly the rows of one load.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from asgard.core.errors import Conflict, Unreachable
from asgard.core.stream import Mode
from asgard.lake import bucket
from asgard.lake.delta.table import LakeTable
from tests.lake.far import PLACE, far_table, keys, unknown_keys
from tests.lake.ground import content, load, rows, set_aside, token
from tests.servers.lossy_store import Loss, LossyStore, lossy_store
from tests.servers.object_stores import new_bucket, shared_store

A, B = [(1, "a"), (2, "a")], [(2, "b"), (3, "b")]
WANTED = {Mode.APPEND: sorted(A + B), Mode.MERGE: [(1, "a"), *B], Mode.REPLACE: B}


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyStore]:
    monkeypatch.setitem(bucket.CLIENT, "max_retries", "1")
    with lossy_store(shared_store("moto")) as found:
        yield found


@pytest.fixture
def config(lossy: LossyStore) -> dict[str, Any]:
    name = new_bucket(lossy.server)
    return {**lossy.server.s3_config(name), "endpoint_url": lossy.url}


@pytest.fixture
def table(config: dict[str, Any]) -> LakeTable:
    table = far_table(config)
    load(table, Mode.APPEND, rows(A), "1")
    return table


def commit_key(version: int) -> str:
    return f"{PLACE}/_delta_log/{version:020d}.json"


@pytest.mark.parametrize(
    ("mode", "loss"),
    [*((mode, Loss.CUT) for mode in WANTED), (Mode.APPEND, Loss.ERROR), (Mode.MERGE, Loss.NEVER)],
    ids=lambda one: one.name,
)
def test_the_answer_to_the_commit_is_lost(
    table: LakeTable, lossy: LossyStore, config: dict[str, Any], mode: Mode, loss: Loss
) -> None:
    lossy.lose(commit_key(2), loss, times=1)
    commit = None
    try:
        commit = load(table, mode, rows(B), "2", keys=() if mode is Mode.APPEND else ("id",))
    except Unreachable:
        assert loss is not Loss.CUT  # the log says that it happened
        assert loss is not Loss.ERROR
    assert lossy.lost == 1
    if commit is None:
        load(table, mode, rows(B), "2", keys=() if mode is Mode.APPEND else ("id",))
    assert (content(table), token(table)) == (WANTED[mode], "2")
    load(table, Mode.APPEND, rows([]), "3")
    assert unknown_keys(config) == set()
    assert keys(config, f"{PLACE}/_asgard/loads") == []


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.MERGE])
def test_a_commit_that_arrives_when_nobody_waits_any_more(
    table: LakeTable, lossy: LossyStore, mode: Mode
) -> None:
    """Its load has failed, and its files are there all the same."""
    lossy.lose(commit_key(2), Loss.LATE)
    with pytest.raises(Unreachable):
        load(table, mode, rows(B), "2", keys=() if mode is Mode.APPEND else ("id",))
    assert (content(table), token(table)) == (A, "1")
    lossy.heal()
    assert 200 in lossy.arrive()
    assert (content(table), token(table)) == (WANTED[mode], "2")


def test_a_commit_that_arrives_after_another_one(
    table: LakeTable, lossy: LossyStore, config: dict[str, Any]
) -> None:
    """The store refuses it, and its files are gone by then."""
    lossy.lose(commit_key(2), Loss.LATE)
    with pytest.raises(Unreachable):
        load(table, Mode.APPEND, rows(B), "2")
    lossy.heal()
    assert len(unknown_keys(config)) == 1
    load(table, Mode.APPEND, rows(B), "2")
    assert unknown_keys(config) == set()
    assert set(lossy.arrive()) == {412}
    assert (content(table), token(table)) == (sorted(A + B), "2")


@pytest.mark.parametrize("loss", [Loss.CUT, Loss.ERROR, Loss.LATE])
@pytest.mark.parametrize(
    "part", ["/_asgard/loads/", "/_asgard/positions/", ".parquet", "quarantine/1/_delta_log/"]
)
def test_any_other_answer_is_lost(
    table: LakeTable, lossy: LossyStore, config: dict[str, Any], part: str, loss: Loss
) -> None:
    lossy.lose(part, loss, times=1)
    for _ in range(3):
        if token(table) != "2":
            with suppress(Unreachable, Conflict):  # what a run tries again
                load(table, Mode.APPEND, rows(B), "2", aside=set_aside([(70, "bad")]))
        lossy.arrive()
    assert lossy.lost == 1
    assert (content(table), token(table)) == (sorted(A + B), "2")
    aside = table.quarantined()
    assert aside is not None
    assert aside.rows == 1
    load(table, Mode.APPEND, rows([]), "3")
    load(table, Mode.APPEND, rows([]), "4")
    assert unknown_keys(config) == set()


def test_the_answer_to_an_undo_is_lost(table: LakeTable, lossy: LossyStore) -> None:
    load(table, Mode.APPEND, rows(B), "2")
    lossy.lose(commit_key(3), Loss.CUT, times=1)
    table.undo()
    assert (lossy.lost, content(table), token(table)) == (1, A, "1")


@pytest.mark.parametrize("loss", [Loss.CUT, Loss.LATE])
def test_the_answer_to_a_compaction_is_lost(
    table: LakeTable, lossy: LossyStore, config: dict[str, Any], loss: Loss
) -> None:
    for number in range(2, 9):
        load(table, Mode.APPEND, rows([(number, "x")]), f"{number}")
    before = content(table)
    lossy.lose(commit_key(9), loss)
    try:
        table.compact("run", lambda: False, nullcontext)
    except Unreachable:
        assert loss is Loss.LATE
    lossy.heal()
    assert content(table) == before
    lossy.arrive()
    assert content(table) == before
    assert len(table.mount().files) == 1
    load(table, Mode.APPEND, rows([]), "x")
    assert unknown_keys(config) == set()
    assert content(table) == before
