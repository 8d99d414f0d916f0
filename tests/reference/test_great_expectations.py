"""Great Expectations' own cases of its rules: every one is run, and those that differ are named."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asgard.core.errors import AsgardError
from asgard.quality.expectations import EXPECTATIONS, REFUSED, type_name
from asgard.quality.suites import Suite, read_suite, write_suite
from tests.quality.ground import Ground

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
CASES = [
    ("expect_column_max_to_be_between", 10),
    ("expect_column_mean_to_be_between", 15),
    ("expect_column_values_to_be_between", 31),
    ("expect_column_values_to_be_in_set", 14),
    ("expect_column_values_to_be_unique", 12),
    ("expect_column_values_to_match_regex", 22),
    ("expect_column_values_to_not_be_null", 7),
]

TEXT = "a column of several types is text here, and its texts are compared as the numbers that they are"
DIFFERENT = {
    "expect_column_max_to_be_between/datetime_sqlite": "texts are compared as texts, and a space is no T",
    "expect_column_mean_to_be_between/simple_mean_positive_range_decimal_type": "means are exact: 1.67875",
    "expect_column_values_to_be_between/error:_improperly_mixed_types": TEXT,
    "expect_column_values_to_be_between/error:_improperly_mixed_types_again": TEXT,
    "expect_column_values_to_be_between/error:_improperly_mixed_types_once_more": TEXT,
    "expect_column_values_to_be_between/error_on_string-to-int_comparisons": TEXT,
    "expect_column_values_to_be_between/test_conditional_expectation_fails": "a column of several types is "
    "text here; in a row_condition, to compare it with a number is an error of the data",
    "expect_column_values_to_be_unique/negative_case_all_null_values_bigquery_nones": "for BigQuery alone, "
    "where their loader writes the text None for a missing value",
}
"""`file/title`, and why it is other here; docs/how-to/great-expectations.md says it, too."""


def _cases(reference: Path, kind: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    path = reference / "great_expectations" / "test_definitions" / f"{kind}.json"
    for dataset in json.loads(path.read_text())["datasets"]:
        for case in dataset.get("tests", ()):
            yield f"{kind}/{case['title']}", dataset["data"], case


def _column(values: list[Any], empty: pa.DataType) -> pa.Array:
    """As it would be loaded: one type a column; what is of several types is text."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.array(values, empty)
    if kinds <= {int, float} and kinds != {int}:
        return pa.array(values, pa.float64())
    if len(kinds) <= 1:
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values])


def _outcome(ground: Ground, kind: str, data: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """What is said here: success, what was observed, the unexpected values; or the error."""
    empty = pa.float64() if "_m" in kind.partition("column")[2][:3] else pa.string()
    table = pa.table({name: _column(values, empty) for name, values in data.items()})
    suite = read_suite({"expectations": [{"type": kind, "kwargs": case["in"]}]}, {}, NOW)
    if suite.refused:
        return {"error": suite.refused[0]}
    try:
        verdict = ground.verdict(suite.checks, table)
        _, bad = ground.parted(suite.checks, table)
    except AsgardError as error:
        return {"error": error.what}
    (result,) = verdict.results
    name = case["in"]["column"]
    return {
        "success": result.passed,
        "observed_value": result.observed,
        "unexpected_list": bad.column(name).to_pylist() if result.failed_rows is not None else None,
    }


def _same(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    if "traceback_substring" in expected or "error" in expected:
        return "error" in found
    if "error" in found or expected["success"] != found["success"]:
        return False
    if "observed_value" in expected and expected["observed_value"] != found["observed_value"]:
        return False
    wanted = expected.get("unexpected_list")
    return wanted is None or sorted(map(str, wanted)) == sorted(map(str, found["unexpected_list"]))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.mark.parametrize(("kind", "count"), CASES)
def test_each_case_is_as_theirs_or_named(reference: Path, tmp_path: Path, kind: str, count: int) -> None:
    cases = list(_cases(reference, kind))
    differing = {}
    for place, (title, data, case) in enumerate(cases):
        folder = tmp_path / str(place)
        folder.mkdir()
        expected = {**case["out"], **({"error": True} if "error" in case else {})}
        found = _outcome(Ground(folder), kind, data, case)
        if not _same(expected, found):
            differing[title] = (expected, found)
    named = {title for title in DIFFERENT if title.startswith(f"{kind}/")}
    assert set(differing) == named, {t: d for t, d in differing.items() if t not in named}
    assert len(cases) == count


def test_every_expectation_that_they_have_is_read_or_refused(reference: Path) -> None:
    schemas = sorted((reference / "great_expectations" / "schemas").glob("*.json"))
    assert len(schemas) == 48
    names = {type_name(path.stem) for path in schemas}
    assert names <= {*EXPECTATIONS, *REFUSED}
    assert names & set(REFUSED) == {"expect_column_kl_divergence_to_be_less_than"}


def _titanic(reference: Path) -> tuple[pa.Table, dict[str, Any], dict[str, Any]]:
    folder = reference / "great_expectations" / "titanic"
    with (folder / "Titanic.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0] if name}
    ages = [None if age in ("", "NA") else Decimal(age) for age in columns.pop("Age")]
    table = pa.table({**columns, "Age": pa.array(ages, pa.decimal128(10, 4))})
    suite = json.loads((folder / "titanic_expectations.json").read_text())
    return (
        table,
        suite,
        json.loads((folder / "titanic_expected_data_asset_validate_results.json").read_text()),
    )


def test_titanic(reference: Path, ground: Ground) -> None:
    table, document, expected = _titanic(reference)
    suite = read_suite(document, {}, NOW)
    assert not suite.refused
    entries = zip(document["expectations"], suite.checks, strict=True)
    results = ground.verdict(suite.checks, table).results
    found = {(e["type"], e["kwargs"]["column"]): r for (e, _), r in zip(entries, results, strict=True)}
    for theirs in expected["results"]:
        config, result = theirs["expectation_config"], theirs["result"]
        ours = found[config["expectation_type"], config["kwargs"]["column"]]
        assert ours.passed is theirs["success"]
        if "unexpected_count" in result:
            assert ours.failed_rows == result["unexpected_count"]
            assert ours.rows == result["element_count"] - result["missing_count"]
        elif "observed_value" in result:
            assert ours.observed == pytest.approx(result["observed_value"], rel=1e-15)


@pytest.mark.parametrize("major", [0, 1])
def test_what_is_written_is_read_as_it_was(reference: Path, major: int) -> None:
    _, document, _ = _titanic(reference)
    suite = read_suite(document, {}, NOW)
    written, left_out = write_suite("titanic", suite.checks, major=major)
    assert not left_out
    assert read_suite(written, {}, NOW) == suite


def test_parameters_of_other_validations(reference: Path) -> None:
    folder = reference / "great_expectations" / "suites"
    urn = "urn:great_expectations:validations:source_patient_data.default:"
    rows = f"{urn}expect_table_row_count_to_equal.result.observed_value"
    document = json.loads((folder / "parameterized_expression_expectation_suite_fixture.json").read_text())
    suite: Suite = read_suite(document, {rows: 1313}, NOW)
    assert not suite.refused
    (check,) = suite.checks
    assert (check.options["min"], check.options["max"]) == (1181, 1444)
    unknown = read_suite(document, {}, NOW)
    assert f"the parameter {rows} is not known" in unknown.refused[0]
