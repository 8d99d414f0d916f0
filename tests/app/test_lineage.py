"""Lineage of a project, and the OpenLineage events of its runs: to a file, a server, and one that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asgard.app.models.lineage import LineageGraph
from asgard.app.runs.runs import RunWish, run
from asgard.core.errors import ConfigError
from tests.cli.console import Console
from tests.flow.lab import Lab, orders


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    lab.model("silver.orders", "SELECT id, customer, amount AS cents FROM bronze.shop.orders WHERE id > 1")
    lab.model("gold.revenue", "SELECT customer, sum(cents) AS revenue FROM silver.orders GROUP BY customer")
    return lab


def told(lab: Lab, **openlineage: Any) -> None:
    document = json.loads((lab.folder / "asgard.yml").read_text())
    (lab.folder / "asgard.yml").write_text(json.dumps({**document, "lineage": {"openlineage": openlineage}}))


def test_a_table_and_a_column(lab: Lab) -> None:
    graph = LineageGraph(lab.workspace())
    said = graph.of("revenue")
    assert said["columns"]["revenue"] == [
        {"table": "silver.orders", "column": "cents", "uses": ["AGGREGATION"]}
    ]
    assert said["rows"] == [{"table": "silver.orders", "column": "customer", "uses": ["GROUP_BY"]}]
    assert graph.of("bronze.shop.orders") == {
        "table": "bronze.shop.orders",
        "columns": {"id": [], "customer": [], "amount": []},
        "rows": [],
        "read_by": ["silver.orders"],
    }
    assert graph.of_column("gold.revenue", "REVENUE")["upstream"] == [
        {"from": "silver.orders.cents", "to": "gold.revenue.revenue", "uses": ["AGGREGATION"]},
        {"from": "bronze.shop.orders.amount", "to": "silver.orders.cents", "uses": ["IDENTITY"]},
    ]
    assert graph.of_column("bronze.shop.orders", "customer")["downstream"] == [
        {"from": "bronze.shop.orders.customer", "to": "silver.orders.customer", "uses": ["IDENTITY"]},
        {"from": "silver.orders.customer", "to": "gold.revenue.customer", "uses": ["IDENTITY"]},
        {"from": "silver.orders.customer", "to": "gold.revenue.*", "uses": ["GROUP_BY"]},
    ]
    with pytest.raises(ConfigError, match="has no column other"):
        graph.of_column("gold.revenue", "other")


def test_as_a_person_types_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(lab.folder, monkeypatch, capsys)
    assert "silver.orders.cents" in console.asgard("lineage", "gold.revenue").out
    assert "bronze.shop.orders.amount" in console.asgard("lineage", "gold.revenue.revenue").out
    assert console.asgard("lineage", "gold.revenue.customer", "--json").json["column"] == "customer"
    assert console.asgard("lineage", "gold.nothing").code == 2
    assert "has no column nothing" in console.asgard("lineage", "gold.revenue.nothing").err


def test_a_run_tells_its_steps(lab: Lab) -> None:
    told(lab, file="lineage/events.jsonl", namespace="shop")
    lab.run()
    events = [json.loads(line) for line in (lab.folder / "lineage/events.jsonl").read_text().splitlines()]
    name = lab.folder.name
    assert [(one["eventType"], one["job"]["name"]) for one in events] == [
        *(("START", one) for one in (name, "silver.orders")),
        ("COMPLETE", "silver.orders"),
        *(("START", "gold.revenue"), ("COMPLETE", "gold.revenue"), ("COMPLETE", name)),
    ]
    done = events[4]
    assert done["run"]["facets"]["parent"]["run"]["runId"] == events[0]["run"]["runId"]
    assert done["run"]["runId"] == events[3]["run"]["runId"] != events[2]["run"]["runId"]
    (made,) = done["outputs"]
    assert (made["namespace"], made["name"]) == ("file", f"{lab.folder}/data/lakehouse/gold/revenue")
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert [one["name"] for one in made["facets"]["schema"]["fields"]] == ["customer", "revenue"]
    (field,) = made["facets"]["columnLineage"]["fields"]["revenue"]["inputFields"]
    assert (field["name"], field["field"]) == (f"{lab.folder}/data/lakehouse/silver/orders", "cents")
    assert field["transformations"][0] | {"description": ""} == {
        "type": "DIRECT",
        "subtype": "AGGREGATION",
        "description": "",
        "masking": False,
    }
    assert done["job"]["facets"]["sql"]["query"].startswith("SELECT customer")


def test_a_failed_step_tells_why(lab: Lab) -> None:
    told(lab, file="events.jsonl")
    lab.model("silver.orders", "SELECT nothing FROM bronze.shop.orders")
    summary = run(lab.workspace(), RunWish(), lambda event: None)
    assert summary.status == "failed"
    events = [json.loads(line) for line in (lab.folder / "events.jsonl").read_text().splitlines()]
    failed = [one for one in events if one["eventType"] == "FAIL"]
    assert [one["job"]["name"] for one in failed] == ["silver.orders", lab.folder.name]
    assert "nothing" in failed[0]["run"]["facets"]["errorMessage"]["message"]


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """Takes posts: path, authorization, body."""
    got: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", got
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def test_a_server_gets_each_event_with_the_key(lab: Lab) -> None:
    with server(201) as (url, got):
        told(lab, url=url, api_key="sesame")
        lab.run()
    assert len(got) == 6
    assert {(path, key) for path, key, _ in got} == {("/api/v1/lineage", "Bearer sesame")}


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_refuses_fails_no_run(lab: Lab, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with server(status) as (url, _):
        told(lab, url=url, api_key="sesame")
        lab.run()
    assert [record.message.partition(":")[0] for record in caplog.records] == ["lineage could not be told"]
    assert "sesame" not in caplog.text


def test_no_server_fails_no_run(lab: Lab) -> None:
    with server(200) as (url, _):
        pass
    told(lab, url=url)
    lab.run()


@pytest.mark.parametrize("wrong", [{}, {"url": "http://a", "file": "b"}, {"url": "ftp://a"}])
def test_where_events_go_is_checked(lab: Lab, wrong: dict[str, str]) -> None:
    told(lab, **wrong)
    with pytest.raises(ConfigError, match="url"):
        lab.workspace()
