"""Contracts, suites, checkpoints, suggestions and reports, as a person types them."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.cli.console import Console

COUNT = "SELECT count(*) AS n FROM bronze.shop.orders"
ROWS = [
    {"id": n, "status": ("new", "paid")[n % 2], "net": 10 * n, "note": None,
     "day": f"2026-06-{n % 3 + 1:02d}", "email": f"u{n}@example.com"}
    for n in range(1, 61)
]  # fmt: skip
CONTRACT: dict[str, Any] = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "orders", "version": "1.0.0", "status": "active",
    "schema": [{"name": "orders", "properties": [
        {"name": "id", "logicalType": "integer", "primaryKey": True},
        {"name": "status", "logicalType": "string", "required": True, "quality": [
            {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["new", "paid"]},
             "name": "known status"}]},
        {"name": "net", "logicalType": "number", "logicalTypeOptions": {"minimum": 0}},
    ], "quality": [{"metric": "rowCount", "mustBeGreaterThan": 10}]}],
    "slaProperties": [{"property": "retention", "value": 3, "unit": "y"}],
}  # fmt: skip
SODA = {"type": "custom", "engine": "soda", "implementation": "x"}
SUITE = {
    "name": "orders",
    "expectations": [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "status"}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "net", "max_value": 550}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": {"$PARAMETER": "least"}}},
    ],
}


def put_rows(console: Console, rows: list[dict[str, Any]], name: str = "orders.parquet") -> None:
    schema = pa.schema([("id", pa.int64()), ("status", pa.string()), ("net", pa.int64()),
                        ("note", pa.string()), ("day", pa.string()), ("email", pa.string())])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema), console.folder / name)


def shop(console: Console, **table: Any) -> None:
    put_rows(console, ROWS)
    entry = {"name": "orders", "path": "orders.parquet", **table}
    console.project({"shop": {"type": "files", "path": str(console.folder), "tables": [entry]}})


def test_a_contract_is_kept_to_by_every_load(console: Console) -> None:
    console.write("contracts/orders.odcs.yaml", yaml.safe_dump(CONTRACT))
    shop(console, contract="contracts/orders.odcs.yaml", checks=[{"unique": "email"}])
    assert console.asgard("run").code == 0
    assert console.asgard("contracts", "--json").json == [
        {"table": "bronze.shop.orders", "contract": "contracts/orders.odcs.yaml"}
    ]
    checked = console.asgard("contracts", "check", "--json")
    assert checked.code == 0
    names = [one["check"] for one in checked.json]
    assert "known status" in names
    assert "unique(email)" not in names
    assert {one["check"] for one in console.asgard("checks", "--json").json} == {*names, "unique(email)"}
    # What breaks the contract stops the load, and the table stays.
    put_rows(console, [*ROWS, {**ROWS[0], "id": 99, "status": "lost"}])
    stopped = console.asgard("run")
    assert stopped.code == 4
    assert "1 of 61 values of status is not one of new, paid" in stopped.out + stopped.err
    assert console.asgard("query", COUNT, "--json").json == {"n": 60}


def test_a_column_that_went_breaks_the_contract(console: Console) -> None:
    console.write("c.yaml", yaml.safe_dump(CONTRACT))
    shop(console)
    assert console.asgard("run").code == 0
    changed = json.loads(json.dumps(CONTRACT))
    changed["schema"][0]["properties"].append({"name": "gone", "required": True})
    console.write("c.yaml", yaml.safe_dump(changed))
    shop(console, contract="c.yaml#orders")
    checked = console.asgard("contracts", "check", "orders", "--json")
    assert checked.code == 4
    failed = {one["check"]: one["message"] for one in checked.json if not one["passed"]}
    assert set(failed) == {"columns(id, status, net, gone)", "not_null(gone)"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file c.yaml"),
        ("a: [", "c.yaml:"),
        ("kind: Other", "no kind: DataContract"),
        (yaml.safe_dump({**CONTRACT, "schema": [{"name": "a", "quality": [SODA]}]}), "of the engine soda"),
    ],
)  # fmt: skip
def test_a_contract_that_cannot_be_asked_stops_everything(
    console: Console, content: str | None, said: str
) -> None:
    if content is not None:
        console.write("c.yaml", content)
    shop(console, contract="c.yaml")
    answer = console.asgard("run")
    assert answer.code == 2
    assert said in answer.out + answer.err


def test_a_contract_is_shown_and_written_and_read_back(console: Console) -> None:
    console.write("c.yaml", yaml.safe_dump(CONTRACT))
    shown = console.asgard("contracts", "show", "c.yaml", "--json").json
    assert shown["notes"] == ["slaProperties[0]: retention is for people"]
    assert len(shown["checks"]) >= 8
    shop(console, primary_key="id", checks=[{"not_null": "id"}, {"between": {"column": "net", "min": 0}}])
    assert console.asgard("run").code == 0
    said = console.asgard("contracts", "write", "orders", "-o", "contracts/new.yaml")
    assert said.code == 0
    assert console.asgard("contracts", "write", "orders", "-o", "contracts/new.yaml").code == 2
    written = yaml.safe_load((console.folder / "contracts/new.yaml").read_text())
    columns = {column["name"]: column for column in written["schema"][0]["properties"]}
    assert columns["id"] == {"name": "id", "physicalType": "int64", "logicalType": "integer",
                             "primaryKey": True, "primaryKeyPosition": 1, "required": True}  # fmt: skip
    shop(console, contract="contracts/new.yaml")
    checked = console.asgard("contracts", "check", "--json")
    assert checked.code == 0
    assert "between(net)" in [one["check"] for one in checked.json]


def test_a_suite_is_taken_over_and_run_by_checkpoints(console: Console) -> None:
    shop(console)
    assert console.asgard("run").code == 0
    console.write("suite.json", json.dumps(SUITE))
    assert console.asgard("suites", "import", "suite.json", "--json").json["checks"] == 3
    assert console.asgard("suites", "--json").json == ["orders"]
    assert console.asgard("suites", "show", "orders", "--json").json[0] == {"not_null": ["status"]}
    alert = f"{sys.executable} -c \"import sys; open('told.json', 'w').write(sys.stdin.read())\""
    keep = ("suites", "checkpoint", "daily", "--table", "orders", "--suite", "orders")
    assert console.asgard(*keep, "--column", "day", "--report", "r.html", "--alert", alert).code == 0
    assert console.asgard("suites", "checkpoints", "--json").json[0]["name"] == "daily"
    missing = console.asgard("suites", "run", "daily")
    assert missing.code == 2
    assert "least is not known" in missing.err
    ran = console.asgard("suites", "run", "daily", "--parameter", "least=20", "--json")
    assert ran.code == 4
    assert [(one["batch"], one["success"]) for one in ran.json] == [
        ("day = 2026-06-01", False), ("day = 2026-06-02", False), ("day = 2026-06-03", False),
    ]  # fmt: skip
    assert {r["check"] for one in ran.json for r in one["results"] if not r["passed"]} == {"max(net)"}
    told = json.loads((console.folder / "told.json").read_text())
    assert (told["checkpoint"], len(told["failed"])) == ("daily", 3)
    assert "max(net)" in (console.folder / "r.html").read_text()
    stored = console.asgard("suites", "validations", "--json").json
    assert [one["batch"] for one in stored][::-1] == [one["batch"] for one in ran.json]
    assert stored[0]["statistics"] == {"evaluated": 3, "successful": 2, "unsuccessful": 1}
    one = console.asgard(*keep, "--column", "day", "--by", "day", "--value", "2026-06-02", "--json")
    assert one.json["batch"] == {"column": "day", "by": "day", "value": "2026-06-02"}
    again = console.asgard("suites", "run", "daily", "--parameter", "least=20", "--json")
    assert [(v["batch"], v["results"][2]["observed"]) for v in again.json] == [("day = 2026-06-02", 20)]


def test_what_a_validation_observed_is_a_parameter_of_the_next(console: Console) -> None:
    shop(console)
    console.asgard("run")
    urn = "urn:great_expectations:validations:first:expect_column_max_to_be_between.result.observed_value"
    console.write("first.json", json.dumps({"name": "first", "expectations": SUITE["expectations"][1:2]}))
    least = {"$PARAMETER": f"{urn}:column=net - 1"}
    second = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "net", "min_value": least}}
    console.write("second.json", json.dumps({"name": "second", "expectations": [second]}))
    for name in ("first", "second"):
        console.asgard("suites", "import", f"{name}.json")
        console.asgard("suites", "checkpoint", name, "--table", "orders", "--suite", name)
        ran = console.asgard("suites", "run", name, "--json")
    assert ran.code == 0
    assert ran.json[0]["results"][0]["observed"] == 600


def test_what_a_suite_cannot_ask_is_refused_or_left_out(console: Console) -> None:
    shop(console)
    kinds = ["expect_column_kl_divergence_to_be_less_than", "expect_column_to_exist"]
    entries = [{"expectation_type": kind, "kwargs": {"column": "id"}} for kind in kinds]
    console.write("s.json", json.dumps({"expectation_suite_name": "s", "expectations": entries}))
    refused = console.asgard("suites", "import", "s.json")
    assert refused.code == 2
    assert kinds[0] in refused.err
    assert console.asgard("suites", "--json").json == []
    assert "left out" in console.asgard("suites", "import", "s.json", "--partial").out
    assert console.asgard("suites", "checkpoint", "c", "--table", "orders", "--suite", "none").code == 2
    assert console.asgard("suites", "import", "s.json", "--partial", "--name", "../x").code == 2


def test_a_suite_is_written_for_great_expectations(console: Console) -> None:
    shop(console, checks=[{"not_null": "id"}, {"anomaly": {}}])
    console.asgard("run")
    said = console.asgard("suites", "write", "orders", "--name", "o", "--gx", "0")
    assert said.json["expectations"][0]["expectation_type"] == "expect_column_values_to_not_be_null"
    assert "anomaly(rows)" in said.err


def test_suggested_checks_pass_when_they_are_pasted(console: Console) -> None:
    shop(console)
    console.asgard("run")
    said = console.asgard("checks", "suggest", "orders")
    entries = yaml.safe_load(said.out)["checks"]
    assert {"unique": ["id"]} in entries or {"unique": "id"} in entries
    assert {"accepted_values": {"column": "status", "values": ["new", "paid"]}} in entries
    assert {"matches": {"column": "email", "pattern": "email"}} in entries
    assert {"time_format": {"column": "day", "format": "%Y-%m-%d"}} in entries
    assert not [entry for entry in entries if "note" in json.dumps(entry)]
    assert "# 60 values of id are all different" in said.out
    shop(console, checks=entries)
    pasted = console.asgard("checks", "--json")
    assert pasted.code == 0
    assert len(pasted.json) >= len(entries)


class Page(HTMLParser):
    """What a browser would fetch or run, and the page's texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.heads = 0
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        self.heads += tag == "th" and ("scope", "col") in attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(file: Path) -> Page:
    page = Page()
    page.feed(file.read_text())
    return page


def test_the_report_is_one_file_and_escapes_what_it_shows(console: Console) -> None:
    evil = "<script>alert('x')</script>"
    rows = [{**ROWS[0], "status": evil, "email": '"><img src=x onerror=alert(1)>'}, *ROWS[1:]]
    known = {"accepted_values": {"column": "status", "values": ["new", "paid"]}, "name": f"known {evil}"}
    asked = [
        {**known, "on_fail": "warn"},
        {"matches": {"column": "note", "pattern": "x"}},
        {"not_null": "note", "on_fail": "warn"},
        {"non_negative": "net", "on_fail": "quarantine"},
    ]
    shop(console, mask={"email": "redact"}, checks=asked)
    put_rows(console, [*rows, {**ROWS[5], "id": 100, "net": -1}])
    assert console.asgard("run").code == 0
    said = console.asgard("checks", "report", "-o", "report.html", "--json")
    assert (said.code, said.json["failed"]) == (0, 0)
    page = page_of(console.folder / "report.html")
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert page.heads >= 15
    texts = "\n".join(page.texts)
    assert evil in texts
    assert f"known {evil}" in texts
    assert "onerror" not in texts  # the column is masked before anything is written
    assert "Set aside: 1 rows" in texts
    content = (console.folder / "report.html").read_text()
    assert "prefers-color-scheme: dark" in content
    assert not re.search(r"https?://", content)


def test_the_report_says_what_failed_and_how_it_was_before(console: Console) -> None:
    mean = {"statistic": {"column": "net", "metric": "mean"}}
    shop(console, checks=[{"between": {"column": "net", "max": 1000}}, mean])
    for _ in range(3):
        assert console.asgard("run", "--full-refresh").code == 0
    shop(console, checks=[{"between": {"column": "net", "max": 590}}, mean])
    said = console.asgard("checks", "report", "orders", "--json")
    assert (said.code, said.json["failed"], said.json["passed"]) == (4, 1, 1)
    page = page_of(Path(console.folder / said.json["file"]))
    texts = "\n".join(page.texts)
    assert "1 of 60 values of net is not at most 590" in texts
    assert "The last 3 loads: rows added" in texts
    assert page.tags.count("polyline") == 2
    without = console.asgard("checks", "report", "--rows", "0", "-o", "r.html")
    assert without.code == 4
    assert "Rows that fail" not in (console.folder / "r.html").read_text()


def test_the_checks_command_takes_tables_and_commands(console: Console) -> None:
    shop(console, checks=[{"not_null": "id"}])
    console.asgard("run")
    assert console.asgard("checks").code == 0
    assert console.asgard("checks", "orders", "--json").json == console.asgard("checks", "run", "--json").json
    assert console.asgard("checks", "nothing").code == 2
    assert "suggest" in console.asgard("checks", "--help").out
