"""Rules of quality in a data contract, as entries of `checks:`.

Reference: https://bitol-io.github.io/open-data-contract-standard/v3.1.0/data-quality/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from asgard.core.errors import ConfigError
from asgard.quality.expectations import spec_of

Spec = dict[str, Any]

OPERATORS = {
    "mustBe": ("min", "max"),
    "mustNotBe": ("min", "max"),
    "mustBeGreaterThan": ("min",),
    "mustBeGreaterOrEqualTo": ("min",),
    "mustBeLessThan": ("max",),
    "mustBeLessOrEqualTo": ("max",),
    "mustBeBetween": ("min", "max"),
    "mustNotBeBetween": ("min", "max"),
}
STRICT = {"mustBeGreaterThan": "strict_min", "mustBeLessThan": "strict_max"}
OUTSIDE = ("mustNotBe", "mustNotBeBetween")
RULES = {"duplicateCount": "duplicateValues", "validValues": "invalidValues"}
"""Metrics as 3.0 calls them."""
PEOPLE = ("schedule", "scheduler", "businessImpact", "method")
TABLE = "_asgard_table"


def specs_of(
    rule: Mapping[str, Any], column: str, tables: tuple[str, ...], notes: list[str], place: str
) -> list[Spec]:
    """What a rule asks.

    Args:
        column: of a rule of a column; empty for a rule of the table.
        tables: what the contract calls the table.
        notes: takes what is for people alone.

    Raises:
        ConfigError: it cannot be asked.
    """
    kind = rule.get("type") or "library"
    if kind == "text":
        notes.append(f"{place}: {rule.get('description') or rule.get('name') or 'a text'} (for people)")
        return []
    told = [word for word in PEOPLE if rule.get(word)]
    if told:
        notes.append(f"{place}: {', '.join(told)} is for people")
    if kind == "library":
        found = [_library(rule, column)]
    elif kind == "sql":
        found = [_sql(rule, column, tables)]
    elif kind == "custom":
        found = _custom(rule)
    else:
        raise ConfigError(f"a rule of the type {kind!r} is not known")
    return [_around(rule) | spec for spec in found]


def _around(rule: Mapping[str, Any]) -> Spec:
    """How severe a rule is: what is no error only warns."""
    around: Spec = {"name": str(rule["name"])} if rule.get("name") else {}
    severity = str(rule.get("severity") or "").casefold()
    if severity in ("info", "warning", "error", "critical"):
        around["severity"] = severity
    if severity in ("info", "warning", "warn", "low"):
        around["on_fail"] = "warn"
    return around


def bounds_of(rule: Mapping[str, Any]) -> Spec:
    """What the figure of a rule must be.

    Raises:
        ConfigError: it does not say so, or says it twice.
    """
    said = [word for word in OPERATORS if word in rule]
    if len(said) != 1:
        raise ConfigError(f"needs one of {', '.join(OPERATORS)}")
    (word,) = said
    sides, value = OPERATORS[word], rule[word]
    values = value if isinstance(value, list) else [value] * len(sides)
    if len(values) != len(sides):
        raise ConfigError(f"{word} takes two numbers")
    bounds = dict(zip(sides, values, strict=True))
    if word in STRICT:
        bounds[STRICT[word]] = True
    return bounds | ({"outside": True} if word in OUTSIDE else {})


def _library(rule: Mapping[str, Any], column: str) -> Spec:
    word = rule.get("metric") or rule.get("rule")
    metric = RULES.get(str(word), word)
    arguments = rule.get("arguments") or {}
    bounds = bounds_of(rule)
    if metric == "rowCount":
        if column:
            raise ConfigError("rowCount is of a table, not of a column")
        if not {"outside", "strict_min", "strict_max"} & set(bounds):
            return {"row_count": bounds}
        return {"query": {"sql": "SELECT count(*) FROM {table}", **bounds}}
    inner = _bad_rows(str(metric), column, arguments, rule)
    if bounds == {"min": 0, "max": 0}:
        return inner
    unit = "percent" if str(rule.get("unit") or "rows").casefold() in ("percent", "%") else "rows"
    return {"failing": {"check": inner, "unit": unit, **bounds}}


def _bad_rows(metric: str, column: str, arguments: Mapping[str, Any], rule: Mapping[str, Any]) -> Spec:
    if metric == "duplicateValues":
        named = arguments.get("properties")
        return {"unique": list(named) if named else _needed(column, metric)}
    name = _needed(column, metric)
    if metric == "nullValues":
        return {"not_null": name}
    if metric == "missingValues":
        listed = [value for value in arguments.get("missingValues") or () if value is not None]
        quoted = '"' + name.replace('"', '""') + '"'
        among = ", ".join(_literal(value) for value in listed)
        missing = f"{quoted} IS NULL" + (f" OR CAST({quoted} AS VARCHAR) IN ({among})" if listed else "")
        return {"expression": f"NOT ({missing})"}
    if metric == "invalidValues":
        values = arguments.get("validValues") or rule.get("validValues")
        pattern = arguments.get("pattern")
        if values and not pattern:
            known = [value for value in values if value is not None]
            return {"accepted_values": {"column": name, "values": known}}
        if pattern and not values:
            return {"regex": {"column": name, "patterns": [str(pattern)]}}
        raise ConfigError("invalidValues needs either arguments.validValues or arguments.pattern")
    raise ConfigError(f"the metric {metric!r} is not known")


def _needed(column: str, metric: str) -> str:
    if not column:
        raise ConfigError(f"{metric} of a table needs arguments.properties; else it is of a column")
    return column


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _sql(rule: Mapping[str, Any], column: str, tables: tuple[str, ...]) -> Spec:
    query = str(rule.get("query") or "")
    for word, meant in (("table", TABLE), ("object", TABLE), ("column", column), ("property", column)):
        for form in (f"${{{word}}}", f"{{{{{word}}}}}", f"{{{word}}}"):
            if meant:
                query = query.replace(form, meant if meant == TABLE else '"' + meant.replace('"', '""') + '"')
    try:
        found = sqlglot.parse_one(query, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise ConfigError(f"is no SQL: {str(error).splitlines()[0]}") from error
    own = {name.casefold() for name in tables}
    for table in found.find_all(exp.Table):
        if table.name.casefold() in own or table.sql("duckdb").replace('"', "").casefold() in own:
            alias = table.alias or table.name
            table.replace(exp.to_table(TABLE, alias=alias))
    return {"query": {"sql": found.sql("duckdb").replace(TABLE, "{table}"), **bounds_of(rule)}}


def _custom(rule: Mapping[str, Any]) -> list[Spec]:
    """Rules of another engine: our own words, and those of Great Expectations."""
    engine = str(rule.get("engine") or "")
    implementation = rule.get("implementation")
    plain = engine.casefold().replace("-", "").replace("_", "").replace(" ", "")
    if plain == "asgard" and isinstance(implementation, Mapping):
        return [dict(implementation)]
    if plain == "greatexpectations" and isinstance(implementation, Mapping):
        kind = implementation.get("type") or implementation.get("expectation_type")
        if kind:
            return spec_of(str(kind), implementation.get("kwargs") or {})
    raise ConfigError(f"a custom rule of the engine {engine or '(none)'} cannot be asked here")
