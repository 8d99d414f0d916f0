from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import SecretStr

from asgard.app.frames import query_cache
from asgard.app.frames.query_cache import QueryCache, cache_key


def table(rows: int) -> pa.Table:
    return pa.table({"n": pa.array(range(rows), pa.int64())})


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = QueryCache()
    for key in "abc":
        cache.put(key, table(100), limit_bytes=2400)
    assert cache.size_bytes == 2400
    assert cache.get("a", 60) is not None
    cache.put("d", table(100), limit_bytes=2400)
    assert [key for key in "abcd" if cache.get(key, 60) is not None] == ["a", "c", "d"]
    cache.put("e", table(10), limit_bytes=900)
    assert [key for key in "abcde" if cache.get(key, 60) is not None] == ["d", "e"]


def test_what_is_too_large_is_not_kept_and_drops_nothing() -> None:
    cache = QueryCache()
    cache.put("a", table(10), limit_bytes=1000)
    cache.put("b", table(1000), limit_bytes=1000)
    assert cache.get("b", 60) is None
    assert cache.get("a", 60) == table(10)
    cache.put("a", table(1000), limit_bytes=1000)
    assert cache.get("a", 60) is None, "the older answer under the key is not the answer any more"


def test_a_slice_counts_with_what_it_holds() -> None:
    cache = QueryCache()
    cache.put("a", table(1000).slice(0, 1), limit_bytes=1000)
    assert cache.size_bytes == 0


def test_answers_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(query_cache.time, "monotonic", lambda: now)
    cache = QueryCache()
    cache.put("a", table(1))
    now = 105.0
    assert cache.get("a", 5) is not None
    assert cache.get("a", 4.9) is None


def test_keys_tell_secrets_apart_and_hold_none() -> None:
    one, other = ({"user": "me", "password": SecretStr(text)} for text in ("c@nary", "other"))
    assert cache_key("postgres", one) == cache_key("postgres", dict(reversed(one.items())))
    assert len({cache_key("postgres", config) for config in (one, other, {})}) == 3
    assert cache_key("a", "bc") != cache_key("ab", "c")
    assert "c@nary" not in cache_key("postgres", one)
