"""The file that a backup is: a ZIP of members, the manifest the last of them.

It is written under another name and takes its own when it is whole and on the disk: a backup that is killed
leaves no half archive, and a draft that the next one takes away. What is read is checked against the
manifest, byte by byte.

Reference: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

from asgard.app.backup.manifest import Manifest, Member
from asgard.core.errors import AsgardError, DataError, OutOfSpace, Refused

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 18
MOST_MANIFEST_BYTES = 1 << 28
DRAFT = ".asgard-backup-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    KeyError, OverflowError,
)  # fmt: skip
"""What a damaged ZIP makes of its reader. NotImplementedError is zipfile's word for a compression it does not
know: a turned bit in a header names one."""


class Draft:
    """An archive that is being written. Who leaves it without `finish` leaves nothing behind.

    Args:
        file: what it will be called; its folder is made.

    Raises:
        Refused: there is a file of that name, or nothing can be written there.
        OutOfSpace: by every method: the disk is full.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._members: list[Member] = []
        with writing_to(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(file):
                raise _taken(file)
            _sweep(file.parent)
            self.path, handle = _locked_draft(file.parent)
            self._stream = os.fdopen(handle, "w+b")
            self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False)

    def add(self, name: str, chunks: Iterable[bytes]) -> Member:
        """Writes a member; its content is not held in memory."""
        digest, size = hashlib.sha256(), 0
        with writing_to(self._file), self._zip.open(_described(name), "w", force_zip64=True) as target:
            for chunk in chunks:
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        member = Member(name, size, digest.hexdigest())
        self._members.append(member)
        return member

    def add_file(self, name: str, path: Path) -> Member:
        """Writes a file as a member."""
        with path.open("rb") as source:
            return self.add(name, chunks_of(source))

    def finish(self, manifest: Manifest) -> Manifest:
        """Writes the manifest, with the checksums of all members, and gives the archive its name, durably."""
        whole = Manifest(**{**vars(manifest), "members": tuple(self._members)})
        with writing_to(self._file):
            self._zip.writestr(_described(MANIFEST), whole.to_bytes())
            self._zip.close()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            try:
                os.link(self.path, self._file)
            except FileExistsError:
                raise _taken(self._file) from None
            except OSError as error:  # a file system without links
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                    raise
                os.rename(self.path, self._file)
            _sync_folder(self._file.parent)
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, ValueError):  # what could not be written cannot be closed either
            self._zip.close()
        with suppress(OSError):
            self._stream.close()
        for path in (self.path, self.aside("db")):
            path.unlink(missing_ok=True)

    def aside(self, suffix: str) -> Path:
        """A file beside the draft, for what has to be put together before it is a member; goes with it."""
        return self.path.with_suffix(f".{suffix}")


class Archive:
    """A backup, opened. Every member that is read is checked.

    Raises:
        Refused: it cannot be read.
        DataError: it is damaged; by every method, naming the member.
        ConfigError: a newer version of Asgard made it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._stream = file.open("rb")
        except OSError as error:
            raise Refused(
                f"the backup {file} cannot be read: {error.strerror}", hint="check its name and rights"
            ) from error
        try:
            with _undamaged(f"the backup {file}"):
                self._zip = zipfile.ZipFile(self._stream)
                with self._zip.open(MANIFEST) as source:
                    content = b"".join(_bounded(source, MOST_MANIFEST_BYTES))
            self.manifest = Manifest.from_bytes(content)
        except BaseException:
            self._stream.close()
            raise
        self.id = hashlib.sha256(content).hexdigest()
        self.members = {member.name: member for member in self.manifest.members}

    def check(self, tell: Callable[[str, int], None] = lambda name, size: None) -> None:
        """Reads all of it.

        Args:
            tell: is told each member that is whole, and its bytes.
        """
        for name, member in self.members.items():
            for _ in self.read(name):
                pass
            tell(name, member.size_bytes)

    def read(self, name: str) -> Iterator[bytes]:
        """The content of a member, chunk by chunk; the error of a damaged one comes after the last chunk at
        the latest."""
        member = self.members[name]
        digest, size = hashlib.sha256(), 0
        with _undamaged(f"the backup's {name}"), self._zip.open(name) as source:
            for chunk in _bounded(source, member.size_bytes):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
            if (size, digest.hexdigest()) != (member.size_bytes, member.sha256):
                raise ValueError("its checksum is another one")

    def below(self, prefix: str) -> list[str]:
        """The names of the members that begin so, sorted."""
        return sorted(name for name in self.members if name.startswith(prefix))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._stream.close()


def _bounded(source: IO[bytes], most_bytes: int) -> Iterator[bytes]:
    """Never more than it says: a small file can unfold to any size."""
    for chunk in chunks_of(source):
        most_bytes -= len(chunk)
        if most_bytes < 0:
            raise ValueError("it is longer than it was")
        yield chunk


def chunks_of(source: IO[bytes]) -> Iterator[bytes]:
    """A stream, piece by piece."""
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


@contextmanager
def writing_to(file: Path) -> Iterator[None]:
    """Turns the disk's errors into ours.

    Raises:
        OutOfSpace: the disk is full.
        Refused: it cannot be written.
    """
    try:
        yield
    except AsgardError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace(
                f"{file} cannot be written: {error.strerror}", hint="free space and run again"
            ) from error
        raise Refused(
            f"{file} cannot be written: {error.strerror}", hint="check the folder's rights, or choose another"
        ) from error


@contextmanager
def _undamaged(what: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        text = str(error).strip("'\"") or type(error).__name__
        raise DataError(f"{what} is damaged: {text}", hint="take another backup") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # it says that something lies before its beginning
            raise DataError(f"{what} is damaged: {error}", hint="take another backup") from error
        raise Refused(f"{what} cannot be read: {error.strerror}", hint="check its disk") from error


def _described(name: str) -> zipfile.ZipInfo:
    """The same whatever the clock says: instants are the manifest's."""
    described = zipfile.ZipInfo(name)
    described.compress_type = zipfile.ZIP_DEFLATED
    described.external_attr = 0o600 << 16
    return described


def _taken(file: Path) -> Refused:
    hint = "name another file, or a folder: backups in it have names of their own"
    return Refused(f"there is {file} already", hint=hint)


def _locked_draft(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{DRAFT}{uuid4().hex}"
        # For its owner alone: hashes of passwords are in it.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():  # nobody swept it before it was locked
            return path, handle
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Takes away what backups that were killed left: nobody holds the lock of those."""
    for path in sorted(folder.glob(f"{DRAFT}*")):
        draft = path.with_suffix("")
        with suppress(OSError):
            if draft.exists():
                handle = os.open(draft, os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    draft.unlink()
                finally:
                    os.close(handle)
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
