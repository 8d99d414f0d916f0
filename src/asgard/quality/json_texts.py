"""Texts of JSON: that they are, and that they keep to a JSON Schema, as far as SQL can say it.

Of JSON Schema, the words that speak of one value are known: type, enum, const, minimum, maximum and the
exclusive ones, minLength, maxLength, pattern, required, properties, items, minItems, maxItems. Others are
refused by name: what cannot be checked must not seem to be.

Reference: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from asgard.core.check import Check
from asgard.quality.families import RowKind, text_column
from asgard.quality.kinds import Kind, Name, Question, checked_pattern, fault
from asgard.quality.phrases import being
from asgard.quality.predicates import text
from asgard.quality.tables import Tables

TYPES = {
    "string": ("VARCHAR",),
    "integer": ("BIGINT", "UBIGINT", "HUGEINT"),
    "number": ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "object": ("OBJECT",),
    "array": ("ARRAY",),
    "null": ("NULL",),
}
"""What the engine calls the types of JSON."""
NUMBERS = {"minimum": "<", "maximum": ">", "exclusiveMinimum": "<=", "exclusiveMaximum": ">="}
LENGTHS = {"minLength": "<", "maxLength": ">"}
COUNTS = {"minItems": "<", "maxItems": ">"}
IGNORED = {
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "format",
}
"""Words that say nothing about what is valid; a format is a note, as the standard has it."""
KNOWN = {"type", "enum", "const", "pattern", "required", "properties", "items", *NUMBERS, *LENGTHS, *COUNTS}


def _schema(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise fault(f"is no JSON: {error}") from error
    _refuse_unknown(value, "schema")
    return value


def _refuse_unknown(schema: Any, place: str) -> None:
    if not isinstance(schema, Mapping):
        raise fault(f"{place} must be a mapping")
    for word, value in schema.items():
        if word not in KNOWN | IGNORED:
            raise fault(f"{place} has {word}, which is not checked here; leave it out to check the rest")
        if word == "pattern":
            checked_pattern(value)
        types = {value} if isinstance(value, str) else set(value) if isinstance(value, list) else set()
        if word == "type" and not types <= set(TYPES):
            raise fault(f"{place} has the type {value}, which JSON does not have")
    for name, part in schema.get("properties", {}).items():
        _refuse_unknown(part, f"{place}.{name}")
    if "items" in schema:
        _refuse_unknown(schema["items"], f"{place}[]")


class IsJson(Kind):
    """A column whose texts must be JSON, and keep to a JSON Schema if there is one."""

    kind = "is_json"
    short = "column"
    column: Name
    schema_: Annotated[dict[str, Any], BeforeValidator(_schema)] | None = Field(
        None, alias="schema", description="a JSON Schema, as a mapping or as text"
    )

    def questions(self) -> Iterator[Question]:
        yield (self.column,), {} if self.schema_ is None else {"schema": self.schema_}


def _bad(check: Check, tables: Tables) -> str:
    found = text_column(check, tables, "be JSON").sql
    invalid = f"NOT json_valid({found})"
    if "schema" not in check.options:
        return f"({invalid})"
    good = _good(check.options["schema"], f"CAST({found} AS JSON)", 0)
    return f"({found} IS NOT NULL AND CASE WHEN {invalid} THEN true ELSE NOT ({good}) END)"


def _good(schema: Mapping[str, Any], value: str, depth: int) -> str:
    """SQL that is true for a value that keeps to the schema; words of another type's say nothing of it."""
    kind = f"json_type({value})"
    parts = []
    if "type" in schema:
        wanted = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        good = f"{kind} IN ({_texts([name for one in wanted for name in TYPES[one]])})"
        if "integer" in wanted:  # 1.0 is one, too, and so is what is beyond all of the engine's integers
            number = f"TRY_CAST(json_extract_string({value}, '$') AS DOUBLE)"
            good += f" OR ({kind} = 'DOUBLE' AND {number} = trunc({number}))"
        parts.append(f"({good})")
    constants = [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]
    if constants:
        parts.append(f"CAST({value} AS VARCHAR) IN ({_texts([json.dumps(c) for c in constants])})")
    text_value = f"json_extract_string({value}, '$')"
    for word, sign in NUMBERS.items():
        if word in schema:
            fails = f"CAST({text_value} AS DOUBLE) {sign} {float(schema[word])!r}"
            parts.append(f"CASE WHEN {kind} IN ({_texts(TYPES['number'])}) THEN NOT ({fails}) ELSE true END")
    for word, sign in LENGTHS.items():
        if word in schema:
            fails = f"length({text_value}) {sign} {int(schema[word])}"
            parts.append(f"({kind} <> 'VARCHAR' OR NOT ({fails}))")
    if "pattern" in schema:
        parts.append(f"({kind} <> 'VARCHAR' OR regexp_matches({text_value}, {text(schema['pattern'])}))")
    for word, sign in COUNTS.items():
        if word in schema:
            parts.append(
                f"({kind} <> 'ARRAY' OR NOT (json_array_length({value}) {sign} {int(schema[word])}))"
            )
    parts += [f"({kind} <> 'OBJECT' OR {_there(value, name)})" for name in schema.get("required", [])]
    for name, part in schema.get("properties", {}).items():
        inner = _good(part, f"json_extract({value}, {_path(name)})", depth)
        parts.append(f"({kind} <> 'OBJECT' OR NOT {_there(value, name)} OR ({inner}))")
    if "items" in schema:
        inner = _good(schema["items"], f"e{depth}", depth + 1)
        items = f"CAST({value} AS JSON[])"
        all_good = f"coalesce(list_bool_and(list_transform({items}, lambda e{depth}: ({inner}))), true)"
        parts.append(f"CASE WHEN {kind} = 'ARRAY' THEN {all_good} ELSE true END")
    return " AND ".join(parts) or "true"


def _there(value: str, name: str) -> str:
    return f"json_exists({value}, {_path(name)})"


def _path(name: str) -> str:
    return text('$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"')


def _texts(values: Any) -> str:
    return ", ".join(text(value) for value in values)


KINDS = {
    "is_json": RowKind(
        _bad, lambda check: being("JSON of its schema" if "schema" in check.options else "JSON")
    ),
}
