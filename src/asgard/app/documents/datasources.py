"""Sources that programs hand in over the API: read like those of asgard.yml, kept without their secrets."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.project_file import SOURCES, TABLE_LISTS, values_of
from asgard.app.config.source_reading import SOURCE_NAME, read_source, source_class
from asgard.app.config.specs import SourceSpec
from asgard.app.config.validation import dotted, keys_of
from asgard.app.config.yaml_text import tree_of
from asgard.app.documents.documents import (
    Hiding,
    created,
    found,
    keep,
    open_documents,
    page_of,
    refuse_references,
    removed,
    revealed,
    shown,
)
from asgard.app.jobs.jobs import Page
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.names import LAYERS
from asgard.state.documents import Document

KIND = "datasource"
CONFIG = "source_config"
LONGEST_NAME = 50
EVERYTHING = ({"name": "*"},)
NOT_POSTED = frozenset(("type", "enabled", "frequency", "schedule", "connection", "allow_metadata_addresses"))
"""Keys that only the owner of the project may use, and those that would have no effect."""
FILES = "files"
"""The connector whose tables name files of this machine."""


@dataclass(frozen=True)
class NewSource:
    """A source as it is posted.

    Attributes:
        config: the connector's options; `tables`, `endpoints` and `files` may say what an ingestion loads.
    """

    type: str
    name: str
    workspace_name: str
    config: Mapping[str, Any]


def add_datasource(project: Project, new: NewSource) -> dict[str, Any]:
    """Reads a source, and keeps it. It is not connected to.

    Raises:
        ConfigError: with everything that is wrong with it.
        Refused: the store of secrets cannot be used.
    """
    mistakes = Mistakes()
    refuse_references(new.config, CONFIG, mistakes)
    for key in NOT_POSTED & set(new.config):
        hint = "leave it out, or name the source in asgard.yml"
        mistakes.add("cannot be posted", path=dotted(CONFIG, key), hint=hint)
    mistakes.raise_if_any()
    id = str(uuid.uuid4())
    spec = _read(_lake_name(new.name), new.type, new.config, project.folder)
    hiding = Hiding(f"{KIND}/{id}", spec.config)
    body = {
        "label": new.name,
        "source_type": spec.type,
        "workspace_name": new.workspace_name,
        "config": hiding.of(new.config),
    }
    keep(project, hiding.taken)
    return described(stored(project, id, new.name, body))


def config_of(project: Project, new: NewSource) -> Any:
    """What its connector reads; None where it does not know it, or not so."""
    try:
        return _read(_lake_name(new.name), new.type, new.config, project.folder).config
    except (AsgardError, ImportError):
        return None


def datasources(project: Project, after: str | None, limit: int) -> Page:
    """Those that there are, the oldest first."""
    listed, behind = page_of(project, KIND, after, limit)
    return Page([described(document) for document in listed], behind)


def lake_name_of(project: Project, id: str) -> str:
    """What the tables of a posted source stand under; empty where there is no such source."""
    with open_documents(project) as store:
        document = store.get(KIND, id)
    return document.name if document else ""


def datasource(project: Project, id: str) -> dict[str, Any]:
    """One by its id.

    Raises:
        ConfigError: there is none.
    """
    return described(found(project, KIND, id))


def delete_datasource(project: Project, id: str) -> dict[str, Any]:
    """Takes one away, with its secrets; the tables stay.

    Raises:
        ConfigError: there is none.
    """
    return described(removed(project, KIND, id))


def described(document: Document) -> dict[str, Any]:
    """As anybody may see it."""
    body = document.body
    known = {"airbyte_id": body["airbyte_id"]} if "airbyte_id" in body else {}
    return known | {
        "id": document.id,
        "source_id": document.id,
        "name": body["label"],
        "source_type": body["source_type"],
        "workspace_name": body["workspace_name"],
        CONFIG: shown(body["config"]),
        "tables": f"bronze.{document.name}",
        "created_at": created(document),
    }


def source_of(project: Project, id: str, tables: Sequence[Any] = ()) -> SourceSpec:
    """The source with its secrets, ready to be read.

    Args:
        tables: what to load: names, or entries as asgard.yml has them; by default what the source's own
            config says, else everything that it has.

    Raises:
        ConfigError: there is none, or a table's entry is wrong.
        Refused, Unreachable: the store of secrets does not give them.
    """
    document = found(project, KIND, id)
    config = dict(document.body["config"])
    if tables:
        config = {key: value for key, value in config.items() if key not in TABLE_LISTS}
    if not any(config.get(key) for key in TABLE_LISTS):
        config["tables"] = [*(tables or EVERYTHING)]
    return _read(document.name, document.body["source_type"], revealed(project, config), project.folder)


def _read(name: str, type_: str, config: Mapping[str, Any], folder: Path) -> SourceSpec:
    _confine_documents(type_, config, folder)
    mistakes = Mistakes()
    spec = read_source(name, tree_of({"type": type_, **config}), CONFIG, mistakes, folder)
    mistakes.raise_if_any()
    assert spec is not None
    _confine(spec, folder)
    return spec


def _lake_name(label: str) -> str:
    """What the source's tables stand under: `My Postgres Source` is `my_postgres_source`."""
    name = re.sub(r"[^a-z0-9_]+", "_", label.lower()).strip("_")[:LONGEST_NAME] or "source"
    name = name if SOURCE_NAME.fullmatch(name) else f"source_{name}"
    return f"{name}_source" if name in LAYERS else name


def stored(project: Project, id: str, label: str, body: Mapping[str, Any]) -> Document:
    """Stored under the name that its tables stand under, or with a number behind it where the project or
    another one has that name."""
    name = _lake_name(label)
    taken: set[str] = set()
    if project.files is not None:
        taken = {other.casefold() for other in values_of(project.files.written.value.get(SOURCES))}
    with open_documents(project) as store:
        number = 1
        while True:
            own = name if number == 1 else f"{name}_{number}"
            if own not in taken and store.add(Document(KIND, id, own, body)):
                document = store.get(KIND, id)
                assert document is not None
                return document
            number += 1


# ---- what may be read of this machine


def _confine(spec: SourceSpec, folder: Path) -> None:
    """Lets a posted source read files of the project's folder and no others: who may post one is no owner of
    the machine.

    Raises:
        ConfigError: a path leads out of it.
    """
    for path in _local_paths(spec.config):
        _insist_inside(path, folder)
    if spec.type == FILES:
        for table in spec.tables:
            path = getattr(table.options, "path", None) or ("" if table.is_pattern else table.name)
            _insist_inside(str(Path(spec.config.path) / str(path)), folder)


def _local_paths(config: Any) -> Iterator[str]:
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from _local_paths(value)
        elif isinstance(value, str) and _is_path(field):
            yield value


def _confine_documents(type_: str, config: Mapping[str, Any], folder: Path) -> None:
    """The same for options whose file is read together with them."""
    try:
        fields = keys_of(source_class(type_).Config)
    except (AsgardError, ImportError):
        return  # reading the source tells it better
    for key, field in fields.items():
        if isinstance(config.get(key), str) and _is_path(field):
            _insist_inside(config[key], folder)


def _is_path(field: FieldInfo) -> bool:
    marks = [*field.metadata, *(mark for one in get_args(field.annotation) for mark in get_args(one)[1:])]
    schemas = [mark.json_schema or {} for mark in marks if isinstance(mark, WithJsonSchema)]
    return any(
        kind.get("format") == "path" for schema in schemas for kind in (schema, *schema.get("anyOf", ()))
    )


def _insist_inside(path: str, folder: Path) -> None:
    inside = folder.resolve()
    if not (inside / Path(path).expanduser()).resolve().is_relative_to(inside):
        raise ConfigError(
            f"{path} leads out of the project's folder",
            hint="put the file below it, or name the source in asgard.yml",
        )
