"""Whether a model is built, from what, and why: one answer for a plan that is shown and a run that builds.

A model that says `incremental` reads what came to its tables since its last build, where that makes the same
table as to read everything would; where it does not, everything is read, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from asgard.core.names import fold
from asgard.core.stream import Mode
from asgard.core.table import Mount, Table, TableName
from asgard.flow.news import News, news
from asgard.transform.built import OPTIONS, Built


class Action(StrEnum):
    """What is done with a model."""

    NOTHING = "nothing"
    WHOLE = "whole"
    INCREMENT = "increment"


class Why(StrEnum):
    """The reasons to build."""

    FIRST = "first"  # it was never built, or is to be built anew
    ASKED = "asked"
    SQL = "sql"
    OPTIONS = "options"  # mode, key, dialect
    CHECKS = "checks"
    CONTRACT = "contract"  # the data contract that it names promises something else
    DATA = "data"  # a table that it reads has another version
    UPSTREAM = "upstream"  # a model that it reads will be built; in plans alone
    PRODUCTION = "production"  # in an environment: what it was built beside is another model now


@dataclass(frozen=True)
class Reason:
    """One reason to build a model.

    Attributes:
        why: which.
        text: one sentence for people.
        table: the table that has news, for DATA and UPSTREAM.
    """

    why: Why
    text: str
    table: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "why": str(self.why), "text": self.text, **({"table": self.table} if self.table else {})
        }  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A model and the tables that it reads, pinned.

    Attributes:
        model: with the versions and digests that it would be built from.
        sql, mode, dialect: of the model.
        incremental: True: whatever may be read by what came is; or the tables that are, the others being
            looked up as they are; False for none.
        upstream: name to (version, rows).
        tables: the tables themselves.
    """

    model: Built
    sql: str
    mode: Mode
    upstream: Mapping[TableName, tuple[int, Mount]]
    tables: Mapping[TableName, Table] = field(default_factory=dict)
    incremental: bool | tuple[str, ...] = False
    dialect: str = "duckdb"


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why.

    Attributes:
        sql: what is to be run.
        mode: what happens to the rows that are there.
        rows: what is read of each table.
        whole_because: why an incremental model is built whole; empty when it is not.
    """

    action: Action
    reasons: tuple[Reason, ...] = ()
    sql: str = ""
    mode: Mode = Mode.REPLACE
    rows: Mapping[TableName, Mount] = field(default_factory=dict)
    whole_because: str = ""


def decide(question: Question, built: Built | None, *, rebuild: bool = False) -> Decision:
    """What is to be done with a model whose table was built from `built`; None for one that never was.

    Args:
        rebuild: builds it whole although nothing has changed.
    """
    if built is None or rebuild:
        why = Why.ASKED if built else Why.FIRST
        text = "a build of everything was asked for" if built else "it was not built before"
        return _whole(question, [Reason(why, text)], "")
    reasons = changed_model(built, question.model)
    found = _news(question, built)
    reasons += [_told(question, built, name, found[name]) for name in found]
    if not reasons:
        return Decision(Action.NOTHING)
    if any(reason.why is not Why.DATA for reason in reasons):
        return _whole(question, reasons, "the model was changed" if question.incremental else "")
    if not question.incremental:
        return _whole(question, reasons, "")
    because = _why_whole(question, found)
    if because:
        return _whole(question, reasons, because)
    return _increment(question, reasons, found)


def changed_model(built: Built, model: Built) -> list[Reason]:
    """What changed in the model itself since its table was built."""
    reasons: list[Reason] = []
    if not built.is_of(model):
        before, now = built.definition, model.definition
        if not before or not now:
            reasons.append(Reason(Why.SQL, "its SQL, options or checks changed"))
        else:
            reasons += _changed_parts(before, now)
    if built.beside.get("model", "") != model.beside.get("model", ""):
        reasons.append(Reason(Why.PRODUCTION, "production is built by another model now"))
    return reasons


def _changed_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Reason]:
    from asgard.transform.differences import same_sql  # with sqlglot, for models that changed

    reasons = []
    if not same_sql(before["sql"], now["sql"], now.get("dialect", "duckdb")):
        reasons.append(Reason(Why.SQL, "its SQL changed"))
    options = [key for key in OPTIONS if before.get(key) != now.get(key)]
    if options:
        reasons.append(Reason(Why.OPTIONS, f"its {', '.join(options)} changed"))
    for key, why in (("checks", Why.CHECKS), ("contract", Why.CONTRACT)):
        was, is_ = before.get(key, []), now.get(key, [])
        if was != is_:
            come, gone = without(is_, was), without(was, is_)
            named = "its checks changed" if why is Why.CHECKS else "what its contract promises changed"
            reasons.append(Reason(why, f"{named}: {len(come)} came, {len(gone)} went"))
    return reasons or [Reason(Why.OPTIONS, "its engine changed")]


def without(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """What one list has and another has not."""
    return [said for said in one if said not in other]


def _news(question: Question, built: Built) -> dict[TableName, News]:
    """What came to the tables that count and are at another version; not those that only moved rows."""
    counted = question.incremental if isinstance(question.incremental, tuple) else ()
    found: dict[TableName, News] = {}
    for name, pinned in question.upstream.items():
        since = built.upstream.get(str(name))
        if since == pinned[0] or (counted and fold(str(name)) not in {fold(one) for one in counted}):
            continue
        if since is None or name not in question.tables:
            found[name] = News("it was not read before")
            continue
        one = news(question.tables[name], since, built.seen.get(str(name), ""), pinned)
        if not one.is_none:
            found[name] = one
    return found


def _told(question: Question, built: Built, name: TableName, found: News) -> Reason:
    since, upto = built.upstream.get(str(name)), question.upstream[name][0]
    text = f"{name} has new data: version {since} to {upto}" if since is not None else f"{name} is read now"
    if found.rows is not None and found.rows.rows is not None:
        text += f", {found.rows.rows:,} rows more"
    return Reason(Why.DATA, text, str(name))


def _why_whole(question: Question, found: Mapping[TableName, News]) -> str:
    from asgard.transform.increments import are_apart, why_whole

    for name, one in found.items():
        if one.why_whole:
            return f"{name}: {one.why_whole}"
        if question.mode is Mode.APPEND and not one.only_added:
            return f"{name}: rows went or were changed, and append can only add"
        if question.mode is Mode.HISTORY and not one.only_added:
            return f"{name}: rows went or were changed, and only all rows tell which keys ended"
        if reason := why_whole(question.sql, name, question.dialect):
            return f"{name}: {reason}"
    if len(found) > 1 and not are_apart(question.sql, found, question.dialect):
        return f"{' and '.join(map(str, found))} are joined, and both have new rows"
    return ""


def _whole(question: Question, reasons: list[Reason], because: str) -> Decision:
    # An incremental table is what its SELECT makes of everything: appended whole, it replaces what is there.
    replaces = question.incremental and question.mode is Mode.APPEND
    return Decision(
        Action.WHOLE,
        tuple(reasons),
        question.sql,
        Mode.REPLACE if replaces else question.mode,
        {name: mount for name, (_, mount) in question.upstream.items()},
        because,
    )


def _increment(question: Question, reasons: list[Reason], found: Mapping[TableName, News]) -> Decision:
    from asgard.transform.increments import increment_sql

    rows = {name: mount for name, (_, mount) in question.upstream.items()}
    rows |= {name: one.rows for name, one in found.items() if one.rows is not None}
    sql = increment_sql(question.sql, found, question.dialect)
    return Decision(Action.INCREMENT, tuple(reasons), sql, question.mode, rows)
