"""What a collection is asked: the user's filter, pipeline or command, as questions to the server.

Extended JSON says what YAML and JSON have no words for: `{"$oid": "..."}`, `{"$date": "..."}`. A source is
only read: stages that write are refused.

Reference: https://www.mongodb.com/docs/manual/reference/command/find/
Reference: https://www.mongodb.com/docs/manual/reference/command/aggregate/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asgard.core.errors import ConfigError, QueryError
from asgard.transport.mongo import from_extended_json, to_extended_json

FIND_WORDS = ("filter", "projection", "sort", "skip", "limit")
WRITING_STAGES = ("$out", "$merge")

Filter = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked of a collection: documents of it, or the result of a pipeline over it.

    Attributes:
        filter: which documents; {} for all.
        pipeline: stages behind the filter; None for the documents themselves.
        extras: further words of `find`: projection, sort, skip, limit.
    """

    collection: str
    filter: Filter
    pipeline: tuple[Filter, ...] | None = None
    extras: tuple[tuple[str, Any], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it gives documents of the collection itself, so that ranges of `_id` divide them."""
        return self.pipeline is None and not {"sort", "skip", "limit"} & dict(self.extras).keys()

    def restricted(self, *conditions: Filter) -> Question:
        """The same for fewer documents: of the collection, or of the pipeline's result."""
        wanted = [condition for condition in conditions if condition]
        if not wanted:
            return self
        if not self.is_plain:
            return replace(
                self, pipeline=(*self._stages(), {"$match": _all_of(wanted)}), filter={}, extras=()
            )
        return replace(self, filter=_all_of([*([self.filter] if self.filter else []), *wanted]))

    def first(self, count: int, sort: Mapping[str, int] | None = None) -> Question:
        """The same for the first documents only."""
        if self.is_plain:
            ordered = [("sort", dict(sort))] if sort else []
            return replace(self, extras=(*self.extras, *ordered, ("limit", count)))
        ordering: list[Filter] = [{"$sort": dict(sort)}] if sort else []
        return replace(self, pipeline=(*self._stages(), *ordering, {"$limit": count}), filter={}, extras=())

    def asked(self) -> dict[str, Any]:
        """As `Deployment` takes it."""
        if self.pipeline is not None:
            return {"pipeline": list(self._stages())}
        return {"filter": self.filter, **dict(self.extras)}

    def to_spec(self) -> dict[str, Any]:
        """As a split carries it."""
        asked = {**self.asked()}
        if "sort" in asked:
            asked["sort"] = list(asked["sort"].items())
        return {"collection": self.collection, "asked": to_extended_json(asked)}

    def _stages(self) -> tuple[Filter, ...]:
        """The whole as stages of a pipeline."""
        stages: list[Filter] = [{"$match": self.filter}] if self.filter else []
        names = {"sort": "$sort", "skip": "$skip", "limit": "$limit", "projection": "$project"}
        extras = dict(self.extras)
        stages += [{stage: extras[word]} for word, stage in names.items() if word in extras]
        return (*stages, *(self.pipeline or ()))


def question_of(
    collection: str, filter: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]], without: Sequence[str]
) -> Question:
    """The question that the options of a stream make.

    Args:
        without: fields that the server leaves out.

    Raises:
        ConfigError: a value is no Extended JSON, or a stage writes.
    """
    leaving = dict.fromkeys(without, 0)
    plain: Filter = from_extended_json(dict(filter))
    if not pipeline:
        return Question(collection, plain, extras=(("projection", leaving),) if leaving else ())
    stages = from_extended_json([dict(stage) for stage in pipeline])
    _refuse_writing(stages)
    return Question(collection, plain, (*stages, *([{"$project": leaving}] if leaving else [])))


def question_of_query(query: str) -> Question:
    """The question that a query of the user's is: a find or aggregate command as Extended JSON.

    Raises:
        QueryError: it is none.
        ConfigError: a stage writes.
    """
    try:
        written = json.loads(query)
    except ValueError as error:
        raise QueryError(f"the query is no JSON: {error}", hint=_FORM) from error
    if not isinstance(written, dict) or not ("find" in written) ^ ("aggregate" in written):
        raise QueryError("the query is no find or aggregate command", hint=_FORM)
    known = {"find", *FIND_WORDS} if "find" in written else {"aggregate", "pipeline"}
    if strange := sorted(set(written) - known):
        raise QueryError(f"the query has {', '.join(map(repr, strange))}", hint=_FORM)
    parsed = from_extended_json(written)
    if "aggregate" in parsed:
        stages = parsed.get("pipeline", [])
        _refuse_writing(stages)
        return Question(parsed["aggregate"], {}, tuple(stages))
    extras = tuple((word, parsed[word]) for word in FIND_WORDS[1:] if word in parsed)
    return Question(parsed["find"], parsed.get("filter", {}), extras=extras)


_FORM = (
    'for example {"find": "orders", "filter": {"status": "open"}} or '
    '{"aggregate": "orders", "pipeline": [{"$group": {"_id": "$status"}}]}'
)


def _all_of(conditions: Sequence[Filter]) -> Filter:
    return conditions[0] if len(conditions) == 1 else {"$and": list(conditions)}


def _refuse_writing(stages: Any) -> None:
    """Also inside of stages that hold pipelines of their own."""
    for value in stages if isinstance(stages, list) else stages.values() if isinstance(stages, dict) else ():
        _refuse_writing(value)
    if isinstance(stages, dict) and (found := [stage for stage in WRITING_STAGES if stage in stages]):
        raise ConfigError(
            f"the pipeline writes: {found[0]}", hint="a source is only read: leave the stage out"
        )
