"""Environments beside production: what they build and read, that production stays as it is, and promotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgard.app.models.plan import plan
from asgard.app.models.promote import promote, promotions
from asgard.app.project.environments import BesideLake, beside
from asgard.app.tables.diff import DiffWish, diff
from asgard.core.errors import ConfigError, Refused
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from tests.cli.console import Console
from tests.flow.lab import Lab, orders

SILVER = "SELECT id, customer, amount FROM bronze.shop.orders"
GOLD = "SELECT customer, sum(amount) AS revenue FROM silver.orders GROUP BY customer"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    lab.model("silver.orders", SILVER)
    lab.model("silver.customers", "SELECT DISTINCT customer FROM bronze.shop.orders")
    lab.model("gold.revenue", GOLD)
    lab.run()
    (tmp_path / "asgard.dev.yml").write_text("beside: true\n")
    return lab


def changed(lab: Lab, where: str = "id > 1") -> None:
    lab.model("silver.orders", f"{SILVER} WHERE {where}")


def done(lab: Lab, force: bool = False) -> list[str]:
    summary = promote(lab.workspace("dev"), lambda event: None, force=force)
    assert summary.status == "done", [outcome.error for outcome in summary.outcomes]
    return [outcome.step for outcome in summary.outcomes]


def problems(lab: Lab) -> dict[str, str]:
    return {str(one.name): one.problem for one in promotions(lab.workspace("dev"))}


def test_only_what_is_another_is_built_and_production_stays(lab: Lab) -> None:
    before = {name: lab.rows(name) for name in ("silver.orders", "gold.revenue")}
    assert lab.actions(env="dev") == {}
    changed(lab)
    found = plan(lab.workspace("dev"))
    assert (found.environment, [str(one.name) for one in found.building]) == (
        "dev",
        ["silver.orders", "gold.revenue"],
    )
    silver, gold = found.building
    assert [reason.text for reason in silver.reasons] == ["its SQL changed"]
    assert (silver.breaking, silver.because) == (True, "rows may be others: its WHERE changed")
    assert ([str(reason.why) for reason in gold.reasons][-1], gold.breaking) == ("upstream", False)
    assert lab.actions(env="dev") == {"silver.orders": "whole", "gold.revenue": "whole"}
    assert lab.actions(env="dev") == {"silver.orders": "nothing", "gold.revenue": "nothing"}
    assert {name: lab.rows(name) for name in before} == before
    assert lab.rows("silver.orders", "dev").total() == 2
    assert lab.rows("gold.revenue", "dev").total() == 2
    data = lab.folder / "data"
    places = {path.parent.relative_to(data).as_posix() for path in data.rglob("_delta_log")}
    assert {place for place in places if "-dev" in place} == {
        "lakehouse-dev/silver/orders",
        "lakehouse-dev/gold/revenue",
    }
    assert lab.rows("silver.customers", "dev") == lab.rows("silver.customers")
    found_ = diff(lab.workspace, DiffWish("silver.orders", "dev:silver.orders", keys=("id",)))
    assert dict(found_.counts) == {"only_a": 1, "only_b": 0, "changed": 0}


def test_new_data_of_production_reaches_what_is_built_beside(lab: Lab) -> None:
    changed(lab)
    lab.run(env="dev")
    lab.load("shop.orders", orders(4))
    assert lab.actions(env="dev") == {"silver.orders": "whole", "gold.revenue": "whole"}
    assert lab.rows("silver.orders", "dev").total() == 3


def test_production_is_not_written_from_beside(lab: Lab) -> None:
    workspace = lab.workspace("dev")
    table = workspace.table("bronze.shop.orders")
    for attempt in (
        lambda: table.load(LoadRequest("stream", Mode.APPEND, table.schema())),
        table.undo,
        lambda: table.accept("stream", True),
    ):
        with pytest.raises(Refused, match=r"bronze\.shop\.orders is production's"):
            attempt()
    with pytest.raises(ConfigError, match="is no model, and dev builds models alone"):
        lab.run("bronze.shop.orders", env="dev")


def test_promotion_moves_production_and_ends_what_was_beside(lab: Lab) -> None:
    changed(lab)
    lab.run(env="dev")
    wanted = {name: lab.rows(name, "dev") for name in ("silver.orders", "gold.revenue")}
    assert done(lab) == ["silver.orders", "gold.revenue"]
    assert {name: lab.rows(name) for name in wanted} == wanted
    assert problems(lab) == {}
    assert isinstance(lake := beside(lab.workspace("dev")), BesideLake)
    assert lake.changed == frozenset()
    assert set(lab.actions().values()) == {"nothing"}
    lab.load("shop.orders", orders(4))
    lab.run()
    assert lab.rows("silver.orders").total() == 3


def test_an_incremental_model_goes_on_where_it_was_promoted(lab: Lab) -> None:
    front = {"mode": "append", "incremental": True}
    lab.model("silver.orders", f"{SILVER} WHERE id > 1", **front)
    lab.model("gold.many", "SELECT id, amount FROM silver.orders WHERE amount > 0", **front)
    lab.run(env="dev")
    lab.load("shop.orders", orders(4))
    assert lab.actions("silver.orders+", env="dev")["gold.many"] == "increment"
    done(lab)
    lab.load("shop.orders", orders(5))
    found = lab.actions()
    assert (found["silver.orders"], found["gold.many"]) == ("increment", "increment")
    assert lab.rows("gold.many") == lab.asked("SELECT id, amount FROM bronze.shop.orders WHERE id > 1")


def test_what_is_not_built_is_stale(lab: Lab) -> None:
    changed(lab)
    assert problems(lab) == dict.fromkeys(("silver.orders", "gold.revenue"), "it was not built here")
    with pytest.raises(Refused, match=r"silver\.orders: it was not built here"):
        promote(lab.workspace("dev"), lambda event: None, force=True)
    lab.run(env="dev")
    changed(lab, "id > 2")
    assert problems(lab) == {"silver.orders": "its model changed since it was built", "gold.revenue": ""}
    lab.run("silver.orders", env="dev")
    assert problems(lab)["gold.revenue"] == "it was built from an older silver.orders"


def test_production_that_moved_is_a_conflict(lab: Lab) -> None:
    changed(lab)
    lab.run(env="dev")
    text = (lab.folder / "models/silver/orders.sql").read_text()
    changed(lab, "id > 2")
    lab.run()  # somebody else's model reached production
    (lab.folder / "models/silver/orders.sql").write_text(text)
    found = problems(lab)
    assert found["silver.orders"] == "production was built by another model meanwhile"
    with pytest.raises(Refused, match="another model meanwhile"):
        done(lab)
    assert lab.actions(env="dev")["silver.orders"] == "whole"
    assert set(problems(lab).values()) == {""}
    assert done(lab) == ["silver.orders", "gold.revenue"]


def test_production_that_has_read_newer_data_is_a_conflict(lab: Lab) -> None:
    changed(lab)
    lab.run(env="dev")
    lab.load("shop.orders", orders(4))
    lab.model("silver.orders", SILVER)
    lab.run()
    changed(lab)
    assert problems(lab)["silver.orders"] == (
        "production has read bronze.shop.orders up to version 2, this only up to 1"
    )
    lab.run(env="dev")
    assert set(problems(lab).values()) == {""}


def test_rows_that_came_about_over_time_are_replaced_by_force_alone(lab: Lab) -> None:
    lab.model("gold.log", "SELECT count(*) AS n FROM bronze.shop.orders", mode="append")
    lab.run()
    lab.model("gold.log", "SELECT count(*) AS n, 1 AS one FROM bronze.shop.orders", mode="append")
    lab.run(env="dev")
    assert "came about over time" in problems(lab)["gold.log"]
    assert done(lab, force=True) == ["gold.log"]


def test_an_environment_that_is_not_beside_is_as_before(lab: Lab) -> None:
    (lab.folder / "asgard.dev.yml").write_text("lake: {location: elsewhere}\n")
    with pytest.raises(ConfigError, match="dev is not beside production"):
        promotions(lab.workspace("dev"))
    (lab.folder / "asgard.dev.yml").write_text("beside: true\nlake: {location: elsewhere}\n")
    changed(lab)
    lab.run("silver.orders", env="dev")
    assert (lab.folder / "elsewhere/silver/orders/_delta_log").is_dir()


def test_as_a_person_types_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(lab.folder, monkeypatch, capsys)
    changed(lab)
    assert console.asgard("promote", "dev", "--plan").code == 3
    assert console.asgard("run", "--env", "dev").code == 0
    said = console.asgard("promote", "dev", "--json")
    assert [one["action"] for one in said.json["tables"]] == ["promote", "promote"]
    assert [one["breaking"] for one in said.json["tables"]] == [True, False]
    assert console.asgard("plan", "--exit-code").code == 4
    said = console.asgard("promote", "dev", "--yes")
    assert (said.code, "ready" in said.out) == (0, True)
    assert console.asgard("plan", "--exit-code").code == 0
    assert "nothing to promote" in console.asgard("promote", "dev").err
    lab.load("shop.orders", orders(7))
    assert console.asgard("plan", "--exit-code", "silver.orders").code == 1
    assert console.asgard("plan", "--json").json["build"] == 3
    assert console.asgard("diff", "silver.orders", "--at", "1", "--at", "2").code == 1


def test_a_history_in_production_is_never_replaced_unasked(lab: Lab) -> None:
    front = {"mode": "history", "primary_key": "id"}
    lab.model("gold.past", "SELECT id, amount FROM bronze.shop.orders", **front)
    lab.run()
    lab.load("shop.orders", orders(1, 2, amount=9), Mode.REPLACE)
    lab.run()
    before = lab.rows("gold.past")
    assert before.total() == 5
    lab.model("gold.past", "SELECT id, amount * 2 AS amount FROM bronze.shop.orders", **front)
    lab.run(env="dev")
    assert lab.rows("gold.past", "dev").total() == 2
    assert problems(lab) == {
        "gold.past": "its history in production would be replaced; a run of production goes on with it"
    }
    with pytest.raises(Refused, match="its history in production") as refused:
        promote(lab.workspace("dev"), lambda event: None)
    assert "--force" in refused.value.hint
    assert lab.rows("gold.past") == before
    lab.run()
    assert lab.rows("gold.past").total() == 7
