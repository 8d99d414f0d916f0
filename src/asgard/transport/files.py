"""Files: finding them, opening them through their compression, noticing that they changed.

A `FoundFile` is one file or one member of a zip archive, in a `Place`: the local disk (here) or a bucket
(`objects`). Knows gzip, bzip2, Zstandard and zip; leaves what stands in a file to the formats (`delimited`,
`json_records`, `parquet`, `spreadsheet`).

Reference: https://arrow.apache.org/docs/python/memory.html#input-and-output
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any, Protocol, Self

import pyarrow as pa

from asgard.core.errors import (
    AsgardError,
    ConfigError,
    DataError,
    OutOfSpace,
    QueryError,
    Refused,
    Unreachable,
)

COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd", ".zip": "zip"}
MEMBER = "!"
"""Between an archive and its member in a file's name: `2013.zip!flights/january.csv`."""
VERSION = "@"
"""Between an object and its version in a file's name."""
_ALWAYS = ("path", "name", "size_bytes", "modified_ns")
_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Place(Protocol):
    """Where files lie."""

    @property
    def location(self) -> str:
        """What patterns are relative to, for people."""

    @property
    def only(self) -> str:
        """The name of the one file that the place is; empty for a folder."""

    def find(self, pattern: str = "**/*") -> list[FoundFile]:
        """The files that a pattern means, sorted by name, archives as their members."""

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this very name, signs of patterns and all."""

    def is_folder(self, name: str) -> bool:
        """Whether there are files below this very name."""

    def near(self, pattern: str) -> str:
        """What to say to somebody whose pattern matched nothing."""

    def reading(self, files: Sequence[FoundFile]) -> AbstractContextManager[None]:
        """Says which files are opened within it, one after the other: a place that is far away may hurry."""

    def content(self, file: FoundFile) -> AbstractContextManager[str | IO[bytes]]:
        """The bytes as they lie there, for Arrow, zip and workbooks: a path, or a stream that can seek."""

    def refuse_changed(self, file: FoundFile) -> None:
        """See `refuse_changed` of this module."""


@dataclass(frozen=True)
class LocalDisk:
    """A folder of this machine, or one file of it.

    Attributes:
        path: of the folder; of the file; of nothing in particular for files with absolute paths.
    """

    path: str = "."

    @classmethod
    def existing(cls, path: str) -> Self:
        """The folder or file that a configuration names.

        Raises:
            ConfigError: it is not there; the hint names near ones.
        """
        return cls(str(existing_folder(path)))

    @property
    def location(self) -> str:
        """The folder, also of one file."""
        return str(Path(self.path).parent) if self.only else self.path

    @property
    def only(self) -> str:
        """The file's name."""
        return Path(self.path).name if os.path.isfile(self.path) else ""

    def find(self, pattern: str = "**/*") -> list[FoundFile]:
        """As `find_files`."""
        return find_files(self.location, pattern)

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this very name."""
        return (Path(self.location) / name).is_file()

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of this very name."""
        return (Path(self.location) / name).is_dir()

    def near(self, pattern: str) -> str:
        """Where patterns begin."""
        return f"patterns are relative to {self.location}"

    def reading(self, files: Sequence[FoundFile]) -> AbstractContextManager[None]:
        """No hurry."""
        return nullcontext()

    def content(self, file: FoundFile) -> AbstractContextManager[str | IO[bytes]]:
        """The path: who reads opens it."""
        return nullcontext(file.path)

    def refuse_changed(self, file: FoundFile) -> None:
        """By size and time of change."""
        with translated(file.name):
            about = os.stat(file.path)
        same_size = file.member or about.st_size == file.size_bytes
        if not same_size or about.st_mtime_ns != file.modified_ns:
            raise changed(file)


@dataclass(frozen=True)
class FoundFile:
    """A file as it was when it was found.

    Attributes:
        path: where it lies in its place.
        name: for people and positions: relative to the source's folder, POSIX separators.
        member: which member of the archive; empty when it is no archive.
        compression: gzip, bz2, zstd, zip, or empty.
        checksum: of a member's content; 0 when it is no archive.
        size_bytes: where it lies; for a member, unpacked.
        modified_ns: when its content changed last, in ns since 1970.
        archive_bytes: of the whole archive; 0 when it is none.
        etag: what an object store calls its content; empty elsewhere.
        version: which of an object's kept versions; empty for the newest.
        place: where it lies; not part of what is written down.
    """

    path: str
    name: str
    size_bytes: int
    modified_ns: int
    member: str = ""
    compression: str = ""
    checksum: int = 0
    archive_bytes: int = 0
    etag: str = ""
    version: str = ""
    place: Place = field(default=LocalDisk(), repr=False, compare=False)

    @property
    def written(self) -> dict[str, Any]:
        """As JSON values; `FoundFile(**written, place=...)` reads them."""
        values = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "place"}
        return {name: value for name, value in values.items() if value not in ("", 0) or name in _ALWAYS}

    @property
    def state(self) -> str:
        """What differs when the content does. In an archive that is packed anew, with one file more, the
        others have not changed; nor has an object that was stored again with the same content."""
        if self.member:
            return f"{self.size_bytes}:{self.checksum:08x}"
        return f"{self.size_bytes}:{self.etag or self.modified_ns}"

    @property
    def plain_name(self) -> str:
        """The name of what comes out: without folder, archive, version and the compression's suffix."""
        whole = self.name.removesuffix(f"{VERSION}{self.version}") if self.version else self.name
        name = (self.member or whole).rsplit("/", 1)[-1]
        stem, suffix = os.path.splitext(name)
        return stem if not self.member and suffix.lower() in COMPRESSIONS else name

    @property
    def suffix(self) -> str:
        """`.csv` of `flights.csv.gz`, in lower case."""
        return os.path.splitext(self.plain_name)[1].lower()


def find_files(folder: str | Path, pattern: str = "**/*") -> list[FoundFile]:
    """The files that a pattern means, sorted by name; hidden ones only if the pattern names the dot.

    Args:
        folder: what the pattern is relative to.
        pattern: a path, or a glob with `*`, `?`, `[...]` and `**` for any depth of folders.

    Raises:
        DataError: an archive is broken.
        Refused: a file may not be looked at.
    """
    root = os.path.abspath(folder)
    found: list[FoundFile] = []
    for path in _expanded(root, pattern):
        with translated(path):
            about = os.stat(path)
            if not stat.S_ISREG(about.st_mode):
                continue
            name = Path(os.path.relpath(path, root)).as_posix()
            compression = COMPRESSIONS.get(os.path.splitext(path)[1].lower(), "")
            file = FoundFile(path, name, about.st_size, about.st_mtime_ns, "", compression)
            found += members(file) if compression == "zip" else [file]
    return sorted(found, key=lambda file: file.name)


def _expanded(root: str, pattern: str) -> Iterator[str]:
    whole = os.path.join(glob.escape(root), pattern) if not os.path.isabs(pattern) else pattern
    literal = os.path.join(root, pattern)
    if os.path.isfile(literal):  # a file's name may contain [ and *
        yield literal
        return
    yield from glob.iglob(whole, recursive=True)


def members(archive: FoundFile) -> Iterator[FoundFile]:
    """The files inside of a zip archive."""
    with archive.place.content(archive) as content, zipfile.ZipFile(content) as opened:
        for member in opened.infolist():
            hidden = member.filename.startswith("__MACOSX/") or Path(member.filename).name.startswith(".")
            if member.is_dir() or hidden:
                continue
            yield replace(
                archive,
                name=f"{archive.name}{MEMBER}{member.filename}",
                size_bytes=member.file_size,
                member=member.filename,
                checksum=member.CRC,
                archive_bytes=archive.size_bytes,
            )


@contextmanager
def opened(file: FoundFile) -> Iterator[IO[bytes]]:
    """The decompressed bytes of the file, to be read once from the beginning.

    Foreign errors that come while it is open, also from who reads, are translated.

    Raises:
        DataError: the file is truncated or damaged, or is not the one that was found.
        QueryError: it is gone.
        Refused: it may not be read.
    """
    with translated(file.name):
        refuse_changed(file)
        with file.place.content(file) as content:
            if file.compression == "zip":
                with zipfile.ZipFile(content) as archive, _member(archive, file) as stream:
                    yield stream
            elif file.compression:
                if not file.size_bytes:
                    raise DataError(
                        f"{file.name} is empty, and no {file.compression} file is",
                        hint="it was cut off: fetch it again",
                        where={"file": file.name},
                    )
                with pa.input_stream(content, compression=file.compression) as stream:
                    yield stream
            elif isinstance(content, str):
                with open(content, "rb") as stream:
                    yield stream
            else:
                yield content


def _member(archive: zipfile.ZipFile, file: FoundFile) -> IO[bytes]:
    try:
        return archive.open(file.member)
    except (NotImplementedError, RuntimeError, KeyError) as error:  # other methods, passwords, names
        raise DataError(
            f"{file.name} cannot be unpacked: {error}",
            hint="unpack it, or pack it without a password",
            where={"file": file.name},
        ) from error


def refuse_changed(file: FoundFile) -> None:
    """Sees that the file is still the one that was found: its columns were proved on that one.

    Raises:
        DataError: it changed, so that what was read of it may be of two contents.
        QueryError: it is gone.
    """
    file.place.refuse_changed(file)


def changed(file: FoundFile) -> DataError:
    """The error for a file that is not the one that was found."""
    return DataError(
        f"{file.name} changed while it was being read",
        hint="run again when nobody writes to it; writers should write beside it and rename",
        where={"file": file.name},
    )


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turns what goes wrong with a file into our errors, most specific first."""
    where = {"file": name}
    try:
        yield
    except AsgardError:
        raise
    except FileNotFoundError as error:
        raise QueryError(f"there is no file {name}", hint="look at the path", where=where) from error
    except (PermissionError, IsADirectoryError) as error:
        raise Refused(
            f"{name} may not be read: {error.strerror}",
            hint="give this user the right to read it",
            where=where,
        ) from error
    except UnicodeError as error:
        raise DataError(
            f"{name} is not written in the encoding that was given: {error}",
            hint="set encoding to the one it is written in, for example latin-1 or utf-16",
            where=where,
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(name, error) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _damaged(name, error) from error
    except OSError as error:
        if error.errno in _SPACE:
            raise OutOfSpace(
                f"{error.strerror}: {name}", hint="free space and run again", where=where
            ) from error
        if error.errno is None:  # Arrow's own: the stream is cut off or no such compression
            raise _damaged(name, error) from error
        raise Unreachable(f"{name} cannot be read: {error.strerror}", where=where) from error


def _damaged(name: str, error: Exception) -> DataError:
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{name} is truncated or damaged: {told}",
        hint="fetch or write it again",
        where={"file": name},
    )


def existing_folder(path: str) -> Path:
    """The folder, or the folder of the file, that a configuration names.

    Raises:
        ConfigError: there is neither; the hint names near ones.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise ConfigError(f"there is no folder or file {path}", hint=_near(found))
    return found


def _near(path: Path) -> str:
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    with os.scandir(parent) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))[:10]
    return f"{parent} has {', '.join(names) or 'nothing'}"


def wrapped(stream: Any, encoding: str) -> Any:
    """The stream as UTF-8, without a byte order mark of another encoding than UTF-8.

    Raises:
        ConfigError: there is no such encoding.
    """
    plain = encoding.lower().replace("_", "-")
    if plain in ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"):
        return stream
    try:
        "".encode(encoding)
    except LookupError:
        raise ConfigError(
            f"there is no encoding {encoding!r}", hint="for example utf-8, latin-1, cp1252, utf-16"
        ) from None
    source = stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")
    return pa.transcoding_input_stream(source, encoding, "utf-8")


def total_bytes(files: Sequence[FoundFile]) -> int:
    """What the files take on the disk."""
    return sum(file.size_bytes for file in files)
