"""Deletion vectors: rows of a data file that are not the table's any more, though the file stays as it is.

A vector is a set of row numbers. The log tells where it lies: in a file beside the data files, with others of
the same commit, or in the log itself. Ours lie in files that bear their load's name, so that the leftovers of
a killed load are found; those of other writers are read wherever they are.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors,
https://github.com/RoaringBitmap/RoaringFormatSpec, https://rfc.zeromq.org/spec/32/ (z85)
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
from pyroaring import BitMap64

from asgard.core.errors import DataError
from asgard.lake.folder import Folder, Ticket
from asgard.lake.rewrite import NO_ROWS

FEATURE = "deletionVectors"
"""What a table's protocol calls them, for readers and for writers."""

ENABLED = "delta.enableDeletionVectors"
"""The table's property without which nobody may write new ones."""

VECTOR_PREFIX, VECTOR_SUFFIX = "deletion_vector_", ".bin"
FILE_VERSION = b"\x01"
MAGIC = struct.pack("<I", 1681511377)
UUID_CHARACTERS = 20
MOST_FILE_BYTES = 64 << 20
"""A file that is larger gets no further vectors (Promise 5)."""

OURS = re.compile(VECTOR_PREFIX + r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\.bin")
"""The names of our vector files."""

_PLACES = re.compile(rb'"pathOrInlineDv"\s*:\s*("(?:[^"\\]|\\.)*")')
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85, _FROM_Z85 = bytes.maketrans(_B85, _Z85), bytes.maketrans(_Z85, _B85)


@dataclass(frozen=True)
class Vector:
    """A vector, as the log describes it.

    Attributes:
        storage: `u` beside the data files, `p` at an absolute path, `i` in the log itself.
        place: in that storage.
        offset: where in its file it begins.
        size_bytes: of the set, without what is around it.
        rows: how many rows are gone.
    """

    storage: str
    place: str
    offset: int | None
    size_bytes: int
    rows: int

    @classmethod
    def from_log(cls, told: Mapping[str, Any]) -> Vector:
        """What an `add` or `remove` says about it."""
        place, offset = told["pathOrInlineDv"], told.get("offset")
        return cls(told["storageType"], place, offset, told["sizeInBytes"], told["cardinality"])

    def to_log(self) -> dict[str, Any]:
        """As an `add` or `remove` says it."""
        told: dict[str, Any] = {"storageType": self.storage, "pathOrInlineDv": self.place}
        if self.offset is not None:
            told["offset"] = self.offset
        return {**told, "sizeInBytes": self.size_bytes, "cardinality": self.rows}

    @property
    def file(self) -> str:
        """Its file, relative to the table's folder or absolute; empty for one that lies in the log."""
        if self.storage == "u":
            folder, name = self.place[:-UUID_CHARACTERS], self.place[-UUID_CHARACTERS:]
            within = f"{folder}/" if folder else ""
            return f"{within}{VECTOR_PREFIX}{UUID(bytes=from_z85(name))}{VECTOR_SUFFIX}"
        return self.place if self.storage == "p" else ""


class GoneRows(Mapping[str, pa.Int64Array]):
    """Absolute files to the ascending numbers of their rows that are gone, read when they are asked for.

    Args:
        folder: of the table.
        vectors: each file's; None for a file of which every row counts.
    """

    def __init__(self, folder: Folder | None, vectors: Mapping[str, Vector | None]) -> None:
        self._folder = folder
        self._vectors = vectors

    @classmethod
    def none(cls) -> GoneRows:
        """Of no file."""
        return cls(None, {})

    @property
    def has_some(self) -> bool:
        """Whether a row of any file is gone."""
        return any(self._vectors.values())

    def __getitem__(self, file: str) -> pa.Int64Array:
        vector = self._vectors[file]
        if vector is None or self._folder is None:
            return NO_ROWS
        return numbers(read(self._folder, vector))

    def __iter__(self) -> Iterator[str]:
        return iter(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)


def read(folder: Folder, vector: Vector) -> BitMap64:
    """The numbers of the rows that are gone.

    Raises:
        DataError: the vector is damaged, or was taken away: without it rows that are gone would come back.
    """
    data = _from_log(vector) if vector.storage == "i" else _from_file(folder, vector)
    rows = _decoded(data)
    if rows is None or len(rows) != vector.rows:
        raise _damaged(vector)
    return rows


def _from_log(vector: Vector) -> bytes:
    try:
        return from_z85(vector.place)[: vector.size_bytes]
    except ValueError as error:
        raise _damaged(vector) from error


def _from_file(folder: Folder, vector: Vector) -> bytes:
    try:
        content = memoryview(folder.read(_within(folder, vector)))
    except FileNotFoundError as error:
        raise _damaged(vector, "it is not there") from error
    start = vector.offset or 0
    stop = start + 4 + vector.size_bytes
    if content[:1] != FILE_VERSION or len(content) < stop + 4:
        raise _damaged(vector)
    data = bytes(content[start + 4 : stop])
    framed = bytes(content[start : start + 4]) + bytes(content[stop : stop + 4])
    if framed != _big_endian(len(data)) + _big_endian(zlib.crc32(data)):
        raise _damaged(vector)
    return data


def _within(folder: Folder, vector: Vector) -> str:
    """Its file's name in the table's folder."""
    if vector.storage == "u":
        return vector.file
    root, path = folder.absolute(""), folder.absolute(vector.place)
    if vector.storage == "p" and path.startswith(root):
        return path.removeprefix(root)
    raise DataError(
        f"rows of the table are marked as deleted in {vector.place}, which is outside of it",
        hint="rewrite the table plainly (Spark: REORG TABLE ... APPLY (PURGE))",
    )


def _decoded(data: bytes) -> BitMap64 | None:
    if data[:4] != MAGIC:
        return None
    try:
        return BitMap64.deserialize(data[4:])
    except ValueError:
        return None


def _damaged(vector: Vector, how: str = "it is not what the log says") -> DataError:
    return DataError(
        f"the deletion vector {vector.file or 'in the log'} is damaged: {how}",
        hint="restore the file, or a version of the table from before it (asgard undo)",
    )


def numbers(rows: BitMap64) -> pa.Int64Array:
    """A set as ascending numbers."""
    plain = rows.to_array()
    return pa.Int64Array.from_buffers(pa.int64(), len(plain), [None, pa.py_buffer(plain)])


def united(rows: pa.Int64Array, more: pa.Int64Array) -> BitMap64:
    """The set of both."""
    return _set_of(rows) | _set_of(more)


def _set_of(rows: pa.Int64Array) -> BitMap64:
    plain = memoryview(rows.buffers()[1] or b"").cast("B")[rows.offset * 8 : (rows.offset + len(rows)) * 8]
    return BitMap64(array("Q", plain.tobytes()))


@dataclass(frozen=True)
class VectorFile:
    """Vectors that are to be written together.

    Attributes:
        name: of the file.
        content: what is in it.
        vectors: in the order of the sets.
    """

    name: str
    content: bytes
    vectors: tuple[Vector, ...]


@dataclass(frozen=True)
class VectorFiles:
    """Vectors that were written.

    Attributes:
        vectors: in the order of the sets.
        sizes: their files, and the bytes of each.
    """

    vectors: tuple[Vector, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)


def written(folder: Folder, ticket: Ticket, sets: Iterable[BitMap64]) -> VectorFiles:
    """Writes the vectors of a load, durably."""
    vectors: list[Vector] = []
    sizes: dict[str, int] = {}
    for file in files_of(ticket.load, sets):
        ticket.given.add(file.name)
        folder.put(file.name, file.content)
        vectors += file.vectors
        sizes[file.name] = len(file.content)
    return VectorFiles(tuple(vectors), sizes)


def files_of(load: str, sets: Iterable[BitMap64]) -> Iterator[VectorFile]:
    """Files for the vectors of a load, one after the other."""
    content, offsets = bytearray(FILE_VERSION), list[tuple[int, int, int]]()
    for rows in sets:
        rows.run_optimize()
        data = MAGIC + rows.serialize()
        offsets.append((len(content), len(data), len(rows)))
        content += _big_endian(len(data)) + data + _big_endian(zlib.crc32(data))
        if len(content) >= MOST_FILE_BYTES:
            yield _file_of(load, bytes(content), offsets)
            content, offsets = bytearray(FILE_VERSION), []
    if offsets:
        yield _file_of(load, bytes(content), offsets)


def _file_of(load: str, content: bytes, offsets: list[tuple[int, int, int]]) -> VectorFile:
    place = to_z85(UUID(hex=_own(load) + uuid4().hex[20:]).bytes)
    vectors = tuple(Vector("u", place, *one) for one in offsets)
    return VectorFile(vectors[0].file, content, vectors)


def vector_prefix(load: str) -> str:
    """How the names of a load's vector files begin."""
    own = _own(load)
    return f"{VECTOR_PREFIX}{own[:8]}-{own[8:12]}-{own[12:16]}-{own[16:]}-"


def _own(load: str) -> str:
    """The first four groups of the UUIDs that a load's files get: the load's own, but of version 8, which
    nobody draws by chance. So ours are told from those of other writers, and by their load."""
    return f"{load[:12]}8{load[13:20]}"


def is_of(name: str, loads: Collection[str]) -> bool:
    """Whether a vector file is of one of the loads."""
    return any(name.startswith(vector_prefix(load)) for load in loads)


def named_in(commit: bytes) -> set[str]:
    """The vector files that a commit of the log names."""
    places = (json.loads(found) for found in _PLACES.findall(commit))
    return {Vector("u", place, 0, 0, 0).file for place in places if len(place) == UUID_CHARACTERS}


def _big_endian(number: int) -> bytes:
    return struct.pack(">I", number)


def to_z85(data: bytes) -> str:
    """Bytes, four for each five characters, as text."""
    return base64.b85encode(data).translate(_TO_Z85).decode()


def from_z85(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        ValueError: it is none.
    """
    return base64.b85decode(text.encode().translate(_FROM_Z85))
