"""Ranges of `_id` that together are a collection, whatever types its ids have.

`$gte` and `$lt` compare only within a bracket of types: an ObjectId is neither below nor above a text. So
every bracket has ranges of its own, from its first boundary upwards, and one more range takes what is at or
above no bracket's first boundary: smaller ids, brackets without a boundary, NaN. By that each document is in
one range, and in one only.

Reference: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from asgard.transport.mongo import driver

LEAST_SPLIT_DOCUMENTS = 20_000
MOST_SPLIT_BYTES = 256 << 20
"""Below the first a second cursor costs more than it saves; above the second a killed first load would lose
too much."""
SAMPLED_A_SPLIT = 20
ID = "_id"

Filter = dict[str, Any]


def wanted_splits(documents: int, average_bytes: float, parallel: int) -> int:
    """How many ranges a collection of that size is read in."""
    by_size = math.ceil(documents * average_bytes / MOST_SPLIT_BYTES)
    return max(1, min(documents // LEAST_SPLIT_DOCUMENTS, max(parallel, by_size)))


def sampling(splits: int) -> list[dict[str, Any]]:
    """The pipeline that gives ids, in the server's order, from which boundaries are taken."""
    return [{"$sample": {"size": splits * SAMPLED_A_SPLIT}}, {"$project": {ID: 1}}, {"$sort": {ID: 1}}]


def boundaries(ids: Sequence[Any], splits: int) -> list[Any]:
    """Of sampled ids those at which ranges of about the same size begin; in their order, each once."""
    usable = [id for id in ids if _bracket(id)]
    step = max(len(usable) / splits, 1)
    chosen: list[Any] = []
    for number in range(1, splits):
        place = int(number * step)
        if place < len(usable) and (not chosen or usable[place] != chosen[-1]):
            chosen.append(usable[place])
    return chosen


def ranges(begins: Iterable[Any]) -> list[Filter]:
    """One condition for each range: those that begin at a boundary, and first the one for all the rest."""
    brackets: dict[str, list[Any]] = {}
    for begin in begins:
        brackets.setdefault(_bracket(begin), []).append(begin)
    if not brackets:
        return [{}]
    found: list[Filter] = [{"$nor": [{ID: {"$gte": own[0]}} for own in brackets.values()]}]
    for own in brackets.values():
        for begin, end in zip(own, [*own[1:], None], strict=True):
            found.append({ID: {"$gte": begin, **({} if end is None else {"$lt": end})}})
    return found


def _bracket(id: Any) -> str:
    """The bracket of a value that can be a boundary; empty for those that cannot."""
    bson = driver().bson
    if isinstance(id, bool):
        return ""
    if isinstance(id, float):
        return "number" if math.isfinite(id) else ""
    if isinstance(id, bson.decimal128.Decimal128):
        return "number" if id.to_decimal().is_finite() else ""
    kinds: tuple[tuple[Any, str], ...] = (
        (bson.datetime_ms.DatetimeMS, "date"),
        (int, "number"),
        (bson.code.Code, ""),
        (str, "string"),
        (bson.objectid.ObjectId, "objectId"),
        (bytes, "binary"),
    )
    return next((bracket for kind, bracket in kinds if isinstance(id, kind)), "")
