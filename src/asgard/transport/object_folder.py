"""Objects that are written: whole, only where none is yet, or as a stream; and what lies in a folder.

Nothing that is asked here is remembered: a store of today shows at once what was put, and what was deleted
no more. Reading in ranges is `objects`' matter, accounts are `cloud`'s.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError
from asgard.transport.object_errors import our_error
from asgard.transport.objects import Bucket

PART_BYTES = 8 * MEBIBYTE
"""A larger object is sent in parts of so many bytes, of which `PARTS_AT_ONCE` are held besides the next."""
PARTS_AT_ONCE = 2


@dataclass(frozen=True)
class ObjectAbout:
    """What a store says about an object.

    Attributes:
        name: the last part of its key.
        stored_at: by the store's own clock.
    """

    name: str
    size_bytes: int
    stored_at: datetime
    etag: str


@dataclass(frozen=True)
class ObjectFolder:
    """What lies below one prefix of a bucket.

    Methods raise QueryError if the bucket is not there, Refused or AuthenticationError if it may not be used,
    and Unreachable if it does not answer: then a put may have happened, or may happen yet.

    Attributes:
        bucket: where.
        key: of the folder, without slashes at its ends.
    """

    bucket: Bucket
    key: str

    @property
    def url(self) -> str:
        """Of the folder."""
        return f"{self.bucket.url}/{self.key}".rstrip("/")

    def inside(self, name: str) -> ObjectFolder:
        """A folder in this one."""
        return ObjectFolder(self.bucket, self.key_of(name))

    def key_of(self, name: str) -> str:
        """The key of an object in the folder."""
        return f"{self.key}/{name}" if self.key else name

    def read(self, name: str) -> bytes:
        """All of an object.

        Raises:
            FileNotFoundError: there is none.
        """
        import obstore

        with self._translated(name):
            return bytes(obstore.get(self.bucket.store, self.key_of(name)).bytes())

    def put(self, name: str, content: bytes) -> None:
        """Stores an object, in place of the one that may be there."""
        import obstore

        with self._translated(name):
            obstore.put(self.bucket.store, self.key_of(name), content, use_multipart=False)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Stores an object where there is none, and says whether it did: the store decides (`If-None-Match`).

        False also when an answer was lost, and the put that is repeated for it finds the first one's object.
        """
        import obstore

        with self._translated(name):
            try:
                obstore.put(self.bucket.store, self.key_of(name), content, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def about(self, name: str) -> ObjectAbout | None:
        """Size, instant and etag of an object; None if there is none."""
        import obstore

        try:
            with self._translated(name):
                return _about(obstore.head(self.bucket.store, self.key_of(name)))
        except FileNotFoundError:
            return None

    def delete(self, names: Sequence[str]) -> None:
        """Deletes objects; those that are gone already are fine."""
        import obstore

        if not names:
            return
        try:
            with self._translated(names[0]):
                obstore.delete(self.bucket.store, [self.key_of(name) for name in names])
        except FileNotFoundError:  # Google and Azure say so, and leave the others
            for name in names:
                with suppress(FileNotFoundError), self._translated(name):
                    obstore.delete(self.bucket.store, self.key_of(name))

    def folders(self) -> list[str]:
        """The names of the folders that lie directly in it."""
        return sorted(path.rpartition("/")[2] for path in self._delimited()["common_prefixes"])

    def objects(self, prefix: str = "") -> list[ObjectAbout]:
        """The objects that lie directly in it and whose names begin so, by name."""
        if not prefix:
            return sorted(map(_about, self._delimited()["objects"]), key=lambda one: one.name)
        # A listing takes whole folders alone: what is before the prefix is passed over by the store.
        found = []
        for one in self._listed(after=prefix):
            if not one["path"].startswith(self.key_of(prefix)):
                break
            if "/" not in one["path"].removeprefix(self.key_of("")):
                found.append(_about(one))
        return found

    def tree(self) -> list[ObjectAbout]:
        """All objects in it and below; their names are paths from here."""
        return [
            replace(_about(one), name=one["path"].removeprefix(self.key_of(""))) for one in self._listed("")
        ]

    def first_after(self, name: str) -> str | None:
        """The name of the first object behind that name, in its order."""
        found = next(self._listed(after=name, chunk_rows=1), None)
        return None if found is None else found["path"].removeprefix(f"{self.key}/")

    def stream(self, name: str) -> ObjectStream:
        """An object that is written from its beginning to its end."""
        return ObjectStream(self, name)

    def _delimited(self) -> Any:
        import obstore

        with self._translated(""):
            return obstore.list_with_delimiter(self.bucket.store, self.key or None)

    def _listed(self, after: str, chunk_rows: int = 1000) -> Iterator[Any]:
        import obstore

        with self._translated(after):
            key = self.key_of(after)
            for some in obstore.list(self.bucket.store, self.key or None, offset=key, chunk_size=chunk_rows):
                yield from some

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except (AsgardError, FileNotFoundError):
            raise
        except Exception as error:
            if type(error).__name__ == "NotFoundError" and "NoSuchBucket" not in str(error):
                raise FileNotFoundError(f"{self.url}/{name}") from error
            failure = self.bucket.failure()
            raise failure or our_error(error, f"{self.url}/{name}", self.bucket.secrets(), None) from error


class ObjectStream:
    """An object that is written; nobody sees it before `close`. Used by one thread.

    A process that is killed in between may leave parts that only a rule of the bucket takes away
    (AbortIncompleteMultipartUpload).
    """

    def __init__(self, folder: ObjectFolder, name: str) -> None:
        import obstore

        self._folder = folder
        self._name = name
        self._size_bytes = 0
        self.closed = False
        with folder._translated(name):
            self._writer = obstore.open_writer(
                folder.bucket.store,
                folder.key_of(name),
                buffer_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def tell(self) -> int:
        """Bytes so far."""
        return self._size_bytes

    def writable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """No."""
        return False

    def seekable(self) -> bool:
        """No."""
        return False

    def write(self, data: Any) -> int:
        """Takes bytes; waits where too many are under way."""
        with self._folder._translated(self._name):
            self._writer.write(data)
        self._size_bytes += memoryview(data).nbytes
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Nothing: only whole objects are ever seen."""

    def close(self) -> None:
        """Stores the object, durably."""
        if not self.closed:
            self.closed = True
            with self._folder._translated(self._name):
                self._writer.close()


def _about(meta: Any) -> ObjectAbout:
    return ObjectAbout(
        meta["path"].rpartition("/")[2], meta["size"], meta["last_modified"], meta["e_tag"] or ""
    )
