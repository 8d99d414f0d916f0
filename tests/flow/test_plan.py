"""Plans: what would be built and why, what is breaking, and that a run does what its plan says."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import asgard
from asgard.app.models.plan import Plan, plan
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.core.table import LoadRequest
from tests.flow.lab import Lab, orders


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    lab.model("silver.orders", "SELECT id, customer, amount FROM bronze.shop.orders")
    lab.model("gold.revenue", "SELECT customer, sum(amount) AS revenue FROM silver.orders GROUP BY customer")
    return lab


def whys(lab: Lab, *selectors: str) -> dict[str, list[str]]:
    found = plan(lab.workspace(), selectors)
    return {str(one.name): [str(reason.why) for reason in one.reasons] for one in found.building}


def change(lab: Lab, sql: str, **front: object) -> tuple[bool | None, str]:
    """Whether another SELECT for silver.orders is breaking, and by what."""
    lab.model("silver.orders", sql, **front)
    (one,) = plan(lab.workspace(), ["silver.orders"]).building
    return one.breaking, one.because


def test_before_the_first_build_everything_is_to_be_built(lab: Lab) -> None:
    assert whys(lab) == {"silver.orders": ["first"], "gold.revenue": ["first", "upstream"]}
    lab.run()
    assert whys(lab) == {}


def test_new_data_builds_what_reads_it_and_what_reads_that(lab: Lab) -> None:
    lab.model("gold.other", "SELECT 1 AS one")
    lab.run()
    lab.load("shop.orders", orders(4, 5))
    assert whys(lab) == {"silver.orders": ["data"], "gold.revenue": ["upstream"]}
    silver = plan(lab.workspace(), ["silver.orders"]).building[0]
    assert silver.rows == 5
    assert silver.size_bytes
    assert silver.reasons[0].text == "bronze.shop.orders has new data: version 1 to 2, 2 rows more"
    assert lab.actions() == {"gold.other": "nothing", "silver.orders": "whole", "gold.revenue": "whole"}


@pytest.mark.parametrize(
    "same",
    [
        "select id, customer, amount from bronze.shop.orders",
        "SELECT id,\n  customer, -- whose\n  amount /* of what */\nFROM bronze.shop.orders;",
        'SELECT "id", customer, "amount" FROM bronze.shop."orders"',
    ],
)
def test_the_same_sql_in_another_writing_is_no_change(lab: Lab, same: str) -> None:
    lab.run()
    lab.model("silver.orders", same)
    assert whys(lab) == {}
    assert lab.actions() == {"silver.orders": "nothing", "gold.revenue": "nothing"}


def test_more_columns_break_nothing(lab: Lab) -> None:
    lab.run()
    assert change(lab, "SELECT id, customer, amount, amount * 2 AS twice FROM bronze.shop.orders") == (
        False,
        "",
    )
    (one,) = plan(lab.workspace(), ["silver.orders"]).building
    assert one.columns.as_dict() == {"added": {"twice": "int64"}, "removed": [], "changed": {}}


@pytest.mark.parametrize(
    ("sql", "because"),
    [
        ("SELECT id, customer FROM bronze.shop.orders", "column amount goes"),
        (
            "SELECT id, customer, amount::VARCHAR AS amount FROM bronze.shop.orders",
            "column amount is string instead of int64",
        ),
        (
            "SELECT id, customer, amount FROM bronze.shop.orders WHERE amount > 0",
            "rows may be others: its WHERE changed",
        ),
        (
            "SELECT id, customer, amount + 1 AS amount FROM bronze.shop.orders",
            "values of amount may be others",
        ),
        (
            "SELECT DISTINCT id, customer, amount FROM bronze.shop.orders",
            "rows may be others: its DISTINCT changed",
        ),
        (
            "SELECT id, customer, amount, unnest([1, 2]) AS n FROM bronze.shop.orders",
            "rows may be others: a column makes rows",
        ),
    ],
)
def test_what_hurts_readers_is_breaking(lab: Lab, sql: str, because: str) -> None:
    lab.run()
    assert change(lab, sql) == (True, because)


def test_a_changed_contract_is_told(lab: Lab) -> None:
    lab.run()
    sql = "SELECT id, customer, amount FROM bronze.shop.orders"
    assert change(lab, sql, checks=[{"not_null": "id"}]) == (False, "")
    assert whys(lab)["silver.orders"] == ["checks"]
    assert change(lab, sql, mode="merge", primary_key="id") == (True, "its mode, primary_key changed")


def test_a_column_that_the_upstream_lost_is_found_behind_a_star(lab: Lab) -> None:
    lab.model("silver.orders", "SELECT * EXCLUDE (amount) FROM bronze.shop.orders")
    lab.model("gold.revenue", "SELECT * FROM silver.orders")
    lab.run()
    fewer = pa.table({"id": [1], "amount": [1]})
    lab.load("shop.orders", fewer, Mode.REPLACE)
    found = {str(one.name): one.because for one in plan(lab.workspace()).building}
    assert found == {"silver.orders": "column customer goes", "gold.revenue": "column customer goes"}


def test_what_cannot_be_built_is_blocked(lab: Lab) -> None:
    lab.model("silver.late", "SELECT * FROM bronze.shop.late")
    lab.model("gold.late", "SELECT * FROM silver.late")
    lab.model("gold.wrong", "SELECT nothing FROM silver.orders")
    found = plan(lab.workspace())
    assert {str(one.name): one.blocked.splitlines()[0][:40] for one in found.blocked} == {
        "silver.late": "bronze.shop.late is not there yet: asgar",
        "gold.late": "silver.late is not there yet: asgard run",
        "gold.wrong": found.blocked[-1].blocked.splitlines()[0][:40],
    }
    assert "nothing" in found.blocked[-1].blocked


def test_rows_that_only_moved_build_nothing(lab: Lab) -> None:
    for one in range(4, 12):
        lab.load("shop.orders", orders(one))
    lab.run()
    lab.compact("shop.orders")
    assert whys(lab) == {}


def test_a_table_of_an_earlier_version_says_less_and_is_kept(lab: Lab) -> None:
    lab.run()
    model = lab.workspace().models[0]
    table = lab.workspace().table("silver.orders")
    position = table.position("model")
    assert position is not None
    old = {"format": 1, "model": model.fingerprint, "upstream": {"bronze.shop.orders": 1}}
    with table.load(LoadRequest("model", Mode.APPEND, table.schema())) as load:
        load.publish(load.prepare([]), position.finished(json.dumps(old, sort_keys=True)))
    assert whys(lab, "silver.orders") == {}
    assert change(lab, "SELECT id FROM bronze.shop.orders") == (
        True,
        "column customer goes; column amount goes",
    )
    sql = "SELECT id, customer, amount FROM bronze.shop.orders WHERE id > 1"
    assert change(lab, sql) == (None, "what its SQL was is not known")


def test_selectors_are_those_of_a_run(lab: Lab) -> None:
    assert set(whys(lab, "silver.orders+")) == {"silver.orders", "gold.revenue"}
    assert set(whys(lab, "+gold.revenue")) == {"silver.orders", "gold.revenue"}
    assert set(whys(lab, "bronze.shop.orders+")) == {"silver.orders", "gold.revenue"}
    with pytest.raises(ConfigError, match=r"no model matches 'gold\.revenu'"):
        plan(lab.workspace(), ["gold.revenu"])


def test_the_plan_as_json(lab: Lab) -> None:
    lab.run()
    lab.load("shop.orders", orders(9))
    found: Plan = plan(lab.workspace())
    said = json.loads(json.dumps(found.as_dict()))
    assert (said["build"], said["blocked"], said["breaking"]) == (2, 0, False)
    assert said["models"][0]["reads"] == {"bronze.shop.orders": 2}
    assert said["models"][0]["rows"] == 4
    assert "rows" not in said["models"][1]


def test_as_a_program_asks(lab: Lab) -> None:
    project = asgard.Project(lab.folder)
    assert [str(one.name) for one in project.plan("+gold.revenue").building] == [
        "silver.orders",
        "gold.revenue",
    ]
    project.run("silver.orders", "gold.revenue")
    assert project.plan().building == ()
    assert [str(one.action) for one in project.plan(full=True).building] == ["whole", "whole"]
    assert project.lineage("gold.revenue", "revenue")["upstream"][-1]["from"] == "bronze.shop.orders.amount"
    assert project.diff("silver.orders", "bronze.shop.orders")["equal"]
    (lab.folder / "asgard.dev.yml").write_text("beside: true\n")
    lab.model("silver.orders", "SELECT id, customer, 2 * amount AS amount FROM bronze.shop.orders")
    dev = asgard.Project(lab.folder, env="dev")
    dev.run()
    found = project.diff("silver.orders", "dev:silver.orders", keys=("id",))
    assert found["changed_columns"] == {"amount": 3}
    assert dev.promote().status == "done"
    assert project.diff("silver.orders", at_a=1, keys=("id",))["changed_columns"] == {"amount": 3}
