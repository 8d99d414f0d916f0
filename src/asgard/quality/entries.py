"""Checks as entries of `checks:`, as people write them: the way back from a check to its YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asgard.core.check import Check, OnFail
from asgard.quality.spec import CheckSpec

NOT_WRITTEN = ("where", "of", "within_seconds")
"""Options that stand elsewhere, or under another name."""


def entry_of(check: Check) -> dict[str, Any]:
    """The entry that makes the check.

    >>> entry_of(Check("between", ("amount",), {"min": 0}, name="between(amount)"))
    {'between': {'column': 'amount', 'min': 0}}
    """
    options = {key: value for key, value in check.options.items() if key not in NOT_WRITTEN}
    inside: Any = {key: value for key, value in options.items() if value is not None and value is not False}
    inside = {**_columns(check), **inside}
    if check.kind == "fresh":
        inside["within"] = check.options["within_seconds"]
    if isinstance(check.options.get("of"), Check):
        inside["check"] = entry_of(check.options["of"])
    if check.kind in ("not_null", "non_negative", "is_null", "unique"):
        inside = inside["columns"]
    elif check.kind in ("expression", "query") and set(inside) == {"sql"}:
        inside = inside["sql"]
    return {check.kind: inside, **_around(check)}


def _columns(check: Check) -> dict[str, Any]:
    fields = _fields(check.kind)
    if check.kind == "failing" or not fields & {"column", "columns", "names"}:
        return {}
    if check.kind == "columns":
        return {"names": list(check.columns)}
    if "column" in fields:
        return {"column": check.columns[0]} if check.columns else {}
    return {"columns": list(check.columns) or ["all"]}


def _fields(kind: str) -> set[str]:
    wanted = CheckSpec.model_fields[kind].annotation
    classes = [part for part in getattr(wanted, "__args__", ()) if part is not type(None)]
    return set(classes[0].model_fields)


def _around(check: Check) -> dict[str, Any]:
    said: Mapping[str, Any] = {
        "where": check.options.get("where"),
        "mostly": check.mostly if check.mostly < 1 else None,
        "severity": check.severity if check.severity != "error" else None,
        "on_fail": str(check.on_fail) if check.on_fail is not OnFail.STOP else None,
    }
    around = {key: value for key, value in said.items() if value is not None}
    if check.name and check.name != default_name(check):
        around["name"] = check.name
    return around


def default_name(check: Check) -> str:
    """What the check is called when nobody named it."""
    plain = replace(check, name="", mostly=1.0, severity="error", on_fail=OnFail.STOP)
    return CheckSpec.model_validate(entry_of(plain)).checks()[0].name
