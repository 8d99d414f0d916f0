"""Expectations of Great Expectations, 0.x and 1.x, as checks: what each type means here, or why it does not.

An expectation becomes an entry of `checks:` as it would be written in asgard.yml, so that people can read
what is asked in their suite's place. What cannot be asked exactly is refused by its name, with the reason.

Reference: https://greatexpectations.io/expectations/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asgard.core.errors import ConfigError
from asgard.quality.row_conditions import condition_sql
from asgard.quality.types import is_known_type

Keywords = Mapping[str, Any]
Spec = dict[str, Any]

TYPES = {
    **dict.fromkeys(("int", "integer", "int64", "bigint", "long", "longtype", "int_"), "bigint"),
    **dict.fromkeys(("int32", "integertype"), "int"),
    **dict.fromkeys(("int16", "shorttype"), "smallint"),
    **dict.fromkeys(("int8", "bytetype"), "tinyint"),
    **dict.fromkeys(("float", "float64", "double", "doubletype", "float_", "double_precision"), "double"),
    **dict.fromkeys(("float32", "floattype"), "real"),
    **dict.fromkeys(("str", "string", "object", "object_", "text", "varchar", "stringtype"), "text"),
    **dict.fromkeys(("bool", "boolean", "bool_", "booleantype"), "boolean"),
    **dict.fromkeys(("datetime", "datetime64", "datetime64[ns]", "timestampntztype"), "timestamp"),
    **dict.fromkeys(("timestamptype", "datetime64[ns, utc]"), "timestamptz"),
    **dict.fromkeys(("date", "datetype"), "date"),
    **dict.fromkeys(("decimal", "numeric", "decimaltype"), "decimal"),
    **dict.fromkeys(("bytes", "binarytype"), "blob"),
}
"""What the type names of pandas, Spark and SQLAlchemy mean in SQL."""
WITHOUT_PAIR = {"both_values_are_missing": "all", "either_value_is_missing": "any", "neither": "none"}
WITHOUT_MANY = {"all_values_are_missing": "all", "any_value_is_missing": "any", "never": "none"}
STATISTICS = {
    "expect_column_max_to_be_between": "max",
    "expect_column_mean_to_be_between": "mean",
    "expect_column_median_to_be_between": "median",
    "expect_column_min_to_be_between": "min",
    "expect_column_proportion_of_unique_values_to_be_between": "distinct_share",
    "expect_column_stdev_to_be_between": "stdev",
    "expect_column_sum_to_be_between": "sum",
    "expect_column_unique_value_count_to_be_between": "distinct",
}
REFUSED = {
    "expect_column_kl_divergence_to_be_less_than": "compares with a whole distribution; ask for quantiles "
    "(expect_column_quantile_values_to_be_between) or for an anomaly against history",
    "expect_column_values_to_be_dateutil_parseable": "guesses what a date is; name its form with "
    "expect_column_values_to_match_strftime_format",
    "expect_column_values_to_be_increasing": "needs an order of rows, which a table does not have",
    "expect_column_values_to_be_decreasing": "needs an order of rows, which a table does not have",
    "expect_column_pair_cramers_phi_value_to_be_less_than": "is a statistic that is not calculated here",
    "expect_column_chisquare_test_p_value_to_be_greater_than": "is a statistic that is not calculated here",
    "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than": "draws at random",
    "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than": "is a statistic that is "
    "not calculated here",
}
"""Expectations that have no check, and why."""


def spec_of(kind: str, kwargs: Keywords) -> list[Spec]:
    """The entries of `checks:` that an expectation means; several for quantiles, of which each is asked.

    Args:
        kind: `expect_column_values_to_be_between`, or its class's name `ExpectColumnValuesToBeBetween`.
        kwargs: its arguments, parameters already replaced.

    Raises:
        ConfigError: it is not known, is refused, or its arguments do not fit.
    """
    kind = type_name(kind)
    if kind in REFUSED:
        raise ConfigError(f"{kind} {REFUSED[kind]}")
    if kind not in EXPECTATIONS:
        raise ConfigError(f"{kind} is no expectation that is known here", hint="only core expectations are")
    try:
        found = EXPECTATIONS[kind](kwargs)
    except KeyError as error:
        raise ConfigError(f"{kind} has no {error.args[0]}") from error
    specs = found if isinstance(found, list) else [found]
    return [spec | _around(kwargs, spec) for spec in specs]


def type_name(kind: str) -> str:
    """The name in small letters that a class's name stands for."""
    if kind in ("UnexpectedRowsExpectation", "unexpected_rows_expectation"):
        return "unexpected_rows_expectation"
    if not kind.startswith("Expect"):
        return kind
    small = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind).removeprefix("_")
    return small.replace("_k_l_", "_kl_").replace("_z_scores", "_z_scores")


def _around(kwargs: Keywords, spec: Spec) -> Spec:
    """What stands beside every kind."""
    around: Spec = {}
    mostly = kwargs.get("mostly")
    if mostly is not None and mostly != 1:
        around["mostly"] = mostly
    if kwargs.get("row_condition"):
        given = condition_sql(kwargs["row_condition"], kwargs.get("condition_parser"))
        around["where"] = f"({given}) AND ({spec['where']})" if "where" in spec else given
    return around


def _bounds(kwargs: Keywords) -> Spec:
    found = {"min": kwargs.get("min_value"), "max": kwargs.get("max_value")}
    strict = {name: True for name in ("strict_min", "strict_max") if kwargs.get(name)}
    return {name: value for name, value in found.items() if value is not None} | strict


def _between(kwargs: Keywords) -> Spec:
    bounds = _bounds(kwargs)
    low, high = bounds.get("min"), bounds.get("max")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise ConfigError("min_value cannot be greater than max_value")
    if low is None and high is None:
        raise ConfigError("min_value and max_value cannot both be None")
    return {"between": {"column": kwargs["column"], **bounds}}


def _in_set(kwargs: Keywords) -> Spec:
    values = kwargs.get("value_set")
    if not values:  # nothing is in the empty set
        return {"is_null": kwargs["column"]}
    return {"accepted_values": {"column": kwargs["column"], "values": values}}


def _not_in_set(kwargs: Keywords) -> Spec:
    if not kwargs.get("value_set"):
        return {"expression": "true"}
    return {"rejected_values": {"column": kwargs["column"], "values": kwargs["value_set"]}}


def _patterns(kind: str, found: str | None = None) -> Callable[[Keywords], Spec]:
    single, many = ("regex", "regex_list") if kind == "regex" else ("like_pattern", "like_pattern_list")

    def read(kwargs: Keywords) -> Spec:
        patterns = kwargs[many] if many in kwargs else [kwargs[single]]
        how = found or kwargs.get("match_on") or "any"
        return {kind: {"column": kwargs["column"], "patterns": patterns, "found": how}}

    return read


def _type(name: Any) -> str:
    word = str(name).strip()
    known = TYPES.get(word.lower()) or (word if is_known_type(word) else None)
    if known is None:
        raise ConfigError(f"nothing is known of the type {word!r}", hint="write a SQL type such as bigint")
    return known


def _column_type(kwargs: Keywords) -> Spec:
    names = kwargs["type_list"] if "type_list" in kwargs else [kwargs["type_"]]
    return {"column_type": {"column": kwargs["column"], "types": [_type(name) for name in names]}}


def _statistic(metric: str) -> Callable[[Keywords], Spec]:
    return lambda kwargs: {"statistic": {"column": kwargs["column"], "metric": metric, **_bounds(kwargs)}}


def _quantiles(kwargs: Keywords) -> list[Spec]:
    ranges = kwargs["quantile_ranges"]
    specs = []
    for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True):
        bounds = _bounds({"min_value": low, "max_value": high})
        options = {"column": kwargs["column"], "metric": "quantile", "quantile": quantile, **bounds}
        specs.append({"statistic": options})
    return specs


def _lengths(kwargs: Keywords) -> Spec:
    bounds = _bounds(kwargs) if "value" not in kwargs else {"min": kwargs["value"], "max": kwargs["value"]}
    return {"length": {"column": kwargs["column"], **bounds}}


def _pair(sign: str) -> Callable[[Keywords], Spec]:
    def read(kwargs: Keywords) -> Spec:
        shown = ">=" if sign == ">" and kwargs.get("or_equal") else sign
        return {"compare": {**_two(kwargs), "sign": shown}}

    return read


def _two(kwargs: Keywords) -> Spec:
    columns = [kwargs["column_A"], kwargs["column_B"]]
    ignored = kwargs.get("ignore_row_if") or "both_values_are_missing"
    return {"columns": columns, "without": _without(WITHOUT_PAIR, ignored)}


def _many(kwargs: Keywords) -> Spec:
    ignored = kwargs.get("ignore_row_if") or "all_values_are_missing"
    return {"columns": list(kwargs["column_list"]), "without": _without(WITHOUT_MANY, ignored)}


def _without(known: Mapping[str, str], word: str) -> str:
    if word not in known:
        raise ConfigError(f"there is no ignore_row_if {word!r}", hint=f"known are {', '.join(known)}")
    return known[word]


def _compound(kwargs: Keywords) -> Spec:
    many = _many(kwargs)
    if many["without"] == "any":
        return {"unique": many["columns"]}
    quoted = ['"' + name.replace('"', '""') + '"' for name in many["columns"]]
    some = " OR ".join(f"{name} IS NOT NULL" for name in quoted)
    return {"no_duplicates": many["columns"]} | ({"where": some} if many["without"] == "all" else {})


def _row_count(kwargs: Keywords) -> Spec:
    bounds = _bounds(kwargs) if "value" not in kwargs else {"min": kwargs["value"], "max": kwargs["value"]}
    return {"row_count": bounds or {"min": 0}}


def _column_count(kwargs: Keywords) -> Spec:
    bounds = _bounds(kwargs) if "value" not in kwargs else {"min": kwargs["value"], "max": kwargs["value"]}
    return {"column_count": bounds}


def _column_set(kwargs: Keywords) -> Spec:
    exactly = kwargs.get("exact_match", True) is not False
    return {"columns": {"names": list(kwargs["column_set"]), "exactly": exactly}}


def _exists(kwargs: Keywords) -> Spec:
    place = kwargs.get("column_index")
    return {"columns": {"names": [kwargs["column"]], **({} if place is None else {"at": place})}}


def _distinct(are: str) -> Callable[[Keywords], Spec]:
    return lambda kwargs: {
        "distinct_values": {"column": kwargs["column"], "values": list(kwargs["value_set"]), "are": are}
    }


def _outliers(kwargs: Keywords) -> Spec:
    one_sided = kwargs.get("double_sided") is False
    return {"outliers": {"column": kwargs["column"], "below": kwargs["threshold"], "one_sided": one_sided}}


def _rows_query(kwargs: Keywords) -> Spec:
    return {"query": kwargs["unexpected_rows_query"].replace("{batch}", "{table}")}


EXPECTATIONS: dict[str, Callable[[Keywords], Spec | list[Spec]]] = {
    **{kind: _statistic(metric) for kind, metric in STATISTICS.items()},
    "expect_column_distinct_values_to_be_in_set": _distinct("among"),
    "expect_column_distinct_values_to_contain_set": _distinct("all"),
    "expect_column_distinct_values_to_equal_set": _distinct("exactly"),
    "expect_column_most_common_value_to_be_in_set": lambda kwargs: {
        "most_common": {
            "column": kwargs["column"],
            "values": list(kwargs["value_set"]),
            "ties": bool(kwargs.get("ties_okay")),
        }
    },
    "expect_column_pair_values_a_to_be_greater_than_b": _pair(">"),
    "expect_column_pair_values_to_be_equal": _pair("="),
    "expect_column_pair_values_to_be_in_set": lambda kwargs: {
        "pair_values": {**_two(kwargs), "values": [list(pair) for pair in kwargs["value_pairs_set"]]}
    },
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_to_exist": _exists,
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _lengths,
    "expect_column_value_z_scores_to_be_less_than": _outliers,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_be_in_type_list": _column_type,
    "expect_column_values_to_be_json_parseable": lambda kwargs: {"is_json": kwargs["column"]},
    "expect_column_values_to_be_null": lambda kwargs: {"is_null": kwargs["column"]},
    "expect_column_values_to_be_of_type": _column_type,
    "expect_column_values_to_be_unique": lambda kwargs: {"unique": kwargs["column"]},
    "expect_column_values_to_match_json_schema": lambda kwargs: {
        "is_json": {"column": kwargs["column"], "schema": kwargs["json_schema"]}
    },
    "expect_column_values_to_match_like_pattern": _patterns("like", "all"),
    "expect_column_values_to_match_like_pattern_list": _patterns("like"),
    "expect_column_values_to_match_regex": _patterns("regex", "all"),
    "expect_column_values_to_match_regex_list": _patterns("regex"),
    "expect_column_values_to_match_strftime_format": lambda kwargs: {
        "time_format": {"column": kwargs["column"], "format": kwargs["strftime_format"]}
    },
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_not_be_null": lambda kwargs: {"not_null": kwargs["column"]},
    "expect_column_values_to_not_match_like_pattern": _patterns("like", "none"),
    "expect_column_values_to_not_match_like_pattern_list": _patterns("like", "none"),
    "expect_column_values_to_not_match_regex": _patterns("regex", "none"),
    "expect_column_values_to_not_match_regex_list": _patterns("regex", "none"),
    "expect_compound_columns_to_be_unique": _compound,
    "expect_multicolumn_sum_to_equal": lambda kwargs: {
        "sum_of": {**_many(kwargs), "equals": kwargs["sum_total"]}
    },
    "expect_select_column_values_to_be_unique_within_record": lambda kwargs: {"different": _many(kwargs)},
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count,
    "expect_table_columns_to_match_ordered_list": lambda kwargs: {
        "columns": {"names": list(kwargs["column_list"]), "exactly": True, "in_order": True}
    },
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count,
    "expect_table_row_count_to_equal_other_table": lambda kwargs: {
        "same_row_count": kwargs["other_table_name"]
    },
    "unexpected_rows_expectation": _rows_query,
}
"""What each core expectation means here."""
