"""One entry of `data_sources:` to a SourceSpec: picks the connector, whose models read what is its own.

Keys of a source are the connector's, but for those of `SourceKeys`; `connection: {...}` is a way to group
them. Keys of a table are those of `TableSpec`, all others the connector's `StreamOptions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgard.app.config.mistakes import Mistakes, near
from asgard.app.config.project_file import TABLE_LISTS, spelled_out, values_of
from asgard.app.config.specs import SourceKeys, SourceSpec, TableSpec
from asgard.app.config.table_reading import NOT_DEFAULTS, TABLE_KEYS, TableReader
from asgard.app.config.validation import Entries, dotted, keys_of, read_model, said
from asgard.app.config.yaml_text import Node
from asgard.core import registry
from asgard.core.errors import AsgardError
from asgard.core.names import LAYERS, fold, stream_table

SOURCE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
SOURCE_KEYS = tuple(keys_of(SourceKeys))
OF_TABLES = {key: "it belongs to a table: tables: [{name: ..., " + key + ": ...}]" for key in TABLE_KEYS}
GROUPING = "connection"


def flattens(config: Any) -> bool:
    """Whether `connection: {...}` is only a way to group a connector's options.

    It is not where the connector has an option of that name, or takes whatever it is given.
    """
    return GROUPING not in config.model_fields and config.model_config.get("extra") != "allow"


def source_class(type_: str) -> Any:
    """The Source behind a `type`; a class with the five plain methods brings its own along.

    Raises:
        ConfigError: there is none of that name.
        ImportError: a package that it needs is not installed.
    """
    found = registry.connector_class(type_)
    return found.as_source(registry.canonical_name(type_)) if hasattr(found, "as_source") else found


def known_connector(type_: str, path: str, node: Node, mistakes: Mistakes) -> Any:
    """The same, or None: then `mistakes` says why.

    Args:
        path, node: where the type is written.
    """
    try:
        return source_class(type_)
    except AsgardError as error:
        what, hint = error.what, error.hint
        if node.referred:
            what, hint = "there is no connector of that name", ""
    except ImportError as error:
        what = f"{type_!r} needs a package that is not installed: {error.name or error}"
        hint = f"pip install 'asgard-platform[{registry.canonical_name(type_)}]'"
    mistakes.add(what, path=path, hint=hint, place=node.where)
    return None


def read_source(
    name: str,
    node: Node,
    path: str,
    mistakes: Mistakes,
    folder: Path | None = None,
    *,
    unavailable: AsgardError | None = None,
) -> SourceSpec | None:
    """The source, or None: then `mistakes` has everything that is wrong with it.

    Args:
        path: what the source stands under, for messages.
        folder: where relative paths of the source begin; None for the folder of the process.
        unavailable: a store did not give a secret of its, so that its options are left unread.
    """
    return _SourceReader(name, node, path, mistakes, folder, unavailable).read()


@dataclass
class _SourceReader:
    name: str
    node: Node
    path: str
    mistakes: Mistakes
    folder: Path | None
    unavailable: AsgardError | None

    def read(self) -> SourceSpec | None:
        before = len(self.mistakes)
        nodes = self.node.value
        if not isinstance(nodes, dict):
            what = "is empty" if nodes is None else "must be keys with values"
            self._tell(what, self.path, "give it type, connection and tables", self.node)
            return None
        self._check_name()
        common = {key: node for key, node in nodes.items() if key in SOURCE_KEYS}
        keys = read_model(SourceKeys, Entries(common, self.path, self.node.where, {}), self.mistakes)
        connector = self._connector(nodes.get("type"))
        config = self._config(connector) if connector and self.unavailable is None else None
        tables = self._tables(connector, keys.frequency if keys else None)
        if keys is None or len(self.mistakes) > before:
            return None
        return SourceSpec(
            name=self.name,
            type=registry.canonical_name(keys.type or self.name),
            config=config,
            connector_class=connector,
            tables=tables,
            defaults={key: child.plain() for key, child in values_of(nodes.get("defaults")).items()},
            frequency=keys.frequency,
            description=keys.description,
            origin=str(self.node.key_place or ""),
            unavailable=self.unavailable,
            schema_contract=keys.schema_contract,
        )

    def _tell(self, what: str, path: str, hint: str, node: Node | None = None) -> None:
        self.mistakes.add(what, path=path, hint=hint, place=node.where if node else self.node.where)

    def _check_name(self) -> None:
        if not SOURCE_NAME.fullmatch(self.name):
            hint = (
                "use letters, digits, _ and -, a letter first, 63 at most: it becomes part of tables' names"
            )
            self._tell(f"{self.name!r} cannot be a source's name", self.path, hint)
        elif self.name.casefold() in LAYERS:
            self._tell(f"{self.name!r} is the name of a layer", self.path, "give the source another name")

    def _connector(self, node: Node | None) -> Any:
        """The Source class, or None: then it is told why."""
        if node is not None and (node.unresolved or isinstance(node.value, dict | list | bool)):
            return None  # that it is no name is told already
        given = node.text if node is not None and node.value is not None else ""
        path = dotted(self.path, "type")
        if not given and not registry.is_connector(self.name):
            known = registry.connector_names()
            there = near(self.name, known) or f"there are: {', '.join(known)}"
            self._tell("is missing", path, f"{self.name!r} is not the name of a connector; {there}")
            return None
        return known_connector(given or self.name, path, node or self.node, self.mistakes)

    def _config(self, connector: Any) -> Any:
        own = {key: node for key, node in self.node.value.items() if key not in SOURCE_KEYS}
        grouped = self.node.value.get(GROUPING)
        path, place = self.path, self.node.where
        paths: dict[str, str] = {}
        if grouped is not None and grouped.value is not None and not flattens(connector.Config):
            own[GROUPING] = grouped
        elif grouped is not None and grouped.value is not None:
            path, place = dotted(self.path, GROUPING), grouped.where
            if not isinstance(grouped.value, dict):
                self._tell("must be keys with values", path, "connection: {host: localhost, ...}", grouped)
                return None
            for key, node in values_of(grouped).items():
                if key in own:
                    what = f"is given twice: in {GROUPING}, and beside it"
                    self._tell(what, dotted(self.path, key), "keep one of them", own[key])
                own[key], paths[key] = node, dotted(path, key)
        entries = Entries(own, self.path, place, paths, SOURCE_KEYS, OF_TABLES, path, self.folder)
        return read_model(connector.Config, entries, self.mistakes)

    def _tables(self, connector: Any, frequency: str | None) -> tuple[TableSpec, ...]:
        defaults = self.node.value.get("defaults")
        defaults_path = dotted(self.path, "defaults")
        if defaults is not None and not isinstance(defaults.value, dict | None):
            self._tell("must be keys with values", defaults_path, "defaults: {mode: append}", defaults)
        for key in set(NOT_DEFAULTS) & set(values_of(defaults)):
            node = values_of(defaults)[key]
            self._tell("cannot be a default", dotted(defaults_path, key), "say it at the table", node)
        shared = {key: node for key, node in values_of(defaults).items() if key not in NOT_DEFAULTS}
        reader = TableReader(connector, shared, defaults_path, frequency, self.mistakes, self.folder)
        tables = []
        first: dict[str, Node] = {}
        for path, node in self._entries():
            tables.append(reader.read(node, path))
            keys = values_of(spelled_out(node))
            named = [keys[key] for key in ("as", "table", "name") if key in keys and keys[key].text]
            if not named:
                continue
            namespace, _, name = named[0].text.rpartition(".")
            table = fold(stream_table(namespace, name) if named[0] is keys.get("name") else named[0].text)
            if (other := first.setdefault(table, named[0])) is not named[0]:
                what = f"{said(named[0])} would be the same table in the lake as {said(other)}"
                hint = f"that one is at {other.place}; name the table of one of them with `as`"
                self._tell(what, path, hint, named[0])
        return tuple(table for table in tables if table is not None)

    def _entries(self) -> Iterator[tuple[str, Node]]:
        """The entries of all lists of tables, with their paths."""
        for key in TABLE_LISTS:
            listed = self.node.value.get(key)
            path = dotted(self.path, key)
            if listed is None or listed.value is None:
                continue
            if not isinstance(listed.value, list):
                self._tell("must be a list", path, f"{key}: [{{name: orders}}, ...]", listed)
                continue
            for number, node in enumerate(listed.value):
                yield dotted(path, number), node
