"""What a run would build, from what and why, without building: the decisions of models in their order, and
what would become of their columns.

A model behind one that will be built is built too; what that one's rows will be is not known before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from asgard.core.check import OnFail
from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, Bug
from asgard.core.names import RESERVED_PREFIX
from asgard.core.stream import Mode
from asgard.core.table import Mount, Table, TableName
from asgard.flow.building import landing_of
from asgard.flow.decision import Action, Decision, Question, Reason, Why, changed_model, decide, without
from asgard.flow.terms import Terms
from asgard.quality.audit import AuditContext, audit
from asgard.transform.built import STREAM, Built, built_by, check_named
from asgard.transform.models import Model

OF_COLUMNS = ("columns", "column_count", "column_type")
"""Kinds of checks that columns answer without rows."""
SizeOf = Callable[[Mount], int | None]
"""Bytes of a table's files; None where they are not known."""


@dataclass(frozen=True)
class Columns:
    """What would become of a table's columns.

    Attributes:
        added: column to its type.
        removed: names.
        changed: column to the types before and after.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        changed = {name: list(types) for name, types in self.changed.items()}
        return {"added": dict(self.added), "removed": list(self.removed), "changed": changed}


@dataclass(frozen=True)
class Planned:
    """What would be done with one model.

    Attributes:
        blocked: why it cannot be built now; empty when it can.
        breaking: whether who reads the table may be hurt: True, False, or None where that is not known.
        because: what is breaking, or why it is not known; empty otherwise.
        rows, size_bytes: what would be read, as far as it is there already; None when not known.
        reads: table to the version that would be read.
    """

    name: TableName
    action: Action
    mode: Mode
    reasons: tuple[Reason, ...] = ()
    blocked: str = ""
    whole_because: str = ""
    columns: Columns = field(default_factory=Columns)
    breaking: bool | None = False
    because: str = ""
    rows: int | None = None
    size_bytes: int | None = None
    reads: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON; a figure that is not known is absent (Promise 8)."""
        said: dict[str, Any] = {
            "model": str(self.name),
            "action": "blocked" if self.blocked else str(self.action),
            "mode": str(self.mode),
            "reasons": [reason.as_dict() for reason in self.reasons],
            "reads": dict(self.reads),
        }
        known = {
            "blocked": self.blocked or None,
            "whole_because": self.whole_because or None,
            "columns": self.columns.as_dict() if self.columns else None,
            "breaking": self.breaking if self.reasons else None,
            "because": self.because or None,
            "rows": self.rows,
            "bytes": self.size_bytes,
        }
        return said | {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True)
class Candidate:
    """A model that may be built.

    Attributes:
        table: its own.
        question: None where a table that it reads is not there yet.
        missing: those tables.
        terms: how its rows are laid down.
        production: for an environment beside production: what stands there, which readers would be hurt of.
    """

    model: Model
    table: Table
    question: Question | None
    missing: tuple[TableName, ...] = ()
    terms: Terms = field(default_factory=lambda: Terms(Mode.REPLACE))
    production: Standing | None = None


@dataclass(frozen=True)
class Standing:
    """A table that readers have now.

    Attributes:
        built: what it was built from; None when no model has built it.
    """

    built: Built | None
    schema: pa.Schema

    @classmethod
    def of(cls, table: Table) -> Standing | None:
        """What a table is now; None when there is none."""
        return cls(Built.of(table.position(STREAM)), table.schema()) if table.exists() else None


class Planner:
    """Decides about models in their order, each knowing what was decided about those before it.

    Args:
        engine: tells what columns a SELECT makes; nothing is read with it.
        size_of: bytes of a table's files.
        rebuild: everything is built whole.
    """

    def __init__(self, engine: Engine, size_of: SizeOf, *, rebuild: bool = False) -> None:
        self._engine = engine
        self._size_of = size_of
        self._rebuild = rebuild
        self._now = datetime.now(UTC)
        self._before: dict[TableName, Planned] = {}
        self._schemas: dict[TableName, pa.Schema] = {}

    def plan(self, candidate: Candidate) -> Planned:
        """What would be done with the next model."""
        planned = self._planned(candidate)
        self._before[candidate.model.name] = planned
        return planned

    def _planned(self, candidate: Candidate) -> Planned:
        model = candidate.model
        coming = [self._before[up] for up in model.upstream if self._is_coming(up)]
        absent = [name for name in candidate.missing if not self._is_coming(name)]
        if absent:
            told = ", ".join(map(str, absent))
            return Planned(
                model.name, Action.NOTHING, model.spec.mode, blocked=f"{told} is not there yet: asgard run"
            )
        own = Standing.of(candidate.table)
        standing = candidate.production or own
        decision = self._decision(candidate, own.built if own else None, coming)
        if decision.action is Action.NOTHING:
            return Planned(model.name, decision.action, decision.mode)
        columns, refused = self._columns(candidate, standing, own)
        breaking, because = hurt(model, standing.built if standing else None, columns)
        rows, size_bytes = self._figures(decision)
        pinned = candidate.question.upstream if candidate.question else {}
        return Planned(
            model.name,
            decision.action,
            decision.mode,
            decision.reasons,
            blocked=refused,
            whole_because=decision.whole_because,
            columns=columns,
            breaking=breaking,
            because=because,
            rows=None if coming else rows,
            size_bytes=None if coming else size_bytes,
            reads={str(name): version for name, (version, _) in pinned.items()},
        )

    def _is_coming(self, name: TableName) -> bool:
        before = self._before.get(name)
        return before is not None and before.action is not Action.NOTHING and not before.blocked

    def _decision(self, candidate: Candidate, built: Built | None, coming: list[Planned]) -> Decision:
        model = candidate.model
        if candidate.question is None:
            first = Reason(Why.FIRST, "it was not built before")
            decision = Decision(Action.WHOLE, (first,) if built is None else (), model.sql, model.spec.mode)
        else:
            decision = decide(candidate.question, built, rebuild=self._rebuild)
        if built is None and candidate.production and candidate.production.built:
            # Not built here yet: what is told is how it is another than production's.
            reasons = tuple(changed_model(candidate.production.built, built_by(model)))
            decision = replace(decision, reasons=reasons or decision.reasons)
        if not coming:
            return decision
        told = tuple(Reason(Why.UPSTREAM, f"{up.name} will be built", str(up.name)) for up in coming)
        kept = tuple(r for r in decision.reasons if r.table not in {str(up.name) for up in coming})
        action = decision.action
        if action is Action.NOTHING:
            adds = all(up.action is Action.INCREMENT and up.mode is Mode.APPEND for up in coming)
            action = Action.INCREMENT if model.spec.incremental and adds else Action.WHOLE
        mode = model.spec.mode if decision.action is Action.NOTHING else decision.mode
        return Decision(action, (*kept, *told), model.sql, mode, decision.rows, decision.whole_because)

    def _columns(
        self, candidate: Candidate, standing: Standing | None, own: Standing | None
    ) -> tuple[Columns, str]:
        """What becomes of the columns, and why the SELECT cannot run, or its contract refuses what it makes.

        Args:
            standing: the table that readers have.
            own: the table that would be written.
        """
        model = candidate.model
        pinned = candidate.question.upstream if candidate.question else {}
        for name in model.upstream:
            schema = self._schemas.get(name) or (pinned[name][1].schema if name in pinned else None)
            if schema is None:
                return Columns(), ""
            self._engine.attach(name, Mount(schema))
        if model.spec.dialect != self._engine.dialect:
            return Columns(), ""  # what its own engine would make is not known without it
        sql = model.sql.strip().removesuffix(";")
        try:
            with self._engine.query(f"SELECT * FROM (\n{sql}\n) AS made LIMIT 0") as reader:
                made = reader.schema
        except AsgardError as error:
            return Columns(), error.what
        landing, refused = landing_of(made, "", self._now), ""
        try:
            landing = candidate.terms.landing(landing, own.schema if own else None, anew=self._rebuild)
            refused = self._broken_promises(model, landing.own)
        except AsgardError as error:
            refused = error.what
        self._schemas[model.name] = landing.own
        return (compared(standing.schema, landing.own) if standing else Columns()), refused

    def _broken_promises(self, model: Model, schema: pa.Schema) -> str:
        """What of its contract the columns alone show not to be kept; empty for nothing."""
        asked = [
            check for check in model.promises if check.kind in OF_COLUMNS and check.on_fail is OnFail.STOP
        ]
        if not asked:
            return ""
        none = Mount(schema, rows=0)
        verdict = audit(
            self._engine, asked, none, lambda: none, AuditContext(Mode.REPLACE, None, self._now, _nowhere)
        )
        return "; ".join(f"its contract: {result.message}" for result in verdict.stopped_by)

    def _figures(self, decision: Decision) -> tuple[int | None, int | None]:
        mounts = list(decision.rows.values())
        rows = [mount.rows for mount in mounts]
        sizes = [self._size_of(mount) for mount in mounts]
        return (
            None if None in rows else sum(count or 0 for count in rows),
            None if None in sizes else sum(size or 0 for size in sizes),
        )


def _nowhere(name: TableName) -> Mount:
    raise Bug(f"{name} is asked for by a check of columns")


def compared(before: pa.Schema, after: pa.Schema) -> Columns:
    """How the columns differ, those of Asgard's own left out."""
    was = {f.name: f.type for f in before if not f.name.startswith(RESERVED_PREFIX)}
    now = {f.name: f.type for f in after if not f.name.startswith(RESERVED_PREFIX)}
    return Columns(
        added={name: str(kind) for name, kind in now.items() if name not in was},
        removed=tuple(name for name in was if name not in now),
        changed={
            name: (str(was[name]), str(kind))
            for name, kind in now.items()
            if name in was and was[name] != kind
        },
    )


def hurt(model: Model, built: Built | None, columns: Columns) -> tuple[bool | None, str]:
    """Whether readers of a table may be hurt when its model builds it next, and by what: columns went or have
    another type, rows or values may be others. None where that is not known.

    Args:
        built: what the table was built from; None for one that no model has built.
        columns: how they would differ.
    """
    if built is None:
        return False, ""
    found = [f"column {name} goes" for name in columns.removed]
    found += [f"column {name} is {types[1]} instead of {types[0]}" for name, types in columns.changed.items()]
    reasons = changed_model(replace(built, beside={}), built_by(model))
    found += [reason.text for reason in reasons if reason.why is Why.OPTIONS]
    promised = (one.definition.get("contract", []) for one in (built, built_by(model)))
    found += [f"its contract no longer promises {check_named(said)}" for said in without(*promised)]
    if Why.SQL in {reason.why for reason in reasons}:
        if not built.definition:
            return (True, "; ".join(found)) if found else (None, "what its SQL was is not known")
        from asgard.transform.differences import sql_change

        change = sql_change(str(built.definition["sql"]), model.sql, model.spec.dialect)
        if change.rows:
            found.append(f"rows may be others: {change.rows}")
        found += [f"values of {name} may be others" for name in change.values if name not in columns.changed]
    return bool(found), "; ".join(found)
