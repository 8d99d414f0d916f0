"""Incremental models: only what came is read, and the table is what reading everything would make - after
appends, merges, replaces, compactions and restores, in any order, and under kills (Promise 1)."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.flow.decision import Decision, decide
from asgard.lake.boundaries import BOUNDARIES
from tests.flow.lab import Lab, orders
from tests.nursery import Nursery

PLAIN = "SELECT id, customer, amount * 2 AS twice FROM bronze.shop.orders WHERE id % 5 <> 0"
JOINED = (
    "SELECT o.id, o.amount, c.name FROM bronze.shop.orders o JOIN bronze.shop.customers c USING (customer)"
)
LEFT = "SELECT o.id, c.name FROM bronze.shop.orders o LEFT JOIN bronze.shop.customers c USING (customer)"
UNION = (
    "WITH o AS (SELECT id, amount FROM bronze.shop.orders), r AS (SELECT id, -amount AS amount FROM "
    "bronze.shop.returns) SELECT * FROM o UNION ALL SELECT * FROM r UNION ALL SELECT 0, 0"
)
WITHIN = "SELECT id FROM bronze.shop.orders WHERE customer IN (SELECT customer FROM bronze.shop.customers)"
MODELS = {"plain": PLAIN, "joined": JOINED, "left": LEFT, "within": WITHIN, "both": UNION}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    lab.load("shop.returns", orders(2))
    lab.load("shop.customers", customers(0, 1))
    return lab


def customers(*ids: int) -> pa.Table:
    return pa.table({"customer": pa.array(ids, pa.int64()), "name": [f"c{one}" for one in ids]})


def actions(lab: Lab, name: str) -> tuple[str, list[str]]:
    """What a build did with a model, and what it warned of."""
    (outcome,) = [one for one in lab.run().outcomes if one.step == f"silver.{name}"]
    return outcome.about["action"], outcome.warnings


def model(lab: Lab, name: str, **front: object) -> None:
    lab.model(f"silver.{name}", MODELS[name], **{"mode": "append", "incremental": True, **front})


def test_only_what_came_is_read(lab: Lab) -> None:
    model(lab, "plain")
    assert lab.actions() == {"silver.plain": "whole"}
    lab.load("shop.orders", orders(6, 7))
    (outcome,) = lab.run().outcomes
    assert (outcome.about["action"], outcome.rows_read) == ("increment", 2)
    assert lab.rows("silver.plain") == lab.asked(PLAIN)
    assert lab.actions() == {"silver.plain": "nothing"}


def test_a_changed_model_is_built_whole(lab: Lab) -> None:
    model(lab, "plain")
    lab.run()
    changed = PLAIN.replace("twice", "double")
    lab.model("silver.plain", changed, mode="append", incremental=True)
    assert actions(lab, "plain") == ("whole", ["built whole: the model was changed"])
    assert lab.rows("silver.plain") == lab.asked(changed)
    lab.load("shop.orders", orders(8))
    assert actions(lab, "plain") == ("increment", [])
    assert lab.rows("silver.plain") == lab.asked(changed)


def test_rows_that_were_changed_cannot_be_appended(lab: Lab) -> None:
    model(lab, "plain")
    lab.run()
    lab.load("shop.orders", orders(2, 9, amount=5), Mode.MERGE, ("id",))
    because = "bronze.shop.orders: rows went or were changed, and append can only add"
    assert actions(lab, "plain") == ("whole", [f"built whole: {because}"])
    assert lab.rows("silver.plain") == lab.asked(PLAIN)


def test_a_merge_takes_rows_that_were_changed(lab: Lab) -> None:
    model(lab, "plain", mode="merge", primary_key="id")
    lab.run()
    for first in (100, 200):  # a file of its own each: a merge writes only those that it changes
        lab.load("shop.orders", orders(*range(first, first + 50)))
    lab.run()
    lab.load("shop.orders", orders(101, 9, amount=5), Mode.MERGE, ("id",))
    (outcome,) = lab.run().outcomes
    assert outcome.about["action"] == "increment"
    assert outcome.rows_read < 60
    assert lab.rows("silver.plain") == lab.asked(PLAIN)


def test_compaction_repeats_nothing_and_hides_nothing(lab: Lab) -> None:
    model(lab, "plain")
    lab.run()
    for one in range(10, 20):
        lab.load("shop.orders", orders(one))
    lab.compact("shop.orders")
    lab.load("shop.orders", orders(21))
    (outcome,) = lab.run().outcomes
    assert (outcome.about["action"], outcome.rows_read) == ("increment", 9)
    assert lab.rows("silver.plain") == lab.asked(PLAIN)


def test_a_restored_table_is_read_whole(lab: Lab) -> None:
    model(lab, "plain")
    lab.load("shop.orders", orders(4))
    lab.run()
    lab.workspace().table("bronze.shop.orders").undo()
    lab.load("shop.orders", orders(11))
    assert actions(lab, "plain")[0] == "whole"
    assert lab.rows("silver.plain") == lab.asked(PLAIN)


def test_what_is_looked_up_stays_as_it_was(lab: Lab) -> None:
    lab.model("silver.left", LEFT, mode="append", incremental="bronze.shop.orders")
    lab.run()
    lab.load("shop.customers", customers(2))
    assert actions(lab, "left") == ("nothing", [])
    lab.load("shop.orders", orders(5))
    assert actions(lab, "left") == ("increment", [])
    assert lab.rows("silver.left")['{"id": 2, "name": null}'] == 1
    assert lab.rows("silver.left")['{"id": 5, "name": "c2"}'] == 1


@pytest.mark.parametrize(
    ("sql", "because"),
    [
        ("SELECT count(*) AS n FROM bronze.shop.orders", "an aggregate looks at its rows together"),
        ("SELECT histogram(id) AS n FROM bronze.shop.orders", "an aggregate looks at its rows together"),
        ("SELECT DISTINCT id FROM bronze.shop.orders", "DISTINCT looks at its rows together"),
        ("SELECT id, row_number() OVER (ORDER BY id) AS n FROM bronze.shop.orders", "a window looks"),
        (
            "SELECT a.id FROM bronze.shop.orders a JOIN bronze.shop.orders b USING (id)",
            "it is joined with itself",
        ),
        ("SELECT 1 AS one", "it reads no table"),
    ],
)
def test_what_looks_at_rows_together_is_refused(lab: Lab, sql: str, because: str) -> None:
    lab.model("silver.refused", sql, mode="append", incremental=True)
    with pytest.raises(ConfigError, match="it cannot be incremental: .*" + because.replace("(", "\\(")):
        _ = lab.workspace().models


@pytest.mark.parametrize("seed", range(3))
def test_any_history_makes_what_reading_everything_makes(lab: Lab, seed: int) -> None:
    dice = random.Random(seed)
    for name in MODELS:
        model(lab, name)
    done: Counter[str] = Counter()
    next_id = 10
    for _ in range(6):
        for _ in range(dice.randint(1, 2)):
            table = dice.choice(["orders", "orders", "returns", "customers"])
            rows = orders(next_id, next_id + 1) if table != "customers" else customers(dice.randrange(3))
            mode = dice.choices([Mode.APPEND, Mode.MERGE, Mode.REPLACE], [6, 1, 1])[0]
            key = "id" if table != "customers" else "customer"
            lab.load(f"shop.{table}", rows, mode, (key,) if mode is Mode.MERGE else ())
            next_id += 2
        done += Counter(lab.actions().values())
        for name, sql in MODELS.items():
            assert lab.rows(f"silver.{name}") == lab.asked(sql), name
    assert done["increment"] > 3, done


def test_two_builds_at_a_time_append_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model(lab, "plain")
    lab.run()
    lab.load("shop.orders", orders(6, 7))
    decided: list[str] = []

    def late(*asked: Any, **options: Any) -> Decision:
        decision = decide(*asked, **options)
        decided.append(str(decision.action))
        if len(decided) == 1:
            lab.run()  # somebody else's, between the decision and the load
        return decision

    monkeypatch.setattr("asgard.flow.building.decide", late)
    assert lab.run().status == "done"
    assert decided == ["increment", "increment", "nothing"]
    assert lab.rows("silver.plain") == lab.asked(PLAIN)


# ---- kills

ELSEWHERE = {"table_created", "evolved", "epoch_written", "restored"}
RUN_BOUNDARIES = [name for name in BOUNDARIES if name not in ELSEWHERE and "quarantine" not in name]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery("tests.flow.nursery")
    yield nursery
    nursery.close()


def test_kills_lose_nothing_and_repeat_nothing(nursery: Nursery, lab: Lab) -> None:
    dice = random.Random(3)
    front = {"mode": "append", "incremental": True}
    lab.model("silver.plain", PLAIN, **front)
    lab.model(
        "gold.merged", "SELECT id, twice FROM silver.plain", mode="merge", primary_key="id", incremental=True
    )
    lab.model(
        "gold.both",
        UNION.replace("bronze.shop.returns", "silver.plain").replace("-amount", "-twice"),
        **front,
    )
    project = lab.folder / "asgard.yml"
    assert nursery.run(project=project) == 0
    kills: Counter[str] = Counter()
    named = [f"{name}:{count}" for name in RUN_BOUNDARIES for count in (1, 2)]
    next_id = 100
    for order in [*named, *["random"] * 4]:
        lab.load("shop.orders", orders(*range(next_id, next_id + dice.randint(1, 4))))
        next_id += 5
        if order == "random":
            status = nursery.run(project=project, kill_after=dice.uniform(0.05, 0.4))
        else:
            status = nursery.run(project=project, kill_at=order)
        assert status in (0, -signal.SIGKILL)
        kills[order.partition(":")[0]] += status != 0
        if dice.random() < 0.2:
            assert nursery.run(project=project) == 0
            _whole(lab)
    assert nursery.run(project=project) == 0
    _whole(lab)
    assert not [name for name in RUN_BOUNDARIES if not kills[name]], kills
    assert sum(kills.values()) >= 20


def _whole(lab: Lab) -> None:
    for one in lab.workspace().models:
        assert lab.rows(str(one.name)) == lab.asked(one.sql), one.name
