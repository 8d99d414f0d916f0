"""A promotion that is killed at every named boundary: each table is the old one or the new one, and to go on
ends with what was built beside (Promise 1)."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgard.lake.boundaries import BOUNDARIES
from tests.flow.lab import Lab, orders
from tests.nursery import Nursery

ELSEWHERE = {"table_created", "evolved", "epoch_written", "restored"}
PASSED = [name for name in BOUNDARIES if name not in ELSEWHERE and "quarantine" not in name]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.app.promoting")
    yield nursery
    nursery.close()


def test_a_table_is_the_old_one_or_the_new_one(nursery: Nursery, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(*range(20)))
    lab.model("silver.orders", "SELECT id FROM bronze.shop.orders")
    lab.model("gold.many", "SELECT count(*) AS n FROM silver.orders")
    lab.run()
    (tmp_path / "asgard.dev.yml").write_text("beside: true\n")
    kills: Counter[str] = Counter()
    for number, order in enumerate([f"{name}:{1 + n % 2}" for n, name in enumerate(PASSED)]):
        lab.model("silver.orders", f"SELECT id FROM bronze.shop.orders WHERE id > {number}")
        lab.run(env="dev")
        old = {name: lab.rows(name) for name in ("silver.orders", "gold.many")}
        new = {name: lab.rows(name, "dev") for name in old}
        status = nursery.run(project=tmp_path / "asgard.yml", kill_at=order)
        assert status in (0, -signal.SIGKILL)
        kills[order.partition(":")[0]] += status != 0
        for name, rows in old.items():
            assert lab.rows(name) in (rows, new[name]), (order, name)
        assert nursery.run(project=tmp_path / "asgard.yml") == 0
        lab.run()  # what reads a table that was promoted before the kill
        assert {name: lab.rows(name) for name in old} == new, order
    assert not [name for name in PASSED if not kills[name]], kills
