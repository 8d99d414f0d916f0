"""How far a topic was read, and between which offsets a plan reads: tokens, starts and stops.

A token says for every partition the offset that comes next, and in which leader's term the message before it
was written. It belongs to one topic by Kafka's own id: a topic that was deleted and made anew counts from
zero again, and its offsets must never be taken for the old ones.

Reference: https://kafka.apache.org/documentation/#design_replicatedlog
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asgard.connectors._kafka.client import EARLIEST, LATEST, LOST_HINT, Session, Topic
from asgard.core.errors import ConfigError, PositionLost
from asgard.core.position import Token

FORMAT = 1

Edge = str | Mapping[int, int] | None
"""What users write for start and stop: a word, an instant, or offsets by partition."""


@dataclass
class Standing:
    """Where reading stands.

    Attributes:
        topic, topic_id: which log.
        offsets: partition to the offset that comes next.
        terms: partition to the leader's term of the message before, where known.
    """

    topic: str
    topic_id: str
    offsets: dict[int, int] = field(default_factory=dict)
    terms: dict[int, int] = field(default_factory=dict)

    def to_token(self) -> Token:
        """The token; equal standings have equal ones."""
        document = {
            "format": FORMAT,
            "topic": self.topic,
            "topic_id": self.topic_id,
            "offsets": {str(number): self.offsets[number] for number in sorted(self.offsets)},
            "terms": {str(number): self.terms[number] for number in sorted(self.terms)},
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_token(cls, token: Token) -> Standing:
        """Reads a token.

        Raises:
            PositionLost: it is not one of ours, or of a newer format.
        """
        try:
            document = json.loads(token)
            if document["format"] != FORMAT:
                raise PositionLost(
                    f"the position has format {document['format']!r}, this version reads {FORMAT}",
                    hint="run the version of Asgard that wrote it, or a newer one",
                )
            offsets = {int(number): int(offset) for number, offset in document["offsets"].items()}
            terms = {int(number): int(term) for number, term in document.get("terms", {}).items()}
            return cls(str(document["topic"]), str(document["topic_id"]), offsets, terms)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PositionLost(
                f"the position is none of a Kafka topic: {error!r}", hint="asgard resync the table"
            ) from error


@dataclass(frozen=True)
class Bounds:
    """What a plan reads.

    Attributes:
        start: where it begins.
        stop: partition to the offset before which it ends; None for an endless plan.
        warnings: what the user should know.
    """

    start: Standing
    stop: Mapping[int, int] | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What the user wants to be read.

    Attributes:
        start: where a first load begins.
        stop: where reading ends; None for what there is now, or for never.
        skip_lost: whether offsets that the broker has no more are passed over.
    """

    start: Edge
    stop: Edge
    skip_lost: bool
    endless: bool


def bounds(session: Session, topic: Topic, since: Token | None, wish: Wish) -> Bounds:
    """Between which offsets a plan reads the topic.

    Raises:
        PositionLost: the topic was made anew, has fewer messages than were read, or has lost unread ones.
        ConfigError: start or stop mean nothing that the topic has.
    """
    low = session.offsets(topic.name, dict.fromkeys(topic.partitions, EARLIEST))
    high = session.offsets(topic.name, dict.fromkeys(topic.partitions, LATEST))
    warnings: list[str] = []
    if since is None:
        start = Standing(topic.name, topic.id, _edge(session, topic, wish.start or EARLIEST, "start"))
        start.offsets = {n: min(max(offset, low[n]), high[n]) for n, offset in start.offsets.items()}
    else:
        start = Standing.from_token(since)
        _check_topic(start, topic)
        _check_kept(start, low, high, wish.skip_lost, warnings)
        for number in topic.partitions:  # a new partition is read from its first message
            start.offsets.setdefault(number, low[number])
    stop: dict[int, int] | None = None
    if wish.stop is not None:
        wanted = _edge(session, topic, wish.stop, "stop")
        stop = {n: min(wanted.get(n, high[n]), high[n]) for n in topic.partitions}
    elif not wish.endless:
        stop = dict(high)
    if stop is not None:
        stop = {number: max(offset, start.offsets[number]) for number, offset in stop.items()}
    return Bounds(start, stop, tuple(warnings))


def _check_topic(standing: Standing, topic: Topic) -> None:
    if standing.topic_id and topic.id and standing.topic_id != topic.id:
        raise PositionLost(
            f"the topic {topic.name} was made anew: what was read belongs to one with the id "
            f"{standing.topic_id}, this one has {topic.id}",
            hint="asgard resync reads the new topic; or give it a table of its own",
        )
    gone = sorted(set(standing.offsets) - set(topic.partitions))
    if gone:
        raise PositionLost(
            f"the topic {topic.name} has lost its partition {gone[0]}", hint="asgard resync reads it anew"
        )


def _check_kept(
    standing: Standing, low: Mapping[int, int], high: Mapping[int, int], skip: bool, warnings: list[str]
) -> None:
    """Sees that the broker still has what comes next; with `skip` goes on at what it has."""
    for number, offset in standing.offsets.items():
        if offset > high[number]:
            raise _ahead(standing, number, offset, high[number])
        if offset >= low[number]:
            continue
        what = lost_text(standing.topic, number, offset, low[number])
        if not skip:
            raise PositionLost(what, hint=LOST_HINT)
        warnings.append(what)
        standing.offsets[number] = low[number]
        standing.terms.pop(number, None)


def _ahead(standing: Standing, number: int, offset: int, high: int) -> PositionLost:
    return PositionLost(
        f"partition {number} of {standing.topic} ends at offset {high}, and {offset} were read: it lost "
        "messages or was made anew",
        hint="asgard resync reads it anew",
    )


def lost_text(topic: str, partition: int, wanted: int, low: int) -> str:
    """What is gone, for people."""
    return (
        f"partition {partition} of {topic} begins at offset {low} now, and {wanted} was to be read next: "
        f"{low - wanted} offsets are gone"
    )


def _edge(session: Session, topic: Topic, edge: str | Mapping[int, int], name: str) -> dict[int, int]:
    """The offsets that start or stop mean."""
    if isinstance(edge, Mapping):
        strange = sorted(set(edge) - set(topic.partitions))
        if strange:
            raise ConfigError(
                f"{name} names partition {strange[0]}, which {topic.name} does not have",
                hint=f"it has {', '.join(map(str, topic.partitions))}",
            )
        rest = EARLIEST if name == "start" else LATEST
        others = {number: rest for number in topic.partitions if number not in edge}
        return {**session.offsets(topic.name, others), **edge}
    if edge in (EARLIEST, LATEST):
        return session.offsets(topic.name, dict.fromkeys(topic.partitions, edge))
    return session.offsets(topic.name, dict.fromkeys(topic.partitions, instant_milliseconds(edge, name)))


def instant_milliseconds(text: str, name: str) -> int:
    """Milliseconds since 1970 of an instant; one without a zone is meant in UTC.

    Raises:
        ConfigError: it is none.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{name} is {text!r}",
            hint="write earliest, latest, an instant such as 2026-01-31T10:00:00Z, or {partition: offset}",
        ) from error
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND


_MILLISECOND = datetime(1970, 1, 1, microsecond=1000) - datetime(1970, 1, 1)


def edge_of(value: Any) -> Any:
    """What YAML gives for an edge: numbers of partitions may come as text."""
    if isinstance(value, dict):
        return {int(number): int(offset) for number, offset in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value
