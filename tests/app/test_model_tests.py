"""Tests of models: what passes, what fails and how that reads, and mistakes in their files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from asgard.app.models.model_tests import TestResult as Result
from asgard.app.models.model_tests import run_tests
from asgard.core.errors import ConfigError
from tests.cli.console import Console
from tests.flow.lab import Lab

PAID = """
unit_tests:
  - name: only paid orders count
    model: orders
    given:
      - input: bronze.shop.orders
        rows:
          - {id: 1, amount: 10.10, paid: true}
          - {id: 2, amount: 0.30, paid: true}
          - {id: 3, amount: 99, paid: false}
    expect:
      rows:
        - {total: 10.40}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    columns = {"id": pa.int64(), "amount": pa.decimal128(12, 2), "paid": pa.bool_()}
    rows = [{"id": 1, "amount": Decimal("1.00"), "paid": True}]
    lab.load("shop.orders", pa.Table.from_pylist(rows, schema=pa.schema(columns.items())))
    lab.model(
        "silver.orders", "SELECT sum(amount) AS total, count(*) AS n FROM bronze.shop.orders WHERE paid"
    )
    return lab


def outcomes(lab: Lab, text: str, *names: str) -> list[Result]:
    path = lab.folder / "models" / "tests" / "orders.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(run_tests(lab.workspace(), names))


def test_decimals_stay_decimals_and_unnamed_columns_are_not_looked_at(lab: Lab) -> None:
    (result,) = outcomes(lab, PAID)
    assert result.passed, result.as_dict()


def test_a_difference_is_told_row_by_row(lab: Lab) -> None:
    (result,) = outcomes(lab, PAID.replace("total: 10.40", "total: 10.41, n: 2"))
    assert result.as_dict() == {
        "test": "only paid orders count",
        "model": "orders",
        "place": "models/tests/orders.yml:3:5",
        "passed": False,
        "missing": [{"total": "10.41", "n": "2"}],
        "unexpected": [{"total": "10.40", "n": "2"}],
    }


def test_rows_come_in_any_order_and_as_often_as_they_are_expected(lab: Lab) -> None:
    lab.model("silver.names", "SELECT name, seen FROM bronze.crm.people WHERE name IS NOT NULL")
    text = """
- name: names
  model: silver.names
  given:
    - input: source('crm', 'people')
      columns: {name: VARCHAR, seen: TIMESTAMPTZ}
      rows: [{name: b, seen: 2026-01-01T00:00:00Z}, {name: a}, {name: a}, {name: null}]
  expect:
    rows: [{name: a}, {name: b, seen: 2026-01-01T01:00:00+01:00}%s]
"""
    (result,) = outcomes(lab, text % ", {name: a, seen: null}")
    assert result.passed, result.as_dict()
    (result,) = outcomes(lab, text % "")
    assert (result.missing, result.unexpected) == ((), (("a", "NULL"),))


def test_nothing_may_be_expected(lab: Lab) -> None:
    lab.model("silver.none", "SELECT id, tags FROM bronze.shop.tagged WHERE id < 0")
    text = """
- {name: none, model: none, given: [{input: tagged, rows: [{id: 1, tags: [a, b]}]}], expect: {rows: []}}
- {name: some, model: none, given: [{input: tagged, rows: [{id: -1, tags: [a, b]}]}], expect: {rows: []}}
"""
    none, some = outcomes(lab, text, "silver.none")
    assert none.passed
    assert some.unexpected == (("-1", "['a', 'b']"),)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            ("bronze.shop.orders", "bronze.shop.people"),
            "the model does not read bronze.shop.people; it reads",
        ),
        (("model: orders", "model: order"), "there is no model order; did you mean"),
        (("id: 1,", "ident: 1,"), "bronze.shop.orders has no column ident; it has id, amount, paid"),
        (("amount: 99", "amount: much"), "bronze.shop.orders.amount: "),
        (("total: 10.40", "sum: 1"), "the model makes no column sum; it makes total, n"),
    ],
)
def test_what_cannot_run_fails(lab: Lab, change: tuple[str, str], error: str) -> None:
    (result,) = outcomes(lab, PAID.replace(*change))
    assert not result.passed
    assert error in result.error


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (
            ("model: orders", "modle: orders"),
            r"orders\.yml:4:5: modle is not a key of a test; did you mean model",
        ),
        (("expect:", "wanted:"), "wanted is not a key of a test"),
        (("input:", "inputs:"), "given needs input"),
        (("unit_tests:", "tests:"), "tests are a list, or stand below unit_tests"),
    ],
)
def test_mistakes_have_their_place(lab: Lab, change: tuple[str, str], mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake):
        outcomes(lab, PAID.replace(*change))


def test_a_name_that_means_nothing_is_a_mistake(lab: Lab) -> None:
    with pytest.raises(ConfigError, match=r"there is no test 'gold\.revenue'"):
        outcomes(lab, PAID, "gold.revenue")


def test_as_a_person_types_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(lab.folder, monkeypatch, capsys)
    console.write("models/tests/orders.yml", PAID)
    said = console.asgard("models", "test")
    assert (said.code, said.out.split()) == (0, ["passed", "orders", *["only", "paid", "orders", "count"]])
    console.write("models/tests/orders.yml", PAID.replace("10.40", "9"))
    said = console.asgard("models", "test", "orders")
    assert said.code == 4
    assert "- expected  9.00" in said.out
    assert "+ got       10.40" in said.out
    assert console.asgard("models", "test", "--json").json[0]["missing"] == [{"total": "9.00"}]
    assert "silver.orders" in console.asgard("models").out
