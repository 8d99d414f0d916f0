"""How pyiceberg's own files (metadata, manifests) are written on a disk: durable before a catalog names them.

pyiceberg leaves them to the system's cache, while the catalog's database syncs: after a loss of power the
catalog would name a file that is not there, and the table could never be opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from asgard.lake.disk import make_folder, sync_folder


class DurableFileIO(PyArrowFileIO):
    """As PyArrowFileIO; files of this machine are synced when they are closed, and so is their folder."""

    def new_output(self, location: str) -> PyArrowFile:
        """As PyArrowFileIO."""
        output = super().new_output(location)
        scheme, _, path = self.parse_location(location, self.properties)
        return _DurableFile(output, path) if scheme == "file" else output


class _DurableFile(PyArrowFile):
    def __init__(self, output: PyArrowFile, path: str) -> None:
        super().__init__(output.location, path, output._filesystem)
        self._local = Path(path)

    def create(self, overwrite: bool = False) -> Any:
        make_folder(self._local.parent)
        return _Synced(self._local.open("wb" if overwrite else "xb"), self._local.parent)


class _Synced:
    """A file that is durable once it is closed."""

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self._file = file
        self._folder = folder

    def write(self, content: bytes) -> int:
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
