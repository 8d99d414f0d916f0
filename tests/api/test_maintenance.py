"""Upkeep over HTTP: a job that looks after tables, and says what it did."""

from __future__ import annotations

import pytest

from tests.api.callers import Caller


def test_upkeep_is_a_job_that_says_what_it_did(caller: Caller) -> None:
    for _ in range(2):
        caller.post("/runs")
        caller.done()
    before = caller.get("/tables/bronze.shop.orders")["rows"]
    looked = caller.post("/maintenance", tables=["bronze.shop.orders"], dry_run=True, keep="1h")
    job = caller.post("/maintenance", tables=["bronze.shop.orders"], budget="1m", keep="1h")
    assert looked["job"] != job["job"]
    caller.done()
    for one in (looked, job):
        done = caller.get(f"/jobs/{one['job']}")
        assert (done["status"], done["kind"]) == ("done", job["kind"])
    assert caller.get("/tables/bronze.shop.orders")["rows"] == before


@pytest.mark.parametrize(
    "wrong", [{"budget": "soon"}, {"budget_bytes": "many"}, {"tabels": []}, {"tables": "orders"}]
)
def test_what_it_does_not_know_is_refused(caller: Caller, wrong: dict[str, object]) -> None:
    caller.refused("POST", "/maintenance", 422, **wrong)
