"""What a Python caller's configuration asks for, in whichever of the users' shapes it comes.

    {"host": ..., "database": ...}                          the connector's own options
    {"connection": {"host": ..., ...}, "query": ...}        the same, grouped, as in asgard.yml
    {"path": "orders.csv", "delimiter": ";"}                options of one table beside those of the source
    DataSourceConfig, or the same as a dictionary           a whole `data:` block

The words and their checks are those of the project file (`config.source_reading`), so a mistake is told in
the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from asgard.app.config.data_block import BLOCK, ONLY_TABLE, DataBlock, load_data_block
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.source_reading import SOURCE_KEYS, read_source
from asgard.app.config.specs import SourceSpec, TableSpec
from asgard.app.config.table_reading import TABLE_KEYS
from asgard.app.config.validation import keys_of
from asgard.app.config.yaml_text import tree_of
from asgard.core import registry
from asgard.core.errors import ConfigError

WHERE = "config"
BLOCK_KEYS = ("source", "file_type", "api_config", "cloud_config")
"""Keys that only a `data:` block has."""


@dataclass(frozen=True)
class Asked:
    """A configuration, read.

    Attributes:
        spec: the source; its tables are those that the configuration names.
        table: what is loaded unless a call says otherwise; None when the configuration says nothing about a
            table. Without a name it means the only one that the source has.
        backend, target_column, chunk_rows: as the configuration has them; None for what it does not say.
    """

    spec: SourceSpec
    table: TableSpec | None = None
    backend: str = "auto"
    target_column: str | None = None
    chunk_rows: int | None = None

    def named(self, name: str) -> TableSpec | None:
        """What the configuration says about a table."""
        return next((table for table in self.spec.tables if table.name == name), None)


def asked_of(type_name: str, config: Any, folder: Path | None = None) -> Asked:
    """Reads a configuration for a connector; what is read already stays as it is.

    Args:
        type_name: the connector's own name; `type` in the configuration may be an alias of it.
        folder: where relative paths begin and `.env` lies: then `${...}` is resolved. None takes values as
            they are.

    Raises:
        ConfigError: with every mistake, one a line: `config.port: what; hint`.
    """
    if isinstance(config, Asked):
        return config
    given = given_in(config)
    named = given.setdefault("type", type_name)
    if registry.canonical_name(named) != registry.canonical_name(type_name):
        raise ConfigError(
            f"the configuration is for {named!r}, this connector is {type_name!r}",
            hint=f"asgard.get_connector_class({named!r}) gives the other",
        )
    if any(key in given for key in BLOCK_KEYS):
        return of_block(load_data_block(given, folder))
    return _from_options(given, folder)


def given_in(config: Any) -> dict[str, Any]:
    """What a configuration says, without what it leaves empty; a block below `data` is taken out of it.

    Raises:
        ConfigError: it is no configuration.
    """
    if isinstance(config, BaseModel):
        config = config.model_dump(exclude_unset=True)
    if not isinstance(config, Mapping):
        raise ConfigError(f"a configuration is a dictionary, this is {type(config).__name__}")
    block = config.get(BLOCK)
    inner = block if isinstance(block, Mapping) and "type" not in config else config
    return {key: value for key, value in inner.items() if value is not None}


def of_block(block: DataBlock) -> Asked:
    """What a `data:` block asks for."""
    return Asked(block.source, block.table, block.backend, block.table.target_column, block.chunk_rows)


def _from_options(given: dict[str, Any], folder: Path | None) -> Asked:
    named = given["type"]
    connector = registry.connector_class(named)
    own = {*keys_of(connector.Config), *SOURCE_KEYS}
    of_table = {*TABLE_KEYS, *keys_of(connector.StreamOptions)} - own
    backend = given.pop("backend", "auto")
    chunk_rows = given.get("chunk_size") if "chunk_size" in own else given.pop("chunk_size", None)
    entry = {key: given.pop(key) for key in list(given) if key in of_table}
    if named != registry.canonical_name(named) and "format" in own:
        given.setdefault("format", named)
    says_which = bool({"name", "table", "path", "query"} & set(entry))
    if entry:
        entry.setdefault("name", entry.get("table") or PurePath(entry.get("path", ONLY_TABLE)).stem)
        given["tables"] = [*given.get("tables", ()), entry]
    mistakes = Mistakes()
    tree = tree_of(given) if folder is None else resolve_tree(tree_of(given), References(folder), mistakes)
    spec = read_source(registry.canonical_name(named), tree, WHERE, mistakes, folder)
    mistakes.raise_if_any()
    assert spec is not None
    table = spec.tables[-1] if entry or len(spec.tables) == 1 else None
    if entry and table is not None and not says_which:
        table = table.model_copy(update={"name": ""})
    return Asked(spec, table, backend, table.target_column if table else None, chunk_rows)
