"""Suites of Great Expectations, of 0.x and 1.x: read into checks, and written from checks.

Reference: https://docs.greatexpectations.io/docs/core/define_expectations/organize_expectation_suites
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from asgard.core.check import Check, OnFail
from asgard.core.errors import ConfigError
from asgard.quality.expectations import STATISTICS, WITHOUT_MANY, WITHOUT_PAIR, spec_of
from asgard.quality.kinds import PATTERNS
from asgard.quality.parameters import with_values
from asgard.quality.row_conditions import spark_condition
from asgard.quality.spec import CheckSpec, checks_of

SEVERITIES = ("critical", "warning", "info")
METRICS = {metric: kind for kind, metric in STATISTICS.items()}
FOREIGN = "asgard"
"""The key of an expectation's `meta` under which stands what Great Expectations has no word for."""


@dataclass(frozen=True)
class Suite:
    """A suite, read.

    Attributes:
        checks: what its expectations ask.
        refused: what could not be read, with the reason, one text an expectation.
    """

    name: str
    checks: tuple[Check, ...]
    refused: tuple[str, ...] = ()


def read_suite(document: Any, parameters: Mapping[str, Any], now: datetime) -> Suite:
    """The checks of a suite. What an expectation is refused for is told, and the others are read.

    Args:
        document: as its JSON says it.
        parameters: by name, what `$PARAMETER` refers to; goes before the suite's own.
        now: what now() means in a parameter.

    Raises:
        ConfigError: the document is no suite.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("expectations"), list):
        raise ConfigError("this is no suite: it has no list of expectations")
    own: Any = document.get("suite_parameters") or document.get("evaluation_parameters") or {}
    given: Any = parameters
    known: Mapping[str, Any] = ChainMap(given, own)  # not a copy: what is given may know every name
    name = document.get("name") or document.get("expectation_suite_name") or "suite"
    specs: list[CheckSpec] = []
    refused: list[str] = []
    for place, entry in enumerate(document["expectations"]):
        try:
            specs += _specs(entry, known, now)
        except ConfigError as error:
            refused.append(f"expectation {place}: {error.what}" + (f"; {error.hint}" if error.hint else ""))
    return Suite(str(name), checks_of(specs), tuple(refused))


def _specs(entry: Any, known: Mapping[str, Any], now: datetime) -> list[CheckSpec]:
    kind = entry.get("type") or entry.get("expectation_type") if isinstance(entry, Mapping) else None
    if not kind:
        raise ConfigError("has no type")
    meta = entry.get("meta") or {}
    own = meta.get(FOREIGN) if isinstance(meta, Mapping) else None
    kwargs = with_values(entry.get("kwargs") or {}, known, now)
    around = dict(own) if isinstance(own, Mapping) else {}
    severity = entry.get("severity")
    if severity in SEVERITIES and own is None:
        around = {"severity": severity} | ({} if severity == "critical" else {"on_fail": "warn"})
    made = []
    for spec in spec_of(str(kind), kwargs):
        try:
            made.append(CheckSpec.model_validate(spec | around))
        except ValidationError as error:
            said = "; ".join(line["msg"] for line in error.errors(include_url=False))
            raise ConfigError(f"{kind}: {said}") from error
    return made


def write_suite(name: str, checks: Sequence[Check], *, major: int = 1) -> tuple[dict[str, Any], list[str]]:
    """A suite document, and the names of the checks that Great Expectations has no expectation for.

    Args:
        major: 1, or 0 for the form of 0.x.
    """
    expectations, left_out = [], []
    for check in checks:
        found = expectation_of(check)
        if found is None:
            left_out.append(check.name)
            continue
        kind, kwargs = found
        entry: dict[str, Any] = {"type" if major else "expectation_type": kind, "kwargs": kwargs}
        entry["meta"] = {FOREIGN: _around(check)}
        if major:
            severe = check.severity in ("error", "critical")
            entry["severity"] = "critical" if severe else check.severity
        expectations.append(entry)
    meta = {"great_expectations_version": "1.3.0" if major else "0.18.22"}
    head = {"name": name} if major else {"expectation_suite_name": name, "data_asset_type": None}
    return {**head, "expectations": expectations, "meta": meta}, left_out


def _around(check: Check) -> dict[str, Any]:
    said = {"name": check.name, "severity": check.severity, "on_fail": str(check.on_fail)}
    plain = {"severity": "error", "on_fail": str(OnFail.STOP)}
    return {key: value for key, value in said.items() if plain.get(key) != value}


def expectation_of(check: Check) -> tuple[str, dict[str, Any]] | None:
    """The type and the arguments of the expectation that asks the same; None when there is none."""
    write = _WRITERS.get(check.kind)
    if write is None:
        return None
    found = write(check)
    if found is None:
        return None
    kind, kwargs = found
    if check.mostly < 1:
        kwargs["mostly"] = check.mostly
    if "where" in check.options:
        kwargs |= {"row_condition": spark_condition(check.options["where"]), "condition_parser": "spark"}
    return kind, kwargs


Written = tuple[str, dict[str, Any]] | None


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    names = {"min": "min_value", "max": "max_value", "strict_min": "strict_min", "strict_max": "strict_max"}
    return {to: options[name] for name, to in names.items() if name in options}


def _of_column(kind: str, **renamed: str) -> Callable[[Check], Written]:
    def write(check: Check) -> Written:
        (column,) = check.columns
        return kind, {"column": column, **{to: check.options[name] for name, to in renamed.items()}}

    return write


def _statistic(check: Check) -> Written:
    (column,), metric = check.columns, check.options["metric"]
    if check.options.get("outside"):
        return None
    limits = _limits(check.options)
    if metric == "quantile":
        ranges = {
            "quantiles": [check.options["quantile"]],
            "value_ranges": [[limits.get("min_value"), limits.get("max_value")]],
        }
        kwargs = {"column": column, "quantile_ranges": ranges}
        return ("expect_column_quantile_values_to_be_between", kwargs) if len(limits) <= 2 else None
    return (METRICS[metric], {"column": column, **limits}) if metric in METRICS else None


def _between(check: Check) -> Written:
    return "expect_column_values_to_be_between", {"column": check.columns[0], **_limits(check.options)}


def _patterns(check: Check) -> Written:
    (column,), how = check.columns, check.options["found"]
    patterns = check.options["patterns"]
    word = "regex" if check.kind == "regex" else "like_pattern"
    if how == "none":
        return f"expect_column_values_to_not_match_{word}_list", {"column": column, f"{word}_list": patterns}
    if len(patterns) == 1:
        return f"expect_column_values_to_match_{word}", {"column": column, word: patterns[0]}
    kwargs = {"column": column, f"{word}_list": patterns, "match_on": how}
    return f"expect_column_values_to_match_{word}_list", kwargs


def _matches(check: Check) -> Written:
    pattern = check.options["pattern"]
    whole = f"^(?:{PATTERNS.get(pattern, pattern)})$"
    return "expect_column_values_to_match_regex", {"column": check.columns[0], "regex": whole}


def _unique(check: Check) -> Written:
    if len(check.columns) == 1:
        return "expect_column_values_to_be_unique", {"column": check.columns[0]}
    kwargs = {"column_list": list(check.columns), "ignore_row_if": "any_value_is_missing"}
    return "expect_compound_columns_to_be_unique", kwargs


def _no_duplicates(check: Check) -> Written:
    if len(check.columns) < 2:
        return None
    kwargs = {"column_list": list(check.columns), "ignore_row_if": "never"}
    return "expect_compound_columns_to_be_unique", kwargs


def _two(check: Check) -> dict[str, Any]:
    words = {without: word for word, without in WITHOUT_PAIR.items()}
    left, right = check.columns
    return {"column_A": left, "column_B": right, "ignore_row_if": words[check.options["without"]]}


def _compare(check: Check) -> Written:
    two, sign = _two(check), check.options["sign"]
    if sign in ("<", "<="):
        two |= {"column_A": two["column_B"], "column_B": two["column_A"]}
    if sign == "=":
        return "expect_column_pair_values_to_be_equal", two
    if sign == "!=":
        return None
    return "expect_column_pair_values_a_to_be_greater_than_b", {**two, "or_equal": "=" in sign}


def _many(check: Check) -> dict[str, Any]:
    words = {without: word for word, without in WITHOUT_MANY.items()}
    return {"column_list": list(check.columns), "ignore_row_if": words[check.options["without"]]}


def _columns(check: Check) -> Written:
    options, names = check.options, list(check.columns)
    if options["in_order"]:
        return "expect_table_columns_to_match_ordered_list", {"column_list": names}
    if len(names) == 1 and not options["exactly"]:
        place = {} if options["at"] is None else {"column_index": options["at"]}
        return "expect_column_to_exist", {"column": names[0], **place}
    return "expect_table_columns_to_match_set", {"column_set": names, "exact_match": options["exactly"]}


def _bounded(kind: str) -> Callable[[Check], Written]:
    def write(check: Check) -> Written:
        if {"change", "outside", "strict_min", "strict_max"} & set(check.options):
            return None
        return kind, _limits(check.options)

    return write


def _distinct(check: Check) -> Written:
    word = {"among": "be_in", "all": "contain", "exactly": "equal"}[check.options["are"]]
    kwargs = {"column": check.columns[0], "value_set": check.options["values"]}
    return f"expect_column_distinct_values_to_{word}_set", kwargs


def _outliers(check: Check) -> Written:
    kwargs = {"column": check.columns[0], "threshold": check.options["below"]}
    sided = not check.options["one_sided"]
    return "expect_column_value_z_scores_to_be_less_than", {**kwargs, "double_sided": sided}


def _json(check: Check) -> Written:
    if "schema" not in check.options:
        return "expect_column_values_to_be_json_parseable", {"column": check.columns[0]}
    kwargs = {"column": check.columns[0], "json_schema": check.options["schema"]}
    return "expect_column_values_to_match_json_schema", kwargs


def _query(check: Check) -> Written:
    if {"min", "max"} & set(check.options):
        return None
    return "unexpected_rows_expectation", {
        "unexpected_rows_query": check.options["sql"].replace("{table}", "{batch}")
    }


def _column_type(check: Check) -> Written:
    if not check.options["types"]:
        return None
    kwargs = {"column": check.columns[0], "type_list": check.options["types"]}
    return "expect_column_values_to_be_in_type_list", kwargs


_WRITERS: dict[str, Callable[[Check], Written]] = {
    "not_null": _of_column("expect_column_values_to_not_be_null"),
    "is_null": _of_column("expect_column_values_to_be_null"),
    "unique": _unique,
    "no_duplicates": _no_duplicates,
    "between": _between,
    "non_negative": lambda check: (
        "expect_column_values_to_be_between",
        {"column": check.columns[0], "min_value": 0},
    ),
    "accepted_values": _of_column("expect_column_values_to_be_in_set", values="value_set"),
    "rejected_values": _of_column("expect_column_values_to_not_be_in_set", values="value_set"),
    "distinct_values": _distinct,
    "most_common": _of_column(
        "expect_column_most_common_value_to_be_in_set", values="value_set", ties="ties_okay"
    ),
    "matches": _matches,
    "regex": _patterns,
    "like": _patterns,
    "length": lambda check: (
        "expect_column_value_lengths_to_be_between",
        {"column": check.columns[0], **_limits(check.options)},
    ),
    "time_format": _of_column("expect_column_values_to_match_strftime_format", format="strftime_format"),
    "is_json": _json,
    "compare": _compare,
    "pair_values": lambda check: (
        "expect_column_pair_values_to_be_in_set",
        {**_two(check), "value_pairs_set": check.options["values"]},
    ),
    "different": lambda check: ("expect_select_column_values_to_be_unique_within_record", _many(check)),
    "sum_of": lambda check: (
        "expect_multicolumn_sum_to_equal",
        {**_many(check), "sum_total": check.options["equals"]},
    ),
    "outliers": _outliers,
    "columns": _columns,
    "column_count": _bounded("expect_table_column_count_to_be_between"),
    "column_type": _column_type,
    "row_count": _bounded("expect_table_row_count_to_be_between"),
    "same_row_count": lambda check: (
        "expect_table_row_count_to_equal_other_table",
        {"other_table_name": check.options["to"]},
    ),
    "statistic": _statistic,
    "query": _query,
}
