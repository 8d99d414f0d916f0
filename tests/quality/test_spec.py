"""Checks as people write them: forms, names, precise errors, the schema for editors."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from asgard.core.check import Check, OnFail
from asgard.quality.kinds import PATTERNS
from asgard.quality.registry import ROW_KINDS, TABLE_KINDS
from asgard.quality.spec import CheckSpec, checks_of
from tests.quality.ground import Ground, checks

SPECS = TypeAdapter(list[CheckSpec])


def asked(check: Check) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    return check.kind, check.columns, dict(check.options)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"not_null": "id"}, [("not_null", ("id",), {})]),
        ({"not_null": ["id", "c"]}, [("not_null", ("id",), {}), ("not_null", ("c",), {})]),
        ({"not_null": {"columns": ["id"]}}, [("not_null", ("id",), {})]),
        ({"unique": "id"}, [("unique", ("id",), {})]),
        ({"unique": ["id", "day"]}, [("unique", ("id", "day"), {})]),
        ({"between": {"column": "a", "min": 0}}, [("between", ("a",), {"min": 0})]),
        (
            {"between": {"column": "a", "min": date(2026, 1, 1), "max": "2026-12-31"}},
            [("between", ("a",), {"min": date(2026, 1, 1), "max": "2026-12-31"})],
        ),
        ({"between": {"column": "a", "max": 0.1}}, [("between", ("a",), {"max": 0.1})]),
        (
            {"accepted_values": {"column": "s", "values": ["a", 1, True, Decimal("1.5")]}},
            [("accepted_values", ("s",), {"values": ["a", 1, True, Decimal("1.5")]})],
        ),
        ({"matches": {"column": "e", "pattern": "email"}}, [("matches", ("e",), {"pattern": "email"})]),
        ({"matches": {"column": "e", "pattern": "[a-z]+"}}, [("matches", ("e",), {"pattern": "[a-z]+"})]),
        ({"type": {"column": "x", "type": "bigint"}}, [("type", ("x",), {"type": "bigint"})]),
        (
            {"type": {"name": "text", "mostly": "date"}},
            [("type", ("name",), {"type": "text"}), ("type", ("mostly",), {"type": "date"})],
        ),
        (
            {"type": {"columns": {"column": "decimal(10,2)"}, "severity": "info"}},
            [("type", ("column",), {"type": "decimal(10,2)"})],
        ),
        (
            {"row_count": {"min": 1, "max": 9, "change": 0.5}},
            [("row_count", (), {"min": 1, "max": 9, "change": 0.5})],
        ),
        ({"fresh": {"column": "u", "within": "1d"}}, [("fresh", ("u",), {"within_seconds": 86_400})]),
        (
            {"fresh": {"column": "u", "within": "1w2d 3h4m5s"}},
            [("fresh", ("u",), {"within_seconds": 788_645})],
        ),
        ({"fresh": {"column": "u", "within": 90}}, [("fresh", ("u",), {"within_seconds": 90})]),
        (
            {"referential": {"column": "c", "to": "bronze.shop.customers", "field": "id"}},
            [("referential", ("c",), {"to": "bronze.shop.customers", "field": "id"})],
        ),
        (
            {"referential": {"column": "c", "to": "gold.customers"}},
            [("referential", ("c",), {"to": "gold.customers", "field": "c"})],
        ),
        ({"no_duplicates": "all"}, [("no_duplicates", (), {})]),
        ({"no_duplicates": ["a", "b"]}, [("no_duplicates", ("a", "b"), {})]),
        ({"non_negative": ["a", "b"]}, [("non_negative", ("a",), {}), ("non_negative", ("b",), {})]),
        ({"expression": "amount >= tax"}, [("expression", (), {"sql": "amount >= tax"})]),
    ],
    ids=repr,
)
def test_every_form_makes_its_checks(spec: dict[str, Any], wanted: list[Any]) -> None:
    assert [asked(check) for check in checks(spec)] == wanted


def test_common_options_stand_beside_the_kind_or_inside() -> None:
    common = {"mostly": 0.9, "severity": "critical", "on_fail": "quarantine", "name": "mine"}
    wanted = (0.9, "critical", OnFail.QUARANTINE, "mine")
    for spec in ({"unique": "id", **common}, {"unique": {"columns": "id", **common}}):
        (check,) = checks(spec)
        assert (check.mostly, check.severity, check.on_fail, check.name) == wanted
    (check,) = checks({"unique": "id"})
    assert (check.mostly, check.severity, check.on_fail, check.name) == (
        1.0,
        "error",
        OnFail.STOP,
        "unique(id)",
    )


def test_what_stands_inside_wins() -> None:
    (check,) = checks({"unique": {"columns": "id", "severity": "info"}, "severity": "critical"})
    assert check.severity == "info"


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"not_null": ["a", "b"]}, ["not_null(a)", "not_null(b)"]),
        ({"not_null": ["a", "b"], "name": "there"}, ["there(a)", "there(b)"]),
        ({"no_duplicates": "all"}, ["no_duplicates(all)"]),
        ({"row_count": {"min": 1}}, ["row_count"]),
        ({"expression": "a >=\n  b"}, ["expression(a >= b)"]),
    ],
)
def test_names_say_what_is_asked(spec: dict[str, Any], names: list[str]) -> None:
    assert [check.name for check in checks(spec)] == names


def test_names_are_unique_in_a_table() -> None:
    specs: list[dict[str, Any]] = [
        {"between": {"column": "a", "min": 0}},
        {"between": {"column": "a", "max": 9}},
        {"not_null": "a"},
    ]
    names = [check.name for check in checks(*specs)]
    assert names == ["between(a)", "between(a) #2", "not_null(a)"]


@pytest.mark.parametrize(
    ("spec", "loc", "message"),
    [
        ({"not_null": ["id", 1]}, ("not_null", 1), "valid string"),
        ({"not_null": {"columns": ["id", 1]}}, ("not_null", "columns", 1), "valid string"),
        ({"not_null": 3}, ("not_null",), "a column or a list of columns"),
        ({"not_null": []}, ("not_null",), "at least 1"),
        ({"unique": ["a", "A"]}, ("unique",), "names a column twice"),
        ({"between": {"column": "a"}}, ("between",), "needs min, max or both"),
        ({"between": {"column": "a", "min": True}}, ("between", "min"), "must be a number, a date or a text"),
        ({"between": {"colum": "a", "min": 1}}, ("between", "colum"), "Extra inputs"),
        ({"accepted_values": {"column": "a", "values": []}}, ("accepted_values", "values"), "at least 1"),
        (
            {"accepted_values": {"column": "a", "values": ["x", None]}},
            ("accepted_values", "values", 1),
            "must be a number",
        ),
        ({"matches": {"column": "a", "pattern": "("}}, ("matches", "pattern"), "no regular expression"),
        ({"matches": {"column": "a", "pattern": "(?=x)"}}, ("matches", "pattern"), "no regular expression"),
        ({"type": {"x": "foo"}}, ("type", "x"), "'foo' is no SQL type"),
        ({"type": {"column": "x", "type": "foo"}}, ("type", "type"), "'foo' is no SQL type"),
        ({"type": {"column": "x"}}, ("type",), "needs column and type"),
        ({"type": {}}, ("type",), "needs a column and its type"),
        ({"type": {"x": "decimal(99,2)"}}, ("type", "x"), "no SQL type"),
        ({"row_count": {}}, ("row_count",), "needs min, max or change"),
        ({"row_count": {"min": 3, "max": 1}}, ("row_count",), "min 3 is above max 1"),
        ({"row_count": {"min": -1}}, ("row_count", "min"), "greater than or equal to 0"),
        ({"row_count": {"min": 1}, "mostly": 0.5}, (), "mostly is about rows"),
        ({"fresh": {"column": "a", "within": "soon"}}, ("fresh", "within"), "must be a duration"),
        ({"fresh": {"column": "a", "within": "0s"}}, ("fresh", "within"), "greater than or equal to 1"),
        ({"referential": {"column": "a", "to": "customers"}}, ("referential", "to"), "must be a table"),
        ({"referential": {"column": "a", "to": "bronze.x"}}, ("referential", "to"), "must be a table"),
        ({"expression": "a >="}, ("expression",), "no SQL expression"),
        ({"expression": {"sql": "a >="}}, ("expression", "sql"), "no SQL expression"),
        ({"expression": "a; b"}, ("expression",), "must be one SQL expression"),
        ({"expression": "a > (SELECT 1)"}, ("expression",), "a subquery"),
        ({"expression": "a IN (FROM read_csv('x'))"}, ("expression",), "a subquery"),
        ({"expression": "sum(a) > 1"}, ("expression",), "an aggregate"),
        ({"expression": "row_number() OVER () > 1"}, ("expression",), "a window function"),
        ({"expression": "a AS b"}, ("expression",), "is ALIAS"),
        ({"expression": "DROP TABLE x"}, ("expression",), "is DROP"),
        ({"expression": "a = ?"}, ("expression",), "a placeholder"),
        ({"type": {"x": "{foo}"}}, ("type", "x"), "'{foo}' is no SQL type"),
        ({"expression": "1"}, ("expression",), "this is a value"),
        ({"not_nul": "a"}, ("not_nul",), "Extra inputs"),
        ({}, (), "exactly one kind, this has none"),
        ({"unique": "a", "not_null": "b"}, (), "this has not_null and unique"),
        ({"unique": "a", "mostly": 0}, ("mostly",), "greater than 0"),
        ({"unique": "a", "on_fail": "explode"}, ("on_fail",), "stop"),
        ("not_null", (), "valid dictionary"),
    ],
    ids=repr,
)
def test_errors_stand_where_the_mistake_is(spec: Any, loc: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SPECS.validate_python([{"unique": "fine"}, spec])
    found = {error["loc"]: error["msg"] for error in caught.value.errors()}
    assert (1, *loc) in found
    assert message in found[1, *loc]


def test_the_schema_for_editors_takes_the_short_forms_and_no_nulls() -> None:
    schema = SPECS.json_schema()
    spec = schema["$defs"]["CheckSpec"]
    kinds = {option["required"][0] for option in spec["oneOf"]}
    assert kinds == {*ROW_KINDS, *TABLE_KINDS, "failing"}
    assert kinds < set(spec["properties"])
    assert spec["additionalProperties"] is False
    assert '"null"' not in json.dumps(schema)
    short, full = schema["$defs"]["NotNull"]["anyOf"]
    assert {option["type"] for option in short["anyOf"]} == {"string", "array"}
    assert full["type"] == "object"
    assert schema["$defs"]["Type"]["anyOf"][0] == {
        "additionalProperties": {"type": "string"},
        "description": "column to type",
        "type": "object",
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "email",
            ["a@b.co", "ü.n+x@ex-ample.museum"],
            ["a", "a@b", "@b.co", "a b@c.de", "a@b.co\n", "a@@b.co"],
        ),
        (
            "url",
            ["http://a", "HTTPS://a.b:80/x?y#z", "http://a?x"],
            ["ftp://a", "http://", "http://a b", "a.de"],
        ),
        (
            "uuid",
            ["6f9619ff-8b86-d011-b42d-00cf4fc964ff", "6F9619FF-8B86-D011-B42D-00CF4FC964FF"],
            ["6f9619ff8b86d011b42d00cf4fc964ff", "6f9619ff-8b86-d011-b42d-00cf4fc964fg", ""],
        ),
    ],
)
def test_named_patterns(ground: Ground, name: str, good: list[str], bad: list[str]) -> None:
    assert name in PATTERNS
    result = ground.answer({"matches": {"column": "v", "pattern": name}}, pa.table({"v": [*good, *bad]}))
    assert (result.rows, result.failed_rows) == (len(good + bad), len(bad))


def test_checks_of_nothing_are_none() -> None:
    assert checks_of([]) == ()
