"""Contracts of models: columns and types, what a table promises, and what a plan says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.app.checks.contract_files import ContractFile
from asgard.app.checks.contracted_tables import check_contracts, contract_of_table, named_contracts
from asgard.app.config.text_files import yaml_of
from asgard.app.models.plan import Plan, plan
from asgard.app.runs.runs import RunWish, run
from asgard.core.errors import ConfigError, SchemaChanged
from asgard.core.stream import Mode
from asgard.flow.outcome import Outcome
from asgard.quality.odcs import read_contract
from tests.flow.lab import Lab, orders

PLAIN = "SELECT id, customer, amount FROM bronze.shop.orders"
MORE = "SELECT id, customer, amount, amount * 2 AS twice FROM bronze.shop.orders"
LESS = "SELECT id, customer FROM bronze.shop.orders"
WIDER = "SELECT id, customer, amount::DECIMAL(22, 2) AS amount FROM bronze.shop.orders"
TEXT = "SELECT id, customer, amount::VARCHAR AS amount FROM bronze.shop.orders"
HALF = "SELECT id, customer, (amount + (id % 2) / 2)::DECIMAL(9, 1) AS amount FROM bronze.shop.orders"
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: customer, logicalType: integer, required: true}
      - {name: amount, logicalType: integer, logicalTypeOptions: {minimum: 0}}
"""
KEPT: dict[str, Any] = {"contract": "contracts/orders.odcs.yaml"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 4, amount=4))
    promise(lab, CONTRACT)
    return lab


def promise(lab: Lab, text: str) -> None:
    file = lab.folder / "contracts" / "orders.odcs.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def built(lab: Lab) -> Outcome:
    (outcome,) = run(lab.workspace(), RunWish(), lambda event: None).outcomes
    return outcome


def failed(lab: Lab) -> str:
    """What a build says that does nothing."""
    before = lab.rows("silver.orders")
    outcome = built(lab)
    assert outcome.error is not None
    assert outcome.error.hint
    assert lab.rows("silver.orders") == before
    return outcome.error.what


def planned(lab: Lab) -> Plan:
    return plan(lab.workspace())


@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"mode": "append"},
        {"mode": "merge", "primary_key": "id"},
        {"mode": "history", "primary_key": "id"},
    ],
)
@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (MORE, "schema_contract freezes columns: twice: is new, int64"),
        (LESS, "schema_contract freezes columns: amount: does not come any more"),
        (TEXT, "schema_contract freezes types: amount: the table has int64, string comes"),
    ],
)
def test_what_is_frozen_stops_the_build_and_the_plan_says_so(
    lab: Lab, mode: dict[str, Any], sql: str, what: str
) -> None:
    lab.model("silver.orders", PLAIN, schema_contract="freeze", **mode)
    lab.run()
    lab.model("silver.orders", sql, schema_contract="freeze", **mode)
    (one,) = planned(lab).blocked
    assert one.blocked == what
    assert planned(lab).is_refused
    assert failed(lab) == what


@pytest.mark.parametrize(
    "mode",
    [{"mode": "append"}, {"mode": "merge", "primary_key": "id"}, {"mode": "history", "primary_key": "id"}],
)
def test_evolve_lets_columns_come_and_go_and_types_become_wider(lab: Lab, mode: dict[str, Any]) -> None:
    front = {"schema_contract": "evolve", **mode}
    lab.model("silver.orders", PLAIN, **front)
    lab.run()
    changes: list[tuple[str, dict[str, Any]]] = [
        (MORE, {"added": ["twice"]}),
        (LESS, {"missing": ["amount", "twice"]}),
        (WIDER, {"rewritten": {"amount": ["int64", "decimal128(22, 2)"]}}),
    ]
    for number, (sql, change) in enumerate(changes):
        lab.model("silver.orders", sql, **front)
        lab.load("shop.orders", orders(9 + number))
        outcome = built(lab)
        assert outcome.error is None
        told = outcome.schema_changes()
        assert {key: told[key] for key in change} == change
    schema = lab.workspace().table("silver.orders").schema()
    assert schema.field("amount").type == pa.decimal128(22, 2)
    assert "twice" in schema.names


def test_values_that_do_not_fit_are_left_out_or_set_aside(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, mode="merge", primary_key="id")
    lab.run()
    lab.model("silver.orders", TEXT, mode="merge", primary_key="id", schema_contract="discard_value")
    assert built(lab).discarded == {"amount": {"values": 3}}, "a column of text has no number"
    by_row = {"columns": "freeze", "types": "discard_row"}
    lab.model("silver.orders", HALF, mode="append", schema_contract=by_row)
    outcome = built(lab)
    assert outcome.error is None
    assert outcome.discarded == {"amount": {"rows": 1}}
    assert outcome.commits[0].quarantined == 1
    assert planned(lab).models[0].reasons == ()


def test_a_contract_is_asked_of_every_build(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, **KEPT)
    assert all(result.passed for result in built(lab).checks)
    lab.load("shop.orders", orders(4, amount=-1))
    assert "amount" in failed(lab)
    lab.model("silver.orders", LESS, **KEPT)
    (one,) = planned(lab).blocked
    assert one.blocked.startswith("its contract: ")
    assert "amount" in one.blocked
    lab.model("silver.orders", TEXT, **KEPT)
    (one,) = planned(lab).blocked
    assert "amount" in one.blocked


def test_a_changed_contract_is_a_reason_and_breaking_where_a_promise_goes(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, **KEPT)
    lab.run()
    assert planned(lab).building == ()
    promise(lab, CONTRACT.replace("minimum: 0", "minimum: 1"))
    (one,) = planned(lab).building
    assert [str(reason.why) for reason in one.reasons] == ["contract"]
    assert one.reasons[0].text == "what its contract promises changed: 1 came, 1 went"
    assert (one.breaking, one.because) == (True, "its contract no longer promises between(amount)")
    promise(lab, CONTRACT.replace("required: true", "required: true, unique: true"))
    assert not planned(lab).is_breaking
    assert "customer" in failed(lab), "customers come twice"
    promise(lab, CONTRACT.replace(", required: true", ""))
    assert planned(lab).building[0].because == "its contract no longer promises not_null(customer)"
    assert lab.actions() == {"silver.orders": "whole"}
    assert planned(lab).building == ()


def test_an_increment_after_a_changed_contract_is_what_the_plan_says(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, mode="append", incremental=True, **KEPT)
    lab.run()
    lab.load("shop.orders", orders(7))
    assert planned(lab).building[0].action == "increment"
    promise(lab, CONTRACT.replace("minimum: 0", "minimum: 0, maximum: 9"))
    (one,) = planned(lab).building
    assert (one.action, one.mode, one.whole_because) == ("whole", Mode.REPLACE, "the model was changed")
    outcome = built(lab)
    assert (outcome.about["action"], outcome.rows_read) == ("whole", one.rows)
    assert lab.rows("silver.orders") == lab.asked(PLAIN)


def test_another_rule_for_drift_builds_nothing(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN)
    lab.run()
    lab.model("silver.orders", PLAIN, schema_contract="freeze")
    assert planned(lab).building == ()


@pytest.mark.parametrize(
    ("front", "what"),
    [
        ({"schema_contract": "frozen"}, "schema_contract: is 'frozen', must be one of evolve, freeze"),
        ({"schema_contract": {"tables": "freeze"}}, "tables are for sources: a model makes one table"),
        ({"schema_contract": {"rows": "freeze"}}, "rows"),
        ({"schema_contract": "discard_row", "mode": "history", "primary_key": "id"}, "would end their keys"),
        ({"contract": "contracts/none.yaml"}, "contract: contracts/none.yaml"),
        ({"contract": 3}, "contract"),
        ({"mode": "hystory"}, "must be replace, append, merge or history; did you mean history?"),
    ],
)
def test_wrong_words_are_told_with_their_place(lab: Lab, front: dict[str, Any], what: str) -> None:
    lab.model("silver.orders", PLAIN, **front)
    with pytest.raises(ConfigError) as caught:
        planned(lab)
    assert caught.value.what.startswith("models/silver/orders.sql")
    assert what in caught.value.what


def test_a_contract_that_was_written_of_a_models_table_is_kept_by_it(lab: Lab) -> None:
    """There and back: what is written, read again, asks the same, and is the model's own contract then."""
    front: dict[str, Any] = {"mode": "merge", "primary_key": "id"}
    lab.model("silver.orders", PLAIN, **front, checks=[{"not_null": "amount"}, {"non_negative": "amount"}])
    lab.run()
    document = contract_of_table(lab.workspace(), "silver.orders")
    promise(lab, yaml_of(document))
    lab.model("silver.orders", PLAIN, **front, **KEPT)
    assert named_contracts(lab.workspace()) == [ContractFile("silver.orders", KEPT["contract"])]
    names = {result.check.name for result in built(lab).checks}
    assert {"unique(id)", "not_null(amount)", "non_negative(amount)", "column_type(id)"} <= names
    answers = list(check_contracts(lab.workspace(), []))
    assert {name for name, _ in answers} == {"silver.orders"}
    assert all(result.passed for _, result in answers)
    again = contract_of_table(lab.workspace(), "silver.orders")
    asked = [{check.name for check in read_contract(one, "orders").checks} for one in (document, again)]
    assert asked[0] == asked[1]
    assert again["schema"][0]["quality"] == document["schema"][0]["quality"]


def test_a_build_of_everything_takes_what_comes_as_it_is(lab: Lab) -> None:
    lab.model("silver.orders", PLAIN, schema_contract="freeze")
    lab.run()
    lab.model("silver.orders", LESS, schema_contract="freeze")
    assert isinstance(built(lab).error, SchemaChanged)
    lab.run(full=True)
    assert lab.rows("silver.orders") == lab.asked(LESS)
