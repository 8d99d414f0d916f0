"""The page docs/reference/project-file.md: prose from tools/project_file.md, every key from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from asgard.app.config.lakes import CatalogSpec, LakeSpec
from asgard.app.config.project import ProjectKeys
from asgard.app.config.quantities import DURATION_PATTERN, SIZE_PATTERN
from asgard.app.config.schedule_specs import MaintenanceSpec
from asgard.app.config.specs import CRON_PATTERN, SourceKeys, TableSpec
from asgard.app.config.table_reading import TABLE_KEYS
from asgard.app.config.validation import names_of

PROSE = Path(__file__).with_name("project_file.md")
PATTERNS = {DURATION_PATTERN: "a duration", SIZE_PATTERN: "a size", CRON_PATTERN: "cron"}
WORDS = {"string": "text", "integer": "a number", "number": "a number", "boolean": "`true`, `false`"}


def project_file_page() -> str:
    """The prose, with a table of keys for each `{Model}` in it."""
    text = PROSE.read_text()
    for model in (ProjectKeys, LakeSpec, CatalogSpec, MaintenanceSpec, SourceKeys, TableSpec):
        text = text.replace(f"{{{model.__name__}}}\n", _table(model))
    return text


def _table(model: type[BaseModel]) -> str:
    schema = model.model_json_schema(by_alias=False)
    rows = "| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |\n"
    for name, field in model.model_fields.items():
        if model is TableSpec and name not in TABLE_KEYS:
            continue
        kind = _kind(schema["properties"][name], schema)
        keys = " or ".join(f"`{key}`" for key in names_of(name, field))
        default = "required" if field.is_required() else _default(field.default, kind)
        rows += f"| {keys} | {kind} | {default} | {field.description} |\n"
    return rows


def _default(value: Any, kind: str) -> str:
    if value in (None, (), "", PydanticUndefined) or isinstance(value, BaseModel):
        return ""
    if "a duration" in kind and value % 86_400 == 0:
        return f"`{value / 86_400:g}d`"
    if "a size" in kind:
        return f"`{value // 1_000_000}MB`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _kind(schema: dict[str, Any], root: dict[str, Any]) -> str:
    if "anyOf" in schema:
        kinds = [_kind(inner, root) for inner in schema["anyOf"] if inner != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return _kind(target, root)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("pattern") in PATTERNS:
        return PATTERNS[schema["pattern"]]
    if schema.get("type") == "array":
        return f"a list of {_kind(schema['items'], root)}" if schema["items"] else "a list"
    return WORDS.get(schema.get("type", ""), "keys with values")
