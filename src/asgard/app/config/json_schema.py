"""The JSON Schema of `asgard.yml`, for editors: completion, help and red lines while typing.

Made from the models that read the file, with the options of every connector that there is, depending on
`type`. Where the reader takes more than a type says, the schema does too: a `${...}` may stand for every
value, and a number for a text. The reader has the last word: it alone knows which keys go together.

Reference: https://json-schema.org/draft/2020-12/json-schema-core
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from asgard.app.config.project import ProjectKeys
from asgard.app.config.project_file import SOURCES, TABLE_LISTS
from asgard.app.config.source_reading import GROUPING, SOURCE_NAME, flattens, source_class
from asgard.app.config.specs import SourceKeys, TableSpec
from asgard.app.config.table_reading import NOT_DEFAULTS, TABLE_KEYS
from asgard.app.config.validation import keys_of, names_of
from asgard.core import registry
from asgard.core.errors import AsgardError

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
ANYTHING: Schema = {"type": "object"}
_ANNOTATIONS = ("description", "default", "deprecated", "examples")
_NARROW = ("enum", "const", "pattern", "minLength", "maxLength")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs")


def project_json_schema() -> Schema:
    """The schema of a whole project file; it stands alone."""
    defs: Schema = {}
    names: dict[str, list[str]] = {}
    for name in registry.connector_names():
        try:
            connector = source_class(name)
        except (AsgardError, ImportError):  # its driver is not installed: its options cannot be known
            defs[name] = ANYTHING
        else:
            _describe_connector(name, connector, defs)
        names[name] = [name, *(alias for alias, of in registry.ALIASES.items() if of == name)]
    defs["source"] = _source_of_any_type(names)
    properties = _properties(ProjectKeys, "project", defs)
    properties[SOURCES] = {
        "type": "object",
        "description": properties[SOURCES]["description"],
        "propertyNames": {"pattern": f"^{SOURCE_NAME.pattern}$"},
        "properties": {alias: _either_way(name) for name, aliases in names.items() for alias in aliases},
        "additionalProperties": {"allOf": [{"$ref": "#/$defs/source"}, {"required": ["type"]}]},
    }
    return {
        "$schema": DIALECT,
        "title": "asgard.yml",
        "description": "What is loaded, from where, and what it must be up to.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": dict(sorted(defs.items())),
    }


def _either_way(name: str) -> Schema:
    """A source whose name is a connector's may leave its type out."""
    return {
        "if": {"required": ["type"]},
        "then": {"$ref": "#/$defs/source"},
        "else": {"$ref": f"#/$defs/{name}"},
    }


def _source_of_any_type(names: dict[str, list[str]]) -> Schema:
    every = sorted(alias for aliases in names.values() for alias in aliases)
    return {
        "type": "object",
        "properties": {"type": {"anyOf": [{"enum": every}, REFERENCE], "description": "The connector."}},
        "allOf": [
            {
                "if": {"properties": {"type": {"enum": aliases}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name, aliases in names.items()
        ],
    }


def _describe_connector(name: str, connector: Any, defs: Schema) -> None:
    """Adds `<name>` for its sources, `<name>.table` for its tables."""
    config = connector.Config
    options = _properties(config, name, defs)
    closed = config.model_config.get("extra") != "allow"
    table = _properties(TableSpec, "table", defs) | _properties(
        connector.StreamOptions, f"{name}.table", defs
    )
    table = {
        key: schema
        for key, schema in table.items()
        if key in TABLE_KEYS or key in keys_of(connector.StreamOptions)
    }
    open_table = connector.StreamOptions.model_config.get("extra") == "allow"
    defs[f"{name}.table"] = {
        "type": "object",
        "properties": table,
        "required": ["name"],
        "additionalProperties": open_table,
    }
    common = _properties(SourceKeys, "source", defs)
    common["defaults"] |= {
        "type": "object",
        "properties": {key: schema for key, schema in table.items() if key not in NOT_DEFAULTS},
        "additionalProperties": open_table,
    }
    for key in TABLE_LISTS:
        entry = {"$ref": f"#/$defs/{name}.table"}
        items = {"if": {"type": "object"}, "then": entry, "else": {"type": "string"}}
        common[key] |= {"type": "array", "items": items}
    grouped = flattens(config)
    if grouped:
        common[GROUPING] |= {"type": "object", "properties": options, "additionalProperties": not closed}
    defs[name] = {
        "type": "object",
        "properties": options | common,
        "additionalProperties": not closed,
    }
    if required := list(_required(config, grouped)):
        defs[name]["allOf"] = required


def _required(config: type[BaseModel], grouped: bool) -> Iterable[Schema]:
    """A required option may stand in the source or in its `connection`, under any of its names."""
    for name, field in config.model_fields.items():
        if field.is_required():
            here: list[Schema] = [{"required": [key]} for key in names_of(name, field)]
            there: Schema = {"required": [GROUPING], "properties": {GROUPING: {"anyOf": here}}}
            yield {"anyOf": [*here, there] if grouped else here}


def _properties(model: type[BaseModel], prefix: str, defs: Schema) -> Schema:
    """Key to schema, also for the other names of a field; what the model refers to goes to `defs`."""
    schema = model.model_json_schema(by_alias=False, ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        defs[f"{prefix}.{name}"] = _loosened(inner)
    properties: Schema = {}
    for name, field in model.model_fields.items():
        for key in names_of(name, field):
            properties[key] = _loosened(schema["properties"].get(name, {}))
    return properties


def _loosened(schema: Schema) -> Schema:
    """The schema for what may be written: with references, and without what only pydantic wants to know."""
    loose = {key: value for key, value in schema.items() if key != "title" or isinstance(value, dict)}
    for key in _LISTS_OF_SCHEMAS:
        if key in loose:
            kept = [inner for inner in loose[key] if inner != {"type": "null"}]
            loose[key] = [_loosened(inner) for inner in kept]
    for key in _MAPS_OF_SCHEMAS:
        if key in loose:
            loose[key] = {name: _loosened(inner) for name, inner in loose[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(loose.get(key), dict):
            loose[key] = _loosened(loose[key])
    if loose.get("default", ...) is None:
        del loose["default"]
    if loose.get("type") == "string" and not any(key in loose for key in _NARROW):
        return loose | {"type": ["string", "number"]}
    if loose.get("type") in ("integer", "number", "boolean", "string") or "enum" in loose or "const" in loose:
        notes = {key: loose.pop(key) for key in _ANNOTATIONS if key in loose}
        return {"anyOf": [loose, REFERENCE], **notes}
    return loose
