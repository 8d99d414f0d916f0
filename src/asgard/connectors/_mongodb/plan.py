"""Who reads what of MongoDB: bounds of the cursor, ranges of `_id`, and what a half-read plan still lacks.

Reference: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgard.connectors._mongodb.asking import Question
from asgard.connectors._mongodb.columns import ID, Layout
from asgard.connectors._mongodb.cursor import Cursor, Mark
from asgard.connectors._mongodb.splits import boundaries, ranges, sampling, wanted_splits
from asgard.core.errors import ConfigError, QueryError, Refused
from asgard.core.position import Position, Token
from asgard.core.source import Plan
from asgard.core.stream import Mode, Selection, Split
from asgard.transport.mongo import Deployment, from_extended_json, to_extended_json

ANSWER_BYTES = 4 << 20
FEWEST_DOCUMENTS = 100
UNMEASURED_DOCUMENTS = 1000


@dataclass(frozen=True)
class Wish:
    """What is to be read.

    Attributes:
        stored: the question is asked of a collection, not of a view or a time series.
    """

    selection: Selection
    question: Question
    layout: Layout
    stored: bool

    @property
    def divisible(self) -> bool:
        """Whether ranges of `_id` divide the documents."""
        return self.stored and self.question.is_plain


class Planner:
    """Makes a plan, one wish after the other.

    Args:
        until: an upper bound of the cursor, as text.
        parallel: how many splits may be read at the same time.
    """

    def __init__(self, deployment: Deployment, until: Token | None, parallel: int) -> None:
        self._deployment = deployment
        self._until = until
        self._parallel = parallel
        self._splits: list[Split] = []
        self._tokens: dict[str, Token] = {}
        self._resumable: set[str] = set()
        self._resumed: set[str] = set()
        self._warnings: list[str] = []

    def plan(self) -> Plan:
        """The plan of all wishes so far."""
        resumable, resumed = frozenset(self._resumable), frozenset(self._resumed)
        return Plan(self._splits, self._tokens, resumable, resumed, list(dict.fromkeys(self._warnings)))

    def add(self, wish: Wish, position: Position | None) -> None:
        """Plans one wish.

        Raises:
            PositionLost: the collection was made anew, or its cursor is another one.
            DataError: the cursor has values that cannot be compared with each other.
        """
        selection, question = wish.selection, wish.question
        self._warnings.append(
            f"{selection.stream.name}: MongoDB is read without a snapshot; what changes meanwhile comes "
            "as it was or as it is"
        )
        if selection.limit_rows is not None:
            self._add_splits(wish, question.first(max(selection.limit_rows, 1)), [{}])
            return
        if selection.cursor is None:
            self._add_splits(wish, question, ranges(self._begins(wish)))
            return
        cursor = self._cursor(wish)
        if position is not None and position.half_read:
            self._finish(wish, position, cursor)
            return
        token = position.token if position else None
        previous = cursor.previous(token) if token is not None else None
        high = cursor.highest(self._until)
        reached = cursor.reached(token, high)
        begins = self._begins(wish) if token is None else []
        kept = None
        if begins and selection.mode is Mode.MERGE and cursor.keyed:
            self._resumable.add(selection.stream.id)
            kept = tuple(to_extended_json(begins))
        self._tokens[selection.stream.id] = Mark(cursor.path, reached, cursor.collection, kept).token()
        self._add_splits(wish, question.restricted(cursor.condition(previous, high)), ranges(begins))
        cursor.warn()
        self._warnings += cursor.warnings

    def _finish(self, wish: Wish, position: Position, cursor: Cursor) -> None:
        """The splits that are missing of a plan that was half read, up to the bound that it had."""
        stream, pending = wish.selection.stream.id, position.pending or ""
        mark = Mark.read(pending, cursor.resync)
        condition = cursor.condition(None, cursor.previous(pending))
        begins = from_extended_json(list(mark.ranges or ()))
        self._add_splits(wish, wish.question.restricted(condition), ranges(begins), position.splits)
        self._tokens[stream] = pending
        self._resumable.add(stream)
        self._resumed.add(stream)

    def _begins(self, wish: Wish) -> list[Any]:
        """The ids at which ranges begin; none where one split is enough."""
        if not wish.divisible:
            return []
        collection = wish.question.collection
        statistics = statistics_of(self._deployment, collection)
        count, average = int(statistics.get("count") or 0), float(statistics.get("avgObjSize") or 0)
        splits = wanted_splits(count, average, self._parallel)
        if splits < 2:
            return []
        found = self._deployment.documents(collection, {"pipeline": sampling(splits)})
        return boundaries([document[ID] for document in found], splits)

    def _add_splits(
        self,
        wish: Wish,
        question: Question,
        conditions: Sequence[dict[str, Any]],
        done: Mapping[str, Any] = {},
    ) -> None:
        stream = wish.selection.stream
        average = (stream.size_bytes or 0) / stream.rows if stream.rows else 0
        documents = int(ANSWER_BYTES / average) if average else UNMEASURED_DOCUMENTS
        shared = {
            "layout": wish.layout.to_spec(),
            "keys": list(wish.selection.primary_key),
            "documents": max(documents, FEWEST_DOCUMENTS),
        }
        rows = stream.rows // len(conditions) if stream.rows is not None else None
        for number, condition in enumerate(conditions):
            id = f"{stream.id}#{number}/{len(conditions)}"
            if id not in done:
                spec = {**question.restricted(condition).to_spec(), **shared}
                self._splits.append(Split(id, stream.id, spec, rows))

    def _cursor(self, wish: Wish) -> Cursor:
        name = wish.selection.cursor
        column = next((column for column in wish.layout.columns if column.name == name), None)
        if column is None:
            raise QueryError(
                f"{wish.selection.stream.name} has no column {name!r} to be its cursor",
                hint=f"`columns: {{{name}: timestamptz}}` gives it one beside the document",
            )
        if any(not part or "." in part or part.startswith("$") for part in column.path):
            raise QueryError(
                f"a query cannot name the field {name!r}",
                hint="its name has a dot or $: choose another",
            )
        path = ".".join(column.path)

        def ask(filter: dict[str, Any], way: int) -> Mapping[str, Any] | None:
            asked = wish.question.restricted(filter).first(1, {path: way})
            found = self._deployment.documents(asked.collection, asked.asked())
            return found[0] if found else None

        return Cursor(wish.selection, path, ask, self._deployment.collection_id(wish.question.collection))


def statistics_of(deployment: Deployment, collection: str) -> Mapping[str, Any]:
    """Count, size and average size as the server tells them; nothing where it does not."""
    try:
        return deployment.command({"collStats": collection})
    except (ConfigError, Refused):
        return {}
