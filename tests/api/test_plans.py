"""Plans, promotions, comparisons and lineage over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.callers import Caller

SILVER = "SELECT id, customer_id, amount FROM bronze.shop.orders"
GOLD = "SELECT customer_id, SUM(amount) AS total FROM silver.orders GROUP BY customer_id"


@pytest.fixture
def built(caller: Caller) -> Caller:
    """A project with two models that were built, and an environment beside it."""
    model(caller, "silver/orders", SILVER)
    model(caller, "gold/totals", GOLD)
    (caller.folder / "asgard.dev.yml").write_text("beside: true\n")
    caller.post("/runs")
    caller.done()
    return caller


def model(caller: Caller, name: str, sql: str) -> None:
    file = caller.folder / "models" / f"{name}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sql)


def test_a_plan_says_what_would_be_built_and_why(built: Caller) -> None:
    assert built.get("/plan")["build"] == 0
    model(built, "silver/orders", f"{SILVER} WHERE amount > 2")
    found = built.get("/plan")
    assert (found["build"], found["breaking"]) == (2, True)
    silver, gold = found["models"]
    assert [reason["why"] for reason in silver["reasons"]] == ["sql"]
    assert [reason["why"] for reason in gold["reasons"]] == ["upstream"]
    assert [one["model"] for one in built.get("/plan", selector="gold.totals")["models"]] == ["gold.totals"]
    assert built.get("/plan", environment="dev")["environment"] == "dev"
    built.refused("GET", "/plan?selector=nothing", 422)
    built.refused("GET", "/plan?environment=nowhere", 422)
    built.refused("GET", "/plan?environment=../etc", 422)


def test_an_environment_is_promoted_by_a_job(built: Caller) -> None:
    assert built.get("/promotions", environment="dev") == {"environment": "dev", "tables": []}
    model(built, "silver/orders", f"{SILVER} WHERE amount > 2")
    stale = built.get("/promotions", environment="dev")["tables"]
    assert {one["table"]: one["action"] for one in stale} == {
        "silver.orders": "stale", "gold.totals": "stale"
    }  # fmt: skip
    said = built.refused("POST", "/promotions", 403, environment="dev")
    assert "silver.orders: it was not built here" in said["what"]
    built_beside(built)
    (ready, _) = built.get("/promotions", environment="dev")["tables"]
    assert (ready["action"], ready["rows_before"], ready["rows_after"]) == ("promote", 3, 2)
    job = built.post("/promotions", environment="dev")
    assert job["kind"] == "promotion"
    assert built.get("/tables/silver.orders")["rows"] == 3
    built.done()
    done = built.get(f"/jobs/{job['job']}")
    assert (done["status"], [step["action"] for step in done["steps"]]) == ("done", ["promote", "promote"])
    assert built.get("/tables/silver.orders")["rows"] == 2
    assert built.get(f"/runs/{job['job']}")["status"] == "done"
    assert built.get("/plan")["build"] == 0
    for wrong in ({"environment": "nowhere"}, {"environment": "a/b"}, {}, {"environment": "dev", "x": 1}):
        built.refused("POST", "/promotions", 422, **wrong)


def built_beside(caller: Caller) -> None:
    """What `asgard run --env dev` does."""
    from asgard.app.project.workspace import Workspace
    from asgard.app.runs.runs import RunWish, run

    workspace = Workspace.open(caller.folder / "asgard.yml", "dev")
    assert run(workspace, RunWish(), lambda event: None).status == "done"


def test_a_comparison_is_a_job_with_a_result(built: Caller) -> None:
    model(built, "silver/orders", SILVER.replace("amount FROM", "amount * 2 AS amount FROM"))
    built.post("/runs", selectors=["silver.orders"])
    built.done()
    before, now = sorted(one["version"] for one in built.get("/tables/silver.orders")["versions"])[-2:]
    job = built.post("/diffs", a="silver.orders", at_a=before, at_b=now, keys=["id"], samples=1)
    assert "result" not in built.get(f"/diffs/{job['job']}")
    built.done()
    found = built.get(f"/diffs/{job['job']}")
    assert found["status"] == "done"
    result = found["result"]
    assert (result["equal"], result["differences"]) == (False, {"only_a": 0, "only_b": 0, "changed": 3})
    assert len(result["samples"]["changed"]) == 1
    wrongs: list[dict[str, Any]] = [
        {"a": "nothing"},
        {"a": "silver.orders"},
        {"a": "silver.orders", "at_a": 900, "at_b": 0},
        {"a": "silver.orders", "b": "gold.totals", "keys": ["id"]},
        {"a": "silver.orders", "b": "gold.totals", "ignore": ["zip"]},
        {"a": "silver.orders", "b": "nowhere:gold.totals"},
    ]
    for wrong in wrongs:
        assert built.refused("POST", "/diffs", 422, **wrong)["what"]
    (run,) = [one for one in built.get("/jobs", status="done")["items"] if one.get("kind") is None][:1]
    built.refused("GET", f"/diffs/{run['job']}", 404)
    built.refused("GET", "/diffs/nothing", 404)


def test_lineage_of_a_table_and_of_a_column(built: Caller) -> None:
    table = built.get("/lineage/gold.totals")
    assert table["columns"]["total"] == [
        {"table": "silver.orders", "column": "amount", "uses": ["AGGREGATION"]}
    ]
    column = built.get("/lineage/gold.totals.total")
    assert [step["from"] for step in column["upstream"]] == [
        "silver.orders.amount",
        "bronze.shop.orders.amount",
    ]
    assert column["unknown"] == {}
    built.refused("GET", "/lineage/gold.nothing", 404)
    built.refused("GET", "/lineage/gold.totals.nothing", 404)
