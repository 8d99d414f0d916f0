"""Many small objects: fetched before they are opened, the same rows as one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from asgard.core.errors import QueryError
from asgard.transport.files import FoundFile
from asgard.transport.read_ahead import MOST_FILES, SMALL_BYTES, ReadAhead


def files(sizes: list[int]) -> list[FoundFile]:
    return [FoundFile(f"k{n}", f"k{n}", size, 0) for n, size in enumerate(sizes)]


def fetcher(asked: list[str]) -> Callable[[FoundFile, int, int], memoryview]:
    lock = threading.Lock()

    def fetch(file: FoundFile, start: int, end: int) -> memoryview:
        with lock:
            asked.append(file.path)
        if file.path == "k13":
            raise QueryError("gone", hint="k13")
        return memoryview(file.path.encode().ljust(end - start))

    return fetch


def test_small_files_come_before_they_are_opened() -> None:
    asked: list[str] = []
    found = files([10] * 50 + [SMALL_BYTES + 1, 0, 10])
    ahead = ReadAhead(fetcher(asked), found)
    for file in found:
        if file.path == "k13":
            with pytest.raises(QueryError):
                ahead.take(file)
            continue
        got = ahead.take(file)
        if file.size_bytes != 10:
            assert got is None
            continue
        assert got is not None
        assert bytes(got).strip() == file.path.encode()
        assert ahead.take(file) is got
        assert len(asked) <= found.index(file) + 1 + MOST_FILES
    ahead.close()
    assert sorted(asked) == sorted(file.path for file in found if file.size_bytes == 10)


def test_one_file_is_not_worth_it() -> None:
    asked: list[str] = []
    [file] = files([10])
    assert ReadAhead(fetcher(asked), [file]).take(file) is None
    assert asked == []


def test_nobody_reads_on() -> None:
    asked: list[str] = []
    ahead = ReadAhead(fetcher(asked), files([10] * 1000))
    ahead.close()
    assert len(asked) <= MOST_FILES
