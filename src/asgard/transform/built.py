"""What a model's table was built from: kept as its position, in the commit that has the rows (Promise 1).

Tables that earlier versions built say less: the fingerprint of their model and the versions that it read.

Reference: docs/decisions/0170-what-a-model-was-built-from.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from asgard.core.check import Check
from asgard.core.errors import PositionLost
from asgard.core.position import Position
from asgard.core.table import TableName
from asgard.transform.models import Model

STREAM = "model"
"""The stream under which a model's table keeps its position."""
FORMAT = 1
OPTIONS = ("mode", "primary_key", "valid_from", "dialect", "incremental")
"""How rows are laid down: a definition has those that are said."""


@dataclass(frozen=True)
class Built:
    """What rows were made of.

    Attributes:
        fingerprint: of the model, as `Model.fingerprint`; empty for none.
        upstream: table to the version that was read.
        seen: table to the digest of the files that it had in that version: a number may come again after a
            table was restored or made anew, its files do not.
        definition: the model itself, as `definition_of`; empty for what an earlier version built.
        beside: for a table of an environment: what stood in production then, as `Beside`.
    """

    fingerprint: str = ""
    upstream: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The position's token."""
        said: dict[str, Any] = {"format": FORMAT, "model": self.fingerprint, "upstream": dict(self.upstream)}
        more = {"seen": self.seen, "definition": self.definition, "beside": self.beside}
        said |= {key: dict(value) for key, value in more.items() if value}
        return json.dumps(said, sort_keys=True)

    @classmethod
    def of(cls, position: Position | None) -> Built | None:
        """What a position says; None when no model has built the table, or it is to be built anew.

        Raises:
            PositionLost: a newer version built it.
        """
        if position is None or not position.token:
            return None
        try:
            said = json.loads(position.token)
            if "model" in said and said["format"] != FORMAT:  # Promise 10
                raise PositionLost(
                    f"what built the table is told in format {said['format']!r}, not {FORMAT}",
                    hint="run the version of Asgard that built it, or a newer one",
                )
            return cls(
                fingerprint=said["model"],
                upstream=said["upstream"],
                seen=said.get("seen", {}),
                definition=said.get("definition", {}),
                beside=said.get("beside", {}),
            )
        except (ValueError, KeyError, TypeError):
            return None  # written by a transform of the API, which remembers its runs instead

    def is_of(self, model: Built) -> bool:
        """Whether the rows were made by the model as it is now: its SQL may be written in another way."""
        if self.fingerprint == model.fingerprint:
            return True
        if not self.definition or not model.definition:
            return False
        others = [{k: v for k, v in one.definition.items() if k != "sql"} for one in (self, model)]
        if others[0] != others[1]:
            return False
        from asgard.transform.differences import same_sql  # with sqlglot, for those that may have changed

        dialect = str(model.definition.get("dialect", "duckdb"))
        return same_sql(str(self.definition["sql"]), str(model.definition["sql"]), dialect)

    def read_at(self, upstream: Mapping[str, int], seen: Mapping[str, str]) -> Built:
        """The same model on other versions of its tables."""
        return replace(self, upstream=dict(upstream), seen=dict(seen))


def definition_of(model: Model) -> dict[str, Any]:
    """What makes a model the one that it is, as JSON: SQL, how its rows are laid down, what they must be."""
    spec = model.spec.model_dump(mode="json")
    said = {key: spec[key] for key in OPTIONS if spec.get(key)}
    if model.promises:
        said["contract"] = [check_said(check) for check in model.promises]
    return {**said, "sql": model.sql.strip(), "checks": [check_said(check) for check in model.checks]}


def built_by(model: Model) -> Built:
    """The model, without the versions that it reads."""
    return Built(fingerprint=model.fingerprint, definition=definition_of(model))


def check_said(check: Check) -> str:
    """What a check asks, as one line of text."""
    options = {key: check.options[key] for key in sorted(check.options)}
    said = [check.kind, list(check.columns), options, check.mostly, str(check.on_fail)]
    return json.dumps(said, default=str)


def check_named(said: str) -> str:
    """What `check_said` told, in short: `not_null(id)`."""
    kind, columns, *_ = json.loads(said)
    return f"{kind}({', '.join(columns)})" if columns else str(kind)


def names_of(upstream: Mapping[TableName, Any]) -> dict[str, Any]:
    """The same by the names' text, sorted."""
    return {str(name): value for name, value in sorted(upstream.items())}
