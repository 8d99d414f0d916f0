"""Files in a bucket that never change once they are there, as Arrow and DuckDB open them.

DuckDB reads through a file system of ours, so that credentials, errors and retries are those of `objects`: no
secret is given to it, and it stays locked in. It asks for the footer, and for the columns and row groups that
a query needs. Sizes are told beforehand by who knows the files: nothing is listed to find them.

Reference: https://duckdb.org/docs/stable/guides/python/filesystems
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem

from asgard.core.errors import DataError, QueryError
from asgard.transport.carried import carried
from asgard.transport.files import FoundFile
from asgard.transport.object_folder import ObjectFolder
from asgard.transport.objects import Bucket, ObjectReader

END_BYTES = 64 * 1024
"""What is fetched at once where the end is asked for: with it comes the whole footer of most files."""
MOST_SIZES = 100_000
EVER_THE_SAME = datetime(2000, 1, 1, tzinfo=UTC)


class StoredFiles(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """A bucket's data files. From any thread.

    Args:
        bucket: where they lie.
    """

    cachable = False

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self.protocol = (urlsplit(bucket.url).scheme,)
        self._bucket = bucket
        self._root = ObjectFolder(bucket, "")
        self._sizes: dict[str, int] = {}

    def know(self, sizes: Mapping[str, int]) -> None:
        """Takes URLs and their sizes in, so that they need not be asked for."""
        if len(self._sizes) > MOST_SIZES:
            self._sizes = {}
        self._sizes |= sizes

    def file(self, url: str) -> FoundFile:
        """A file by its URL.

        Raises:
            DataError: it is not there.
        """
        key = url.removeprefix(f"{self._bucket.url}/")
        size_bytes = self._sizes.get(url)
        if size_bytes is None:
            about = self._root.about(key)
            if about is None:
                raise gone(url)
            size_bytes = self._sizes[url] = about.size_bytes
        return FoundFile(
            path=key, name=key, size_bytes=size_bytes, modified_ns=0, compression="", place=self._bucket
        )

    @contextmanager
    def opened(self, url: str) -> Iterator[ObjectReader]:
        """A file for Arrow: what is read one after the other is read ahead. For one thread.

        Raises:
            DataError: it is not there.
            Refused, Unreachable: as `Bucket.part`.
        """
        try:
            with ObjectReader(self._bucket, self.file(url)) as reader:
                yield reader
        except QueryError as error:
            raise gone(url) from error

    # ---- what DuckDB calls

    def _strip_protocol(self, path: str) -> str:
        return path

    def glob(self, path: str, **_: Any) -> list[str]:
        """The one file that a pattern without signs means."""
        return [re.sub(r"\[([*?\[])\]", r"\1", path)]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and kind."""
        with carried():
            return {"name": path, "size": self.file(path).size_bytes, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it is there."""
        with carried():
            try:
                return bool(self.file(path))
            except DataError:
                return False

    def modified(self, path: str) -> datetime:
        """Always the same instant."""
        return EVER_THE_SAME

    def open(self, path: str, mode: str = "rb", **_: Any) -> StoredFile:
        """The file's bytes."""
        with carried():
            return StoredFile(self._bucket, self.file(path))


class StoredFile(io.RawIOBase):
    """A file's bytes. Each thread has a place of its own in it: DuckDB moves to a place and reads there in
    two steps, and its workers share one handle."""

    def __init__(self, bucket: Bucket, file: FoundFile) -> None:
        self._bucket = bucket
        self._file = file
        self._positions: dict[int, int] = {}
        self._end: memoryview | None = None
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning, of this thread."""
        return self._positions.get(threading.get_ident(), 0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Asks for nothing yet."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._file.size_bytes}[whence]
        position = max(start + offset, 0)
        self._positions[threading.get_ident()] = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        """That many bytes; fewer at the end alone."""
        position = self.tell()
        left = max(self._file.size_bytes - position, 0)
        stop = position + (left if size is None or size < 0 else min(size, left))
        if stop == position:
            return b""
        with carried():
            data = self._part(position, stop)
        self._positions[threading.get_ident()] = stop
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        """As `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _part(self, start: int, stop: int) -> memoryview:
        end_start = max(self._file.size_bytes - END_BYTES, 0)
        if start < end_start:
            return self._fetched(start, stop)
        with self._lock:
            if self._end is None:
                self._end = self._fetched(end_start, self._file.size_bytes)
        return self._end[start - end_start : stop - end_start]

    def _fetched(self, start: int, stop: int) -> memoryview:
        try:
            return self._bucket.part(self._file, start, stop)
        except QueryError as error:
            raise gone(f"{self._bucket.url}/{self._file.path}") from error


def gone(file: str) -> DataError:
    """The error for a table's file that is not there."""
    return DataError(f"there is no file {file}", hint="the table's files are damaged or were taken away")
