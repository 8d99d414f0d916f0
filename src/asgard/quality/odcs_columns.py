"""Columns of a data contract, as entries of `checks:`: types, what must be there, lengths, bounds and forms.

Reference: https://bitol-io.github.io/open-data-contract-standard/v3.1.0/schema/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asgard.quality.types import parsed

Spec = dict[str, Any]

FAMILIES = ("string", "number", "integer", "boolean", "date", "time", "timestamp", "array", "object")
FORMATS = {"email": "email", "uuid": "uuid", "uri": r"[A-Za-z][A-Za-z0-9+.-]*:\S+"}
FORMATS |= {
    "ipv4": r"((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}",
    "hostname": r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",
}
"""Formats of texts that can be checked; others are notes."""
BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "i128": 128}
BOUNDS = {
    "minimum": ("min", False),
    "maximum": ("max", False),
    "exclusiveMinimum": ("min", True),
    "exclusiveMaximum": ("max", True),
}
LENGTH = re.compile(r"(?i)\s*(?:n?var)?char(?:acter varying)?\s*\(\s*(\d+)\s*\)\s*")
"""A physical type that says how long texts may be."""


def name_of(column: Mapping[str, Any]) -> str:
    """What the column is called in the table."""
    return str(column.get("physicalName") or column.get("name"))


def specs_of(column: Mapping[str, Any], notes: list[str], place: str) -> list[Spec]:
    """What a column of a contract asks of the table's column.

    Args:
        notes: takes what is for people alone.
    """
    name, logical = name_of(column), column.get("logicalType")
    found: list[Spec] = []
    if logical in FAMILIES:
        found.append({"column_type": {"column": name, "family": logical}})
    if column.get("required"):
        found.append({"not_null": name})
    if column.get("unique"):
        found.append({"unique": name})
    found += _physical(name, column, notes, place)
    options = column.get("logicalTypeOptions") or {}
    if logical in ("string", "array", "object"):
        found += _of_texts(name, str(logical), options, notes, place)
    else:
        found += _of_values(name, options, notes, place)
    return found


def _physical(name: str, column: Mapping[str, Any], notes: list[str], place: str) -> list[Spec]:
    """A physical type is the source's: its values must fit, whatever the lake keeps them in."""
    physical = str(column.get("physicalType") or "")
    if not physical:
        return []
    if length := LENGTH.fullmatch(physical):
        return [{"length": {"column": name, "max": int(length[1])}}]
    known = parsed(physical)
    logical = column.get("logicalType")
    if known is not None and known.family == "integer" and logical in ("integer", "number"):
        limit = 2 ** (known.bits - 1)
        return [{"between": {"column": name, "min": -limit, "max": limit - 1}, "name": f"{physical}({name})"}]
    if known is not None and logical is None:
        return [{"type": {name: physical}}]
    if known is None:
        notes.append(f"{place}: the physical type {physical} is the source's own")
    return []


def _of_texts(
    name: str, logical: str, options: Mapping[str, Any], notes: list[str], place: str
) -> list[Spec]:
    found: list[Spec] = []
    if logical != "string":
        notes += [f"{place}: {word} of {logical} is for people" for word in options]
        return found
    lengths = {
        to: options[word] for word, to in (("minLength", "min"), ("maxLength", "max")) if word in options
    }
    if lengths:
        found.append({"length": {"column": name, **lengths}})
    if options.get("pattern"):
        found.append({"regex": {"column": name, "patterns": [str(options["pattern"])]}})
    form = options.get("format")
    if form in FORMATS:
        found.append({"matches": {"column": name, "pattern": FORMATS[form]}})
    elif form:
        notes.append(f"{place}: the format {form} is for people")
    return found


def _of_values(name: str, options: Mapping[str, Any], notes: list[str], place: str) -> list[Spec]:
    found: list[Spec] = []
    for word, (side, strict) in BOUNDS.items():
        if word in options:
            bound = {side: options[word]} | ({f"strict_{side}": True} if strict else {})
            found.append({"between": {"column": name, **bound}, "name": f"{word}({name})"})
    if "multipleOf" in options:
        quoted = '"' + name.replace('"', '""') + '"'
        found.append({"expression": f"{quoted} % {options['multipleOf']} = 0", "name": f"multipleOf({name})"})
    bits = BITS.get(str(options.get("format")))
    if bits is not None and bits < 128:
        limit = 2 ** (bits - 1)
        found.append(
            {
                "between": {"column": name, "min": -limit, "max": limit - 1},
                "name": f"{options['format']}({name})",
            }
        )
    told = {"format", "timezone", "defaultTimezone"} & set(options) if bits is None else set()
    notes += [f"{place}: {word} is for people" for word in sorted(told)]
    return found
