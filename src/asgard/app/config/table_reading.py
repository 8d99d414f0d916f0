"""One entry of `tables:`, with the defaults of its source, to a TableSpec.

Which keys go together is decided here, as far as the file alone can tell; what the source has - its columns,
the keys it knows itself - is asked later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgard.app.config.mistakes import Mistakes, Place
from asgard.app.config.project_file import spelled_out, values_of
from asgard.app.config.specs import TableSpec
from asgard.app.config.validation import Entries, dotted, keys_of, read_model, said
from asgard.app.config.yaml_text import Node
from asgard.core.source import Feature
from asgard.core.stream import Mode
from asgard.quality.masking import misused

TABLE_KEYS = tuple(key for key in keys_of(TableSpec) if key not in ("options", "origin"))
"""Keys that a table has with every connector."""
NOT_DEFAULTS = ("name", "table", "as", "mask")


@dataclass
class TableReader:
    """Reads the tables of one source.

    Attributes:
        connector: None where it is not known: then keys that are not `TableSpec`'s are passed over.
        defaults: keys of the source's `defaults`, and the path that they stand under.
        frequency: the source's own.
        folder: where relative paths begin.
    """

    connector: Any
    defaults: Mapping[str, Node]
    defaults_path: str
    frequency: str | None
    mistakes: Mistakes
    folder: Path | None = None

    def read(self, node: Node, path: str) -> TableSpec | None:
        """The table, or None: then `mistakes` has everything that is wrong with it."""
        entry = spelled_out(node)
        if not isinstance(entry.value, dict):
            what = "must be a name, or keys with values"
            self.mistakes.add(what, path=path, hint="write - name: orders", place=node.where)
            return None
        nodes = {**self.defaults, **entry.value}
        paths = {key: dotted(self.defaults_path, key) for key in self.defaults if key not in entry.value}
        place = entry.where
        common = {key: child for key, child in nodes.items() if key in TABLE_KEYS}
        spec = read_model(TableSpec, Entries(common, path, place, paths), self.mistakes)
        options = None
        if self.connector is not None:
            rest = {key: child for key, child in nodes.items() if key not in TABLE_KEYS}
            entries = Entries(rest, path, place, paths, TABLE_KEYS, folder=self.folder)
            options = read_model(self.connector.StreamOptions, entries, self.mistakes)
        self._check_together(_Keys(nodes), _Keys(entry.value), path, place)
        if spec is None:
            return None
        for column, what, hint in misused(spec.mask, spec.primary_key, spec.cursor):
            where = values_of(entry.value.get("mask")).get(column)
            self.mistakes.add(
                what, path=dotted(path, f"mask.{column}"), hint=hint, place=where and where.where
            )
        mode = spec.mode or self._mode(spec)
        completed = {
            "mode": mode,
            "frequency": spec.frequency or self.frequency,
            "options": options,
            "origin": str(place or ""),
        }
        return spec.model_copy(update=completed)

    def _mode(self, spec: TableSpec) -> Mode:
        """What happens to the rows that are there, where nobody says it: a log's rows never change."""
        if self.connector is not None and Feature.ENDLESS in self.connector.features:
            return Mode.APPEND
        return Mode.MERGE if spec.cursor else Mode.REPLACE

    def _check_together(self, keys: _Keys, own: _Keys, path: str, place: Place | None) -> None:
        """Tells the keys that do not go together; what comes from defaults is told at the table it meets."""

        def tell(key: str, what: str, hint: str) -> None:
            node = own.nodes.get(key) or own.nodes.get("name")
            self.mistakes.add(what, path=dotted(path, key), hint=hint, place=(node and node.where) or place)

        mode, name = keys.text("mode"), keys.text("name")
        pattern = any(character in name for character in "*?[") and not keys.text("query")
        if not mode and keys.given("cursor") and not keys.given("primary_key"):
            tell(
                "mode",
                "is missing: a cursor alone does not say what happens to rows that changed",
                "mode: append adds what is new; mode: merge with primary_key replaces what changed",
            )
        keyless = not keys.given("primary_key") and not self._knows_its_keys(keys)
        if mode in (Mode.MERGE, Mode.HISTORY) and keyless:
            tell("primary_key", f"is missing: {mode} needs it to tell rows apart", "write primary_key: [id]")
        keyed = mode in (Mode.MERGE, Mode.HISTORY) or (not mode and keys.given("cursor"))
        for key in ("detect_deletes", "soft_delete"):
            if own.given(key) and not keyed:
                tell(key, "is for mode: merge and mode: history", "leave it out, or set one of these")
        if own.given("detect_deletes") and mode == Mode.HISTORY and not keys.given("cursor"):
            tell("detect_deletes", "does nothing: every row is read each time", "leave it out")
        if own.given("valid_from") and mode != Mode.HISTORY:
            tell("valid_from", "is for mode: history alone", "leave it out, or set mode: history")
        if keys.text("valid_from") == "cursor" and not keys.given("cursor"):
            tell("valid_from", "asks the cursor, and there is none", "give it a cursor, or leave it out")
        if own.given("cursor_lag") and not keys.given("cursor"):
            tell("cursor_lag", "does nothing without a cursor", "give it a cursor, or leave it out")
        if own.given("exclude") and not pattern:
            tell("exclude", "does nothing for a single name", 'use it with a name such as "public.*"')
        for key in ("as", "table"):
            if own.given(key) and pattern:
                tell(key, f"cannot be the name of all that match {said(keys.nodes['name'])}", "leave it out")

    def _knows_its_keys(self, keys: _Keys) -> bool:
        """Whether the source itself can say what the table's key is: who takes queries has a catalog."""
        if self.connector is None:
            return True
        return not keys.text("query") and Feature.QUERY in self.connector.features


@dataclass(frozen=True)
class _Keys:
    """What is written of a table, right or wrong."""

    nodes: Mapping[str, Node]

    def given(self, key: str) -> bool:
        """Whether the key has a value; an empty list is none."""
        node = self.nodes.get(key)
        return node is not None and node.value is not None and node.value != []

    def text(self, key: str) -> str:
        """The value, if it is one; empty otherwise."""
        return self.nodes[key].text if self.given(key) else ""
