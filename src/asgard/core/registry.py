"""Finds connectors: files of `asgard.connectors`, entry points of that name, and registered classes."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from asgard.core.errors import ConfigError

PACKAGE = "asgard.connectors"
API_VERSION = 1
ALIASES = {
    "api": "rest",
    "azure_blob": "azure",
    "csv": "files",
    "excel": "files",
    "file": "files",
    "gs": "gcs",
    "json": "files",
    "jsonl": "files",
    "minio": "s3",
    "mariadb": "mysql",
    "parquet": "files",
    "postgresql": "postgres",
    "tsv": "files",
}
"""Names that users' configurations have for a connector."""

_registered: dict[str, Any] = {}


def register(name: str, connector: Any) -> None:
    """Adds a connector of this process: a Source class, or a class whose `as_source(name)` gives one."""
    _registered[name] = connector


def canonical_name(name: str) -> str:
    """The connector's own name for a name or alias."""
    return ALIASES.get(name, name)


def connector_names() -> list[str]:
    """Every connector there is, sorted; nothing is imported for it."""
    spec = importlib.util.find_spec(PACKAGE)
    paths = list(spec.submodule_search_locations or []) if spec else []
    own = {module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")}
    strangers = {point.name for point in entry_points(group=PACKAGE)}
    return sorted(own | strangers | set(_registered))


def is_connector(name: str) -> bool:
    """Whether a `type` names a connector or an alias of one."""
    return canonical_name(name) in connector_names()


def connector_class(name: str) -> Any:
    """The Source class behind a type; imports that one module. A plain connector's stands for it.

    Raises:
        ConfigError: there is none of that name; the hint names near ones.
    """
    wanted = canonical_name(name)
    if wanted in _registered:
        return _checked(_registered[wanted], wanted)
    names = connector_names()
    if wanted not in names:
        near = get_close_matches(name, [*names, *ALIASES], 3, 0.5)
        raise ConfigError(
            f"there is no connector {name!r}",
            hint=(f"did you mean {' or '.join(near)}? " if near else "") + f"There are: {', '.join(names)}",
        )
    for point in entry_points(group=PACKAGE):
        if point.name == wanted:
            return _checked(point.load(), wanted)
    module = importlib.import_module(f"{PACKAGE}.{wanted}")
    return _checked(module.CONNECTOR, wanted)


def _checked(found: Any, name: str) -> Any:
    version = getattr(found, "asgard_api", API_VERSION)
    if version != API_VERSION:
        raise ConfigError(
            f"connector {name!r} is written for asgard_api {version}, this is {API_VERSION}",
            hint="install a version of it that fits",
        )
    return found.as_source(name) if hasattr(found, "as_source") else found
