"""Answers to repeated queries, for those who ask for it: bounded by bytes and age, least recently used goes.

Knows Arrow tables and keys; what a key is made of, and who may be answered from here, is decided by the
connector that asks.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import SecretStr

DEFAULT_BYTES = 256 << 20

_SALT = secrets.token_bytes(32)


@dataclass(frozen=True)
class _Answer:
    table: pa.Table
    size_bytes: int
    at_seconds: float


class QueryCache:
    """Tables by key; safe from several threads."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, max_age_seconds: float) -> pa.Table | None:
        """The table that was put under the key, None when there is none or it is too old."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or time.monotonic() - answer.at_seconds > max_age_seconds:
                return None
            self._answers.move_to_end(key)
            return answer.table

    def put(self, key: str, table: pa.Table, limit_bytes: int = DEFAULT_BYTES) -> None:
        """Keeps a table; drops what was not used for longest until all together fit into the limit.

        A table that alone is larger is not kept.
        """
        size_bytes = table.get_total_buffer_size()  # a slice holds all of what it was cut from
        with self._lock:
            self._answers.pop(key, None)
            if size_bytes > limit_bytes:
                return
            self._answers[key] = _Answer(table, size_bytes, time.monotonic())
            held = self._held_bytes()
            while held > limit_bytes:
                _, dropped = self._answers.popitem(last=False)
                held -= dropped.size_bytes

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._answers.clear()

    @property
    def size_bytes(self) -> int:
        """What is held now."""
        with self._lock:
            return self._held_bytes()

    def _held_bytes(self) -> int:
        return sum(answer.size_bytes for answer in self._answers.values())


CACHE = QueryCache()
"""The one of this process: connectors come and go, repeated queries meet here."""


def cache_key(*parts: Any) -> str:
    """A key for anything that JSON can say, secrets included.

    The parts go through a keyed hash whose key lives and dies with this process: a secret cannot be read
    from it, nor guessed with it (Promise 6).
    """
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.blake2b(text.encode(), key=_SALT, digest_size=32).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
