"""Reads assigned partitions of one topic: to offsets that were fixed, or on and on.

The broker's answers are buffered by the driver in threads of its own, to a bound in bytes; a poll takes what
is there. Aborted transactions are not shown, open ones are waited for. A partition's end is told by the
driver as the offset behind everything that can be read, markers of transactions included, so that a token
never points before them.

An endless reader looks every `REFRESH_SECONDS` whether the topic has new partitions, which it reads from
their first message, and whether it still is the topic that it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from asgard.connectors._kafka.client import (
    EARLIEST,
    GROUP_ERRORS,
    LOST_HINT,
    Access,
    Session,
    as_topic,
    consumer,
    places,
)
from asgard.connectors._kafka.offsets import Standing, lost_text
from asgard.connectors._kafka.rows import Rows
from asgard.core.batch import Batch, Progress
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, PositionLost, Unreachable
from asgard.core.position import Token
from asgard.core.source import Reader
from asgard.core.stream import Split

MESSAGE_OVERHEAD_BYTES = 600
"""What a message takes in Python besides its bytes: small ones fill a batch by their number."""
TURN_SECONDS = 0.1
MOST_TURN_MESSAGES = 2000
MOST_SILENCES = 3
REFRESH_SECONDS = 30.0
LEAST_BUFFER_BYTES = 4 << 20


@dataclass(frozen=True)
class Log:
    """What is read, and as what.

    Attributes:
        split: of the plan.
        start: where reading begins.
        stop: partition to the offset before which it ends; None for an endless reader.
        group: a consumer group that is told how far the lake is, for onlookers; empty for none.
        buffer_bytes: what the driver may hold; one answer of the broker more.
    """

    split: Split
    start: Standing
    stop: Mapping[int, int] | None
    group: str = ""
    buffer_bytes: int = 16 << 20


class KafkaReader(Reader):
    """One split of a topic."""

    def __init__(self, access: Access, session: Session, log: Log, rows: Rows, cancel: Cancel) -> None:
        self._access = access
        self._session = session
        self._log = log
        self._rows = rows
        self._cancel = cancel
        self._standing = log.start
        self._token = log.start.to_token()
        self._told: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False
        self._left = self._unfinished()
        self._at_end: set[int] = set()
        self._heard = self._refreshed = time.monotonic()
        self._silences = 0
        self._refreshing: Future[Any] | None = None
        self._consumer = consumer(access, self._settings(log), self._told.append)
        wanted = {number: self._standing.offsets[number] for number in self._left}
        self._consumer.assign(places(log.start.topic, wanted, log.start.terms))

    @staticmethod
    def _settings(log: Log) -> dict[str, Any]:
        buffer_bytes = max(log.buffer_bytes, LEAST_BUFFER_BYTES)
        return {
            "group.id": log.group or "asgard",
            "queued.max.messages.kbytes": buffer_bytes // 1024,
            "queued.min.messages": 50_000,
            "fetch.max.bytes": buffer_bytes // 2,
            "fetch.queue.backoff.ms": 5,  # by default a second whenever the buffer was full
            "fetch.wait.max.ms": 200,
            "fetch.error.backoff.ms": 200,
        }

    def _unfinished(self) -> set[int]:
        """Partitions that have something to read."""
        stop, offsets = self._log.stop, self._standing.offsets
        return set(offsets) if stop is None else {n for n, end in stop.items() if offsets[n] < end}

    def poll(self, max_bytes: int, timeout_seconds: float) -> Batch | Progress | None:
        """Messages of about so many bytes, or those that came until the timeout.

        Raises:
            PositionLost: the broker has no more what comes next, or another topic has its name.
            Unreachable: nothing was heard for the connection's timeout.
            Cancelled: the run was cancelled.
        """
        self._cancel.check()
        messages: list[Any] = []
        size_bytes = 0
        end = time.monotonic() + timeout_seconds
        while size_bytes < max_bytes and self._left:
            seconds = min(max(end - time.monotonic(), 0), TURN_SECONDS)
            with self._lock:
                if self._closed:
                    return None
                room = (max_bytes - size_bytes) // MESSAGE_OVERHEAD_BYTES + 1
                polled = self._consumed(min(MOST_TURN_MESSAGES, room), seconds)
            good = self._accepted(polled)
            messages += good
            size_bytes += sum(map(len, good)) + MESSAGE_OVERHEAD_BYTES * len(good)
            self._check_line(heard=bool(polled))
            if not self._left or (time.monotonic() >= end and (messages or self._log.stop is None)):
                break
            self._cancel.check()
        return self._result(messages)

    def _consumed(self, most: int, seconds: float) -> list[Any]:
        try:
            found: list[Any] = self._consumer.consume(most, seconds)
        except Exception as error:
            raise self._access.translated(error, stream=self._log.start.topic) from error
        return found

    def _accepted(self, polled: list[Any]) -> list[Any]:
        """The messages that are to be shown; moves the standing behind them."""
        good = [message for message in polled if message.error() is None]
        good_count = len(good)
        last = {message.partition(): message for message in good}
        stop = self._log.stop
        if stop is not None and any(one.offset() >= stop.get(number, 0) for number, one in last.items()):
            good = [one for one in good if one.offset() < stop.get(one.partition(), 0)]
        for number, message in last.items():
            if number not in self._left:
                continue
            self._standing.offsets[number] = message.offset() + 1
            if (term := message.leader_epoch()) is not None:
                self._standing.terms[number] = term
            self._at_end.discard(number)
            if stop is not None and message.offset() + 1 >= stop[number]:
                self._finish(number)
        for message in polled if len(polled) > good_count else ():
            if (error := message.error()) is not None:
                self._take_error(error, message.partition(), message.offset())
        return good

    def _finish(self, number: int) -> None:
        """The partition is read to its stop, also where the last offsets before it hold nothing to show."""
        assert self._log.stop is not None
        self._standing.offsets[number] = self._log.stop[number]
        self._left.discard(number)
        self._consumer.incremental_unassign(places(self._log.start.topic, {number: 0}))

    def _take_error(self, error: Any, number: int, offset: int) -> None:
        name = error.name()
        if name == "_PARTITION_EOF":
            if number in self._left and offset >= self._standing.offsets[number]:
                self._standing.offsets[number] = offset
                self._at_end.add(number)
                if self._log.stop is not None and offset >= self._log.stop[number]:
                    self._finish(number)
            return
        if name in GROUP_ERRORS:
            return
        ours = self._access.translated(error, stream=self._log.start.topic)
        if isinstance(ours, PositionLost):
            raise self._lost(ours)
        if not ours.retryable:
            raise ours

    def _lost(self, ours: AsgardError) -> AsgardError:
        """The error with figures, where the broker gives them."""
        topic = self._log.start.topic
        try:
            low = self._session.offsets(topic, dict.fromkeys(self._standing.offsets, EARLIEST))
        except AsgardError:
            return ours
        for number, offset in sorted(self._standing.offsets.items()):
            if offset < low.get(number, 0):
                return PositionLost(lost_text(topic, number, offset, low[number]), hint=LOST_HINT)
        return ours

    def _check_line(self, heard: bool) -> None:
        """Sees that somebody is at the other end, and now and then that the topic is what it was.

        Raises:
            AuthenticationError, Refused, ConfigError: the driver cannot sign in any more.
            Unreachable: nobody answered for the connection's timeout.
        """
        now = time.monotonic()
        if heard:
            self._heard, self._silences = now, 0
        for told in self._told:
            ours = self._access.translated(told, stream=self._log.start.topic)
            if not ours.retryable:
                raise ours
        self._told.clear()
        if now - self._heard > self._access.timeout_seconds:
            self._ask_for_life()
        if self._log.stop is None:
            self._refresh(now)

    def _ask_for_life(self) -> None:
        number = min(self._left)
        topic = self._log.start.topic
        try:
            self._session.offsets(topic, {number: EARLIEST})
        except Unreachable as error:
            raise Unreachable(
                f"nothing was heard of {topic} for {self._access.timeout_seconds:g} s: {error.what}",
                hint=error.hint,
            ) from error
        self._silences += 1
        if self._log.stop is not None and self._silences >= MOST_SILENCES:
            raise Unreachable(
                f"partition {number} of {topic} gives nothing from offset {self._standing.offsets[number]} "
                "on, though its broker answers",
                hint="look at the broker's log",
            )
        self._heard = time.monotonic()

    def _refresh(self, now: float) -> None:
        """Asks what the topic is now, and looks at the answer in a later turn: polling never waits for it."""
        topic = self._log.start.topic
        if self._refreshing is None:
            if now - self._refreshed >= REFRESH_SECONDS:
                self._refreshing, self._refreshed = self._session.topic_soon(topic), now
            return
        if not self._refreshing.done():
            return
        asked, self._refreshing = self._refreshing, None
        try:
            about = as_topic(topic, asked.result())
        except Exception as error:
            ours = self._access.translated(error, stream=topic)
            if not ours.retryable:
                raise ours from error
            return
        if self._standing.topic_id and about.id != self._standing.topic_id:
            raise PositionLost(
                f"the topic {topic} was made anew while it was read",
                hint="asgard resync reads the new topic; or give it a table of its own",
            )
        fresh = sorted(set(about.partitions) - set(self._standing.offsets))
        if fresh:
            low = self._session.offsets(topic, dict.fromkeys(fresh, EARLIEST))
            self._standing.offsets.update(low)
            self._left.update(low)
            self._consumer.incremental_assign(places(topic, low))

    def _result(self, messages: list[Any]) -> Batch | Progress | None:
        done = not self._left
        before, self._token = self._token, self._standing.to_token()
        if not messages:
            if done:
                return Progress(self._token, done=True)
            return Progress(self._token) if self._token != before else None
        data, rejected = self._rows.batch(messages)
        split = self._log.split
        return Batch(split.stream, split.id, data, self._token, rejected)

    def lag_rows(self) -> int | None:
        """Offsets between what was polled and the end as brokers told it last; None when they did not."""
        lag = 0
        for number in self._left:
            if number in self._at_end:
                continue
            (place,) = places(self._log.start.topic, {number: 0})
            with self._lock:
                if self._closed:
                    return None
                known = self._consumer.get_watermark_offsets(place, cached=True)
            if known is None or known[1] < 0:
                return None
            lag += max(known[1] - self._standing.offsets[number], 0)
        return lag

    def acknowledge(self, upto: Token) -> None:
        """Tells the consumer group, if one is named; reading never asks it."""
        if not self._log.group:
            return
        told = places(self._log.start.topic, Standing.from_token(upto).offsets)
        with self._lock:
            if not self._closed:
                self._consumer.commit(offsets=told, asynchronous=True)

    def close(self) -> None:
        """Ends the reading; a poll in another thread ends within its turn."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._consumer.close()
