"""SQL over objects: DuckDB asks for the footers, columns and row groups that a query needs, and for no more.

DuckDB reads through a file system of ours, so that credentials, errors, and the etag under which an object is
read are those of `objects`. It sees Parquet alone, whose types are written in it; text files have to be given
to it with types that were proved.

Reference: https://duckdb.org/docs/stable/guides/python/filesystems
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem

from asgard.core.errors import AsgardError, ConfigError, QueryError
from asgard.transport import duck
from asgard.transport.files import FoundFile
from asgard.transport.objects import Bucket, ObjectReader


class ObjectFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """A bucket as fsspec sees it: reading alone.

    Attributes:
        failure: the first of our errors; DuckDB would tell its text and forget its class.
    """

    cachable = False

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self.protocol = (urlsplit(bucket.url).scheme,)
        self._bucket = replace(bucket, prefix="")
        self._found: dict[str, FoundFile] = {}
        self.failure: AsgardError | None = None

    def _strip_protocol(self, path: str) -> str:
        return path

    def glob(self, path: str, **_: Any) -> list[str]:
        """The URLs of the objects that a URL means."""
        with self._kept():
            pattern = self._name(path)
            files = self._bucket.find(pattern)
            if not files:
                near = self._bucket.near(pattern)
                raise QueryError(f"no object matches {path}", hint=near, where={"object": path})
            self._found |= {file.name: file for file in files}
            return [f"{self._bucket.url}/{file.name}" for file in files]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and kind."""
        return {"name": path, "size": self._file(path).size_bytes, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is such an object."""
        with self._kept():
            return self._name(path) in self._found or self._bucket.is_file(self._name(path))

    def modified(self, path: str) -> datetime:
        """When it was stored."""
        return datetime.fromtimestamp(self._file(path).modified_ns // 1_000_000_000, UTC)

    def open(self, path: str, mode: str = "rb", **_: Any) -> ObjectReader:
        """The object's bytes.

        Raises:
            ConfigError: it is no Parquet: its types would be guessed.
        """
        with self._kept():
            file = self._file(path)
            if file.suffix not in (".parquet", ".pq") or file.compression:
                raise ConfigError(
                    f"{file.name} is no Parquet, and DuckDB would guess its types",
                    hint="give the table a path, and ask FROM object",
                    where={"object": path},
                )
            return _KeepingReader(self, self._bucket, file)

    def _file(self, path: str) -> FoundFile:
        name = self._name(path)
        if name not in self._found:
            self.glob(path)
        return self._found[name]

    def _name(self, path: str) -> str:
        here = f"{self._bucket.url}/"
        if not path.startswith(here):
            raise ConfigError(f"{path} is not in {here}", hint="a source reads its own bucket")
        return path.removeprefix(here)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except AsgardError as error:
            self.failure = self.failure or error
            raise


class _KeepingReader(ObjectReader):
    """An object whose errors are kept for whoever asked DuckDB."""

    def __init__(self, system: ObjectFileSystem, bucket: Bucket, file: FoundFile) -> None:
        super().__init__(bucket, file)
        self._system = system

    def read(self, size: int | None = -1) -> bytes:
        """As ObjectReader."""
        with self._system._kept():
            return super().read(size)


@contextmanager
def query_room(bucket: Bucket) -> Iterator[duck.Connection]:
    """A DuckDB that sees the bucket's Parquet, and neither this machine's files nor anybody else's."""
    system = ObjectFileSystem(bucket)
    # One thread: a handle is moved and read in two steps, and another thread may come in between.
    connection = duck.connect(threads=1)
    try:
        connection.register_filesystem(system)
        connection.execute(f"SET allowed_directories = [{duck.literal(f'{bucket.url}/')}]")
        # Nor does it take names for variables of ours.
        connection.execute("SET python_enable_replacements = false; SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        with duck.translated():
            yield connection
    except Exception as error:
        if system.failure is not None and error is not system.failure:
            raise system.failure from error
        raise
    finally:
        connection.close()
