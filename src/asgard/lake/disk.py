"""Files that are durable when a call returns, and the errors of disks, Arrow and Delta as ours.

The one place of the lake that translates foreign exceptions.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    DeltaProtocolError,
    SchemaMismatchError,
    TableNotFoundError,
)

from asgard.core.errors import (
    AsgardError,
    Conflict,
    DataError,
    OutOfSpace,
    QueryError,
    Refused,
    SchemaChanged,
    Unreachable,
)
from asgard.transport.object_errors import our_error

_ASKED = re.compile(r"Error performing|Generic (S3|GCS|MicrosoftAzure|HTTP) error|HTTP error")
"""In what Delta says when a bucket does not answer as it should."""
_BRANCH = re.compile(r"\s*(?:\x1b\[[0-9;]*m)?↳(?:\x1b\[[0-9;]*m)?\s*")
"""How it draws the causes of an error."""
_NO_MEMORY = re.compile(
    r"out of memory|cannot allocate|failed to allocate|malloc of size|resource temporarily unavailable", re.I
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STARVED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def sync_file(path: Path) -> None:
    """Puts the file's bytes onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Puts the folder's entries onto the disk: a file is durable only when its name is."""
    sync_file(path)


def make_folder(path: Path) -> None:
    """Makes the folder and what is above it, durably; nothing when it is there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def put_if_absent(path: Path, content: bytes) -> bool:
    """Writes a whole file under a name that nobody has, durably. False when somebody has it.

    Readers see all of it or nothing, also after a loss of power.
    """
    make_folder(path.parent)
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return True


def put(path: Path, content: bytes) -> None:
    """Writes a whole file, durably, in place of the one that may be there."""
    make_folder(path.parent)
    os.replace(_draft(path, content), path)
    sync_folder(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
    return draft


@contextmanager
def translated(where: Mapping[str, str]) -> Iterator[None]:
    """Turns exceptions of the disk, of Arrow and of Delta into ours, most specific first."""
    try:
        yield
    except AsgardError as error:
        raise error.at(**where) from error.__cause__
    except CommitFailedError as error:
        raise Conflict(_first_line(error), hint="run again", where=where) from error
    except TableNotFoundError as error:
        raise QueryError("there is no table", hint="load it first", where=where) from error
    except SchemaMismatchError as error:
        raise SchemaChanged(_first_line(error), where=where) from error
    except DeltaProtocolError as error:
        hint = "the table uses features of Delta that this version does not know"
        raise DataError(_first_line(error), hint=hint, where=where) from error
    except (OSError, DeltaError, pa.ArrowException) as error:
        if "table already exists" in str(error):  # another process created it first; no class of its own
            raise Conflict("the table was created by another load", hint="run again", where=where) from error
        raise _by_cause(error, where) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, without a name that could be imported
            raise
        raise _by_cause(error, where) from error


def _by_cause(error: BaseException, where: Mapping[str, str]) -> AsgardError:
    if _ASKED.search(str(error)):
        plain = Exception(" - ".join(filter(None, _BRANCH.split(str(error)))))
        return our_error(plain, "the table's log", (), None).at(**where)
    text = _first_line(error)
    told = re.search(r"os error (\d+)|Os \{ code: (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(told[1] or told[2]) if told else 0)
    if told and os.strerror(number) not in text:
        text = f"{text}: {os.strerror(number)}"
    if number in _FULL:
        return OutOfSpace(text, hint="nothing was published: free space and run again", where=where)
    if number in _STARVED or isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        hint = "nothing was published: let it have more open files (ulimit -n) or memory, and run again"
        return OutOfSpace(text, hint=hint, where=where)
    if number in _FORBIDDEN:
        hint = "let the user that runs Asgard write there, or choose another location"
        return Refused(text, hint=hint, where=where)
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return Unreachable(text, where=where)
    return DataError(text, hint="the table's files are damaged or were taken away", where=where)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
