"""Data contracts: what is read is asked, what is refused is named, what is written is read back as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import ConfigError
from asgard.quality.entries import entry_of
from asgard.quality.odcs import read_contract
from asgard.quality.odcs_writing import Heading, write_contract
from asgard.quality.spec import CheckSpec
from tests.quality.ground import NOW, Ground, checks
from tests.quality.test_quarantine import test_every_kind_sets_rows_aside as every_kind

HEAD = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "c", "version": "1.0.0", "status": "active"}
COUNT = "SELECT count(*) FROM"
TABLE = pa.table(
    {
        "id": pa.array([1, 2, 2], pa.int64()),
        "status": ["new", "paid", None],
        "amount": pa.array([1.0, -5.0, None], pa.float64()),
        "at": pa.array([NOW, NOW, None], pa.timestamp("us", "UTC")),
    }
)


def typed(name: str, logical: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": logical, "logicalTypeOptions": options}


def contract(*properties: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A contract of one table."""
    rules = {"quality": keys.pop("rules")} if "rules" in keys else {}
    schema = [{"name": "orders", "physicalName": "t_orders", "properties": list(properties), **rules}]
    return {**HEAD, "schema": schema, **keys}


def failed(ground: Ground, document: dict[str, Any]) -> list[str]:
    found = read_contract(document, "orders")
    return [r.check.name for r in ground.verdict(found.checks, TABLE).results if not r.passed]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ({"name": "id", "logicalType": "integer", "required": True}, []),
        ({"name": "ID number", "physicalName": "id", "unique": True}, ["unique(id)"]),
        ({"name": "id", "primaryKey": True}, ["unique(id)"]),
        ({"name": "status", "required": True}, ["not_null(status)"]),
        ({"name": "id", "logicalType": "string"}, ["column_type(id)"]),
        ({"name": "gone"}, ["columns(gone)"]),
        (typed("status", "string", maxLength=3), ["length(status)"]),
        ({"name": "status", "physicalType": "varchar(3)"}, ["length(status)"]),
        (typed("status", "string", pattern="^n"), ["regex(status)"]),
        (typed("status", "string", format="email"), ["matches(status)"]),
        (typed("amount", "number", minimum=0), ["minimum(amount)"]),
        (typed("amount", "number", exclusiveMaximum=1),
         ["exclusiveMaximum(amount)"]),
        (typed("id", "integer", multipleOf=2), ["multipleOf(id)"]),
        ({"name": "id", "logicalType": "integer", "physicalType": "tinyint"}, []),
        (typed("at", "timestamp", maximum="2020-01-01"),
         ["maximum(at)"]),
    ],
)  # fmt: skip
def test_columns_of_a_contract(ground: Ground, column: dict[str, Any], names: list[str]) -> None:
    assert failed(ground, contract(column)) == names


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ({"metric": "nullValues", "mustBe": 0}, True),
        ({"metric": "nullValues", "mustBeLessThan": 2}, False),
        ({"metric": "nullValues", "mustBeLessThan": 33, "unit": "percent"}, True),
        ({"metric": "nullValues", "mustBeGreaterThan": 0}, False),
        ({"metric": "nullValues", "mustNotBe": 1}, True),
        ({"metric": "nullValues", "mustBeBetween": [0, 1]}, False),
        ({"metric": "nullValues", "mustNotBeBetween": [1, 2]}, True),
        ({"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [None, "new"]}}, True),
        ({"metric": "missingValues", "mustBe": 2, "arguments": {"missingValues": [None, "new"]}}, False),
        ({"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["new"]}}, True),
        ({"metric": "invalidValues", "mustBeLessOrEqualTo": 1, "arguments": {"pattern": "^n"}}, False),
        ({"rule": "duplicateCount", "mustBe": 0}, False),
        ({"type": "sql", "query": f"{COUNT} ${{table}} WHERE ${{column}} = 'new'", "mustBe": 1}, False),
        ({"type": "sql", "query": f"{COUNT} t_orders o WHERE o.status = 'x'", "mustNotBe": 0}, True),
        ({"type": "custom", "engine": "great-expectations", "implementation":
          {"type": "ExpectColumnValuesToBeInSet", "kwargs": {"column": "status", "value_set": ["new"]}}},
         True),
        ({"type": "custom", "engine": "asgard", "implementation": {"not_null": "id"}}, False),
        ({"type": "text", "description": "should be nice"}, False),
    ],
)  # fmt: skip
def test_rules_of_a_column(ground: Ground, rule: dict[str, Any], fails: bool) -> None:
    assert bool(failed(ground, contract({"name": "status", "quality": [rule]}))) is fails


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ({"metric": "rowCount", "mustBe": 3}, False),
        ({"metric": "rowCount", "mustBeGreaterThan": 3}, True),
        ({"metric": "rowCount", "mustBeGreaterOrEqualTo": 4}, True),
        ({"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["id"]}}, True),
        ({"metric": "duplicateValues", "mustBe": 2, "arguments": {"properties": ["id"]}}, False),
    ],
)
def test_rules_of_a_table(ground: Ground, rule: dict[str, Any], fails: bool) -> None:
    assert bool(failed(ground, contract(rules=[rule]))) is fails


def test_a_rule_that_is_no_error_only_warns() -> None:
    rules = [{"metric": "rowCount", "mustBe": 1, "severity": word} for word in ("info", "warning", "error")]
    found = read_contract(contract(rules=rules), "orders").checks
    assert [(c.severity, str(c.on_fail)) for c in found] == [
        ("info", "warn"), ("warning", "warn"), ("error", "stop"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"type": "custom", "engine": "soda", "implementation": "x"}, "a custom rule of the engine soda"),
        ({"metric": "nullValues"}, "needs one of mustBe"),
        ({"metric": "nullValues", "mustBe": 0, "mustNotBe": 1}, "needs one of mustBe"),
        ({"metric": "freshness", "mustBe": 0}, "the metric 'freshness' is not known"),
        ({"metric": "rowCount", "mustBe": 0}, "rowCount is of a table"),
        ({"metric": "invalidValues", "mustBe": 0}, "needs either arguments.validValues"),
        ({"type": "sql", "query": "SELECT 1 FROM secrets", "mustBe": 1}, "may read {table} alone"),
        ({"type": "sql", "query": "SELECT FROM WHERE", "mustBe": 1}, "is no SQL"),
        ({"type": "guess", "mustBe": 1}, "a rule of the type 'guess'"),
    ],
)
def test_rules_that_are_refused_are_named_with_their_place(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_contract(contract({"name": "status", "quality": [rule]}), "orders")
    assert said in caught.value.what
    assert "orders.status.quality[0]" in caught.value.what


def test_every_fault_is_told_at_once() -> None:
    bad = {"type": "custom", "engine": "soda", "implementation": "x"}
    with pytest.raises(ConfigError) as caught:
        read_contract(contract({"name": "id", "quality": [bad, bad]}, rules=[bad]), "orders")
    assert len(caught.value.what.splitlines()) == 3


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "no kind: DataContract"),
        ("text", "no kind: DataContract"),
        ({**HEAD, "apiVersion": "v2.2.2"}, "v2.2.2, which is not known"),
        ({**HEAD, "id": ""}, "has no id"),
        (HEAD, "has no table, and none of them is orders"),
        ({**HEAD, "schema": [{"name": "a"}, {"name": "b"}]}, "has a, b, and none of them is orders"),
    ],
)
def test_what_is_no_contract_of_the_table(document: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_contract(document, "orders")
    assert said in caught.value.what


def test_freshness_of_the_sla(ground: Ground) -> None:
    document = contract({"name": "at"}, slaDefaultElement="orders.at")
    stale = {"property": "latency", "value": 1, "unit": "h", "element": "t_orders.at"}
    document["slaProperties"] = [stale, {"property": "retention", "value": 3}, {**stale, "element": "b.at"}]
    found = read_contract(document, "orders")
    assert [c.options for c in found.checks if c.kind == "fresh"] == [{"within_seconds": 3600}]
    assert found.notes == (
        "slaProperties[1]: retention is for people",
        "slaProperties[2]: b.at is of another table",
    )
    assert failed(ground, document) == []
    with pytest.raises(ConfigError, match=r"the column orders\.gone of latency"):
        read_contract({**document, "slaProperties": [{**stale, "element": "orders.gone"}]}, "orders")


def test_what_is_written_is_read_as_it_was() -> None:
    asked = checks(
        {"not_null": ["id", "status"]},
        {"unique": "id"},
        {"accepted_values": {"column": "status", "values": ["new", "paid"]}},
        {"row_count": {"min": 1, "max": 10}},
        {"between": {"column": "amount", "min": 0}, "on_fail": "quarantine"},
        {"unique": "status", "where": "amount > 0"},
        {"fresh": {"column": "at", "within": "90m"}},
    )
    heading = Heading("id", "orders", "bronze.shop.orders", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    document = write_contract(heading, TABLE.schema, asked)
    found = read_contract(document, "bronze.shop.orders")
    named = {check.name: check for check in found.checks}
    for check in asked:
        again = named["latency(at)"] if check.kind == "fresh" else named[check.name]
        assert (again.kind, again.columns, again.options) == (check.kind, check.columns, check.options)
        assert (again.mostly, again.on_fail) == (check.mostly, check.on_fail)
    added = {check.kind for check in found.checks} - {check.kind for check in asked}
    assert added == {"columns", "column_type"}


def test_every_kind_can_be_written_as_people_write_it() -> None:
    (mark,) = every_kind.pytestmark
    for spec, _, _ in mark.args[1]:
        for check in CheckSpec.model_validate(spec).checks():
            (again,) = CheckSpec.model_validate(entry_of(check)).checks()
            assert again == check
