"""Data contracts of the Open Data Contract Standard, written from a table's columns and its checks.

What the standard has words for is said in them: required, unique, the key, valid values, rows. Every other
check is a custom rule of the engine `asgard`, in the words of asgard.yml, so that reading the contract back
asks the same.

Reference: https://bitol-io.github.io/open-data-contract-standard/v3.1.0/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from asgard.core.check import Check
from asgard.quality.entries import entry_of
from asgard.quality.shape import of_family
from asgard.quality.tables import is_own

API_VERSION = "v3.1.0"
FAMILIES = ("integer", "number", "boolean", "date", "timestamp", "time", "array", "object", "string")
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Heading:
    """What stands at the top of a contract.

    Attributes:
        table: what the table is called in it.
        physical: the table's whole name, `bronze.shop.orders`.
        primary_key: the columns that tell rows apart.
    """

    id: str
    table: str
    physical: str
    version: str = "1.0.0"
    status: str = "draft"
    primary_key: tuple[str, ...] = ()
    created_at: datetime | None = None


def write_contract(heading: Heading, schema: pa.Schema, checks: Sequence[Check]) -> dict[str, Any]:
    """The document, in the order in which people read it."""
    plain = [check for check in checks if _is_plain(check)]
    said: set[int] = set()
    columns = []
    for found in schema:
        if is_own(found.name):
            continue
        columns.append(_column(found, heading, plain, checks, said))
    table: dict[str, Any] = {
        "name": heading.table,
        "physicalName": heading.physical,
        "physicalType": "table",
        "properties": columns,
    }
    rules, slas = [], []
    for place, check in enumerate(checks):
        if place in said:
            continue
        if check.kind == "fresh" and _is_plain(check):
            slas.append(_freshness(check))
        else:
            rules.append(_rule(check))
    if rules:
        table["quality"] = rules
    created = (heading.created_at or datetime.now(UTC)).replace(microsecond=0)
    document = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": heading.id,
        "name": heading.table,
        "version": heading.version,
        "status": heading.status,
        "schema": [table],
    }
    if slas:
        document["slaProperties"] = slas
    return document | {"contractCreatedTs": created.isoformat()}


def _is_plain(check: Check) -> bool:
    """Whether a failure of the check stops the load, whatever row it is about: words have no exceptions."""
    stops = check.severity == "error" and str(check.on_fail) == "stop"
    return check.mostly == 1 and stops and "where" not in check.options


def _column(
    found: pa.Field, heading: Heading, plain: Sequence[Check], checks: Sequence[Check], said: set[int]
) -> dict[str, Any]:
    name = str(found.name)
    column: dict[str, Any] = {"name": name, "physicalType": str(found.type)}
    family = logical_type(found.type)
    if family:
        column["logicalType"] = family
    is_key = name in heading.primary_key
    if is_key:
        column["primaryKey"] = True
        column["primaryKeyPosition"] = heading.primary_key.index(name) + 1
    quality = []
    for place, check in enumerate(checks):
        if check not in plain or check.columns != (name,) or place in said:
            continue
        if check.kind == "not_null":
            column["required"] = True
        elif check.kind == "unique":
            column["unique"] = True
        elif check.kind == "accepted_values":
            arguments = {"validValues": check.options["values"]}
            quality.append({**_named(check), "type": "library", "metric": "invalidValues", "mustBe": 0,
                            "arguments": arguments, "dimension": "conformity"})  # fmt: skip
        else:
            continue
        said.add(place)
    return column | ({"quality": quality} if quality else {})


def logical_type(kind: pa.DataType) -> str:
    """The family of an Arrow type in the standard's words; empty where it has none, as for bytes."""
    if at.is_dictionary(kind):
        return logical_type(kind.value_type)
    return next((family for family in FAMILIES if of_family(kind, family)), "")


def _named(check: Check) -> dict[str, Any]:
    return {"name": check.name, "severity": check.severity}


def _rule(check: Check) -> dict[str, Any]:
    bounds = {key: check.options[key] for key in ("min", "max") if key in check.options}
    if check.kind == "row_count" and bounds == dict(check.options) and _is_plain(check):
        return {**_named(check), "type": "library", "metric": "rowCount", **_operator(bounds)}
    return {**_named(check), "type": "custom", "engine": "asgard", "implementation": entry_of(check)}


def _operator(bounds: Mapping[str, Any]) -> dict[str, Any]:
    if set(bounds) == {"min"}:
        return {"mustBeGreaterOrEqualTo": bounds["min"]}
    if set(bounds) == {"max"}:
        return {"mustBeLessOrEqualTo": bounds["max"]}
    same = bounds["min"] == bounds["max"]
    return {"mustBe": bounds["min"]} if same else {"mustBeBetween": [bounds["min"], bounds["max"]]}


def _freshness(check: Check) -> dict[str, Any]:
    seconds = check.options["within_seconds"]
    whole_days = seconds % SECONDS_A_DAY == 0
    value = seconds // SECONDS_A_DAY if whole_days else seconds
    return {
        "property": "latency",
        "value": value,
        "unit": "d" if whole_days else "s",
        "element": check.columns[0],
    }
