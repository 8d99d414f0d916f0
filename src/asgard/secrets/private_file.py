"""A file that only its owner may read, replaced as a whole and durably."""

from __future__ import annotations

import os
from pathlib import Path


def write_privately(file: Path, content: bytes) -> None:
    """Replaces the file: whoever reads it sees the old content or the new, also after a loss of power.

    Only one writer at a time may call it for the same file.

    Raises:
        OSError: the disk or the permissions do not allow it; the old content stays.
    """
    fresh = file.with_name(f".{file.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(stream.fileno(), 0o600)  # a draft that a kill left behind keeps its own mode
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
