"""Objects in a bucket as files: found by pattern, read in ranges, never of two contents.

Every range is asked for with the etag that the object had when it was found: one that is replaced under the
reading is an error, and no part of the new one is taken for a part of the old one. What is read one byte
after the other is read ahead, what jumps is read as it is asked for.

Knows obstore and what the stores say when something is wrong; leaves accounts to `cloud`.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, https://docs.rs/object_store
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError, QueryError, Refused, Unreachable
from asgard.transport.files import COMPRESSIONS, FoundFile, changed, members
from asgard.transport.object_errors import our_error
from asgard.transport.read_ahead import ReadAhead

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FIRST_WINDOW_BYTES = 256 * 1024
MOST_WINDOW_BYTES = 8 * MEBIBYTE
ATTEMPTS = 3
MAGIC = re.compile(r"[*?[]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bucket:
    """The objects below a prefix: a `files.Place`.

    Attributes:
        store: obstore's client for the whole bucket.
        url: `s3://bucket`, for people.
        prefix: what names are relative to, without slashes at its ends.
        secrets: what no text may show.
        failure: why there were no credentials, when there were none.
        versions: lists every version that is kept below a key; None for the newest ones.
    """

    store: ObjectStore
    url: str
    prefix: str = ""
    secrets: Callable[[], Sequence[str]] = field(default=tuple, repr=False)
    failure: Callable[[], Exception | None] = field(default=lambda: None, repr=False)
    versions: Callable[[str], Iterator[dict[str, Any]]] | None = field(default=None, repr=False)
    _hurries: list[ReadAhead] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def location(self) -> str:
        """The URL of the prefix."""
        return f"{self.url}/{self.prefix}".rstrip("/")

    @property
    def only(self) -> str:
        """Empty: a prefix is a folder."""
        return ""

    def key(self, name: str) -> str:
        """The object's key for a name."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def find(self, pattern: str = "**/*") -> list[FoundFile]:
        """The objects that a pattern means, sorted by name; asks for no more than the folder before its first
        sign.

        Raises:
            QueryError: there is no such bucket.
            Refused, Unreachable: it may not be listed, or does not answer.
            DataError: a key is not one that can be read, or an archive is broken.
        """
        if self.versions is None and (not MAGIC.search(pattern) or "[" in pattern):
            literal = self._literal(pattern)
            if literal is not None or not MAGIC.search(pattern):
                return self._with_members([literal] if literal else [])
        wanted = re.compile(_expression(pattern))
        plain = pattern[: found.start()] if (found := MAGIC.search(pattern)) else pattern
        folder = plain.rpartition("/")[0]
        if self.versions is not None:
            with self._translated(pattern):
                listed = list(self.versions(self.key(plain)))
        else:
            deep = "/" in pattern[len(folder) :].lstrip("/") or "**" in pattern
            listed = list(self._listed(folder, deep))
        files = [self._file(about) for about in listed]
        return self._with_members([file for file in files if wanted.fullmatch(_without_version(file))])

    def is_file(self, name: str) -> bool:
        """Whether there is an object of this very name."""
        return self._literal(name) is not None

    def is_folder(self, name: str) -> bool:
        """Whether there are objects below this very name."""
        return next(self._listed(name.rstrip("/"), deep=True), None) is not None

    def near(self, pattern: str) -> str:
        """What lies in the deepest folder of the pattern that is there."""
        folder = pattern[: found.start()] if (found := MAGIC.search(pattern)) else pattern
        while folder := folder.rpartition("/")[0]:
            if self.is_folder(folder):
                break
        with self._translated(folder):
            import obstore

            inside = obstore.list_with_delimiter(self.store, self.key(folder) or None)
        names = [f"{PurePosixPath(path).name}/" for path in inside["common_prefixes"]]
        names += [PurePosixPath(about["path"]).name for about in inside["objects"]]
        place = f"{self.location}/{folder}".rstrip("/")
        return f"{place} has {', '.join(sorted(names)[:10]) or 'nothing'}"

    def check(self) -> None:
        """Lists a little.

        Raises:
            as `find`.
        """
        with self._translated(""):
            import obstore

            next(iter(obstore.list(self.store, self.prefix or None, chunk_size=1)), None)

    @contextmanager
    def reading(self, files: Sequence[FoundFile]) -> Iterator[None]:
        """Small objects are fetched before they are opened, several at the same time."""
        ahead = ReadAhead(self.part, files)
        self._hurries.append(ahead)
        try:
            yield
        finally:
            self._hurries.remove(ahead)
            ahead.close()

    @contextmanager
    def content(self, file: FoundFile) -> Iterator[IO[bytes]]:
        """The object's bytes, as a stream that can seek."""
        fetched = next(filter(None, (ahead.take(file) for ahead in list(self._hurries))), None)
        with ObjectReader(self, file, fetched) as reader:
            yield reader  # type: ignore[misc] # a RawIOBase that reads to the end, as they do

    def refuse_changed(self, file: FoundFile) -> None:
        """Nothing: every range is asked for with the etag."""

    def folders(self, folder: str) -> list[str]:
        """The names of the folders that lie directly in a folder.

        Raises:
            as `find`.
        """
        with self._translated(folder):
            import obstore

            inside = obstore.list_with_delimiter(self.store, self.key(folder))["common_prefixes"]
        return [PurePosixPath(path).name for path in inside]

    def remove_folder(self, folder: str) -> None:
        """Deletes every object below this very name; those that are gone already are fine.

        Raises:
            as `find`; Refused if they may not be deleted.
        """
        with self._translated(folder):
            import obstore

            for some in obstore.list(self.store, self.key(folder), chunk_size=1000):
                obstore.delete(self.store, [about["path"] for about in some])

    def part(self, file: FoundFile, start: int, end: int) -> memoryview:
        """The object's bytes from `start` to before `end`; asked for again when the connection breaks.

        Raises:
            DataError: the object is another one by now.
            QueryError: it is gone.
            Unreachable: the bytes did not come.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._part_once(file, start, end)
            except Unreachable:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _part_once(self, file: FoundFile, start: int, end: int) -> memoryview:
        import obstore

        options: Any = {"range": (start, end)}
        if file.etag:
            options["if_match"] = f'"{file.etag}"'
        if file.version:
            options["version"] = file.version
        with self._translated(file.name, file):
            answer = obstore.get(self.store, file.path, options=options)
            about = answer.meta
            # A store that does not know If-Match answers all the same.
            if file.etag and about["e_tag"] and _plain_etag(about["e_tag"]) != file.etag:
                raise changed(file)
            data = memoryview(answer.bytes())
        if len(data) != end - start:
            raise Unreachable(
                f"{file.name}: {len(data)} bytes came where {end - start} were asked for",
                hint="try again; if it stays so, something between here and the store cuts answers off",
                where={"file": file.name},
            )
        return data

    def _literal(self, name: str) -> FoundFile | None:
        import obstore

        if not name or name.endswith("/"):
            return None
        try:
            with self._translated(name):
                return self._file(dict(obstore.head(self.store, self.key(name))))
        except QueryError:
            with suppress(Refused):
                self.check()  # a bucket that is missing is told by a listing alone
            return None

    def _listed(self, folder: str, deep: bool) -> Iterator[dict[str, Any]]:
        import obstore

        below = self.key(folder).rstrip("/") if folder else self.prefix
        with self._translated(folder):
            if deep:
                for some in obstore.list(self.store, below or None, chunk_size=1000):
                    yield from map(dict, some)
            else:
                yield from map(dict, obstore.list_with_delimiter(self.store, below or None)["objects"])

    def _file(self, about: dict[str, Any]) -> FoundFile:
        path = about["path"]
        name = path[len(self.prefix) + 1 :] if self.prefix else path
        version = about["version"] or "" if self.versions is not None else ""
        return FoundFile(
            path=path,
            name=f"{name}@{version}" if version else name,
            size_bytes=about["size"],
            modified_ns=(about["last_modified"] - _EPOCH) // timedelta(microseconds=1) * 1000,
            compression=COMPRESSIONS.get(PurePosixPath(path).suffix.lower(), ""),
            etag=_plain_etag(about["e_tag"] or ""),
            version=version,
            place=self,
        )

    def _with_members(self, files: Sequence[FoundFile]) -> list[FoundFile]:
        found: list[FoundFile] = []
        for file in files:
            if not file.size_bytes and (
                not file.name or any(f.name.startswith(f"{file.name}/") for f in files)
            ):
                continue  # consoles store an empty object to show a folder
            found += members(file) if file.compression == "zip" else [file]
        return sorted(found, key=lambda file: file.name)

    @contextmanager
    def _translated(self, name: str, file: FoundFile | None = None) -> Iterator[None]:
        try:
            yield
        except AsgardError:
            raise
        except Exception as error:
            raise (
                self.failure() or our_error(error, f"{self.location}/{name}", self.secrets(), file)
            ) from error


class ObjectReader(io.RawIOBase):
    """An object as a stream; `fetched` is all of it, if it is here already. Used by one thread at a time."""

    def __init__(self, bucket: Bucket, file: FoundFile, fetched: memoryview | None = None) -> None:
        self._bucket = bucket
        self._file = file
        self._size = file.archive_bytes or file.size_bytes
        self._position = 0
        self._window = fetched if fetched is not None else memoryview(b"")
        self._window_start = 0
        self._window_bytes = FIRST_WINDOW_BYTES
        self._ahead: Future[memoryview] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Asks for nothing yet."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """As `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """That many bytes; fewer at the end alone."""
        left = self._size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while wanted > 0:
            inside = self._position - self._window_start
            if not 0 <= inside < len(self._window):
                self._turn_to(self._position, wanted, first=not parts)
                inside = 0
            part = self._window[inside : inside + wanted]
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _turn_to(self, position: int, wanted: int, *, first: bool) -> None:
        follows = position == self._window_start + len(self._window)
        ahead, self._ahead = self._ahead, None
        if follows and ahead is not None:
            self._window, self._window_start = ahead.result(), position
        else:
            least = min(wanted, MOST_WINDOW_BYTES)
            if first:
                self._window_bytes = self._window_bytes if follows else FIRST_WINDOW_BYTES
                least = max(least, self._window_bytes if follows else self._least_bytes(position))
            end = min(position + least, self._size)
            self._window, self._window_start = self._bucket.part(self._file, position, end), position
        if follows and first:
            self._read_ahead()

    def _least_bytes(self, position: int) -> int:
        """A footer is asked for in pieces; what jumps elsewhere knows what it wants."""
        return FIRST_WINDOW_BYTES if self._size - position <= FIRST_WINDOW_BYTES else 1

    def _read_ahead(self) -> None:
        start = self._window_start + len(self._window)
        if start >= self._size:
            return
        self._window_bytes = min(self._window_bytes * 2, MOST_WINDOW_BYTES)
        end = min(start + self._window_bytes, self._size)
        self._thread = self._thread or ThreadPoolExecutor(1, "read-ahead")
        self._ahead = self._thread.submit(self._bucket.part, self._file, start, end)

    def close(self) -> None:
        """Waits for nothing."""
        if not self.closed and self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._window, self._ahead = memoryview(b""), None
        super().close()


def _plain_etag(etag: str) -> str:
    """Without the quotes, which listings and answers do not have alike."""
    return etag.removeprefix("W/").strip('"')


def _without_version(file: FoundFile) -> str:
    return file.name.removesuffix(f"@{file.version}") if file.version else file.name


def _expression(pattern: str) -> str:
    """The regular expression of a pattern, with the meaning that it has for local files."""
    parts = pattern.split("/")
    told = ""
    for number, part in enumerate(parts, 1):
        if part == "**":
            told += r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)[^/]+" if number == len(parts) else "")
            continue
        told += r"(?!\.)" if MAGIC.match(part) else ""
        told += _SIGN.sub(_sign, part) + ("" if number == len(parts) else "/")
    return told


_SIGN = re.compile(r"\*+|\?|\[(!?)(\]?[^\]]*)\]|[^*?\[]+|\[")


def _sign(found: re.Match[str]) -> str:
    sign = found[0]
    if found[2]:
        inside = re.sub(r"([\\^\[])", r"\\\1", found[2])
        return f"[{'^' if found[1] else ''}{inside}]"
    return {"*": "[^/]*", "?": "[^/]"}.get(sign[0], re.escape(sign))
