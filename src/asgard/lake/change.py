"""A worked-out load: the files that come and go, and the table as it would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.core.errors import Conflict, DataError
from asgard.core.table import DataFile, Mount, Staged
from asgard.lake.columns import Columns
from asgard.lake.delta.deletion_vectors import GoneRows, Vector
from asgard.lake.delta.pinned import Base
from asgard.lake.delta.snapshot import LakeFile, mount_of
from asgard.lake.folder import Folder
from asgard.lake.statistics import figures_of


@dataclass(frozen=True)
class Mark:
    """A file of the base that stays, with more of its rows marked as deleted.

    Attributes:
        file: as it is in the base.
        vector: all of its rows that do not count then.
    """

    file: LakeFile
    vector: Vector

    @property
    def rows(self) -> int:
        """How many rows it marks that counted before."""
        return self.vector.rows - (self.file.vector.rows if self.file.vector else 0)

    @property
    def physical_rows(self) -> int:
        """How many rows the file holds, those that do not count included."""
        return self.vector.rows - self.rows + (self.file.rows or 0)


@dataclass(frozen=True)
class Change:
    """A worked-out load on its base: what the commit will hold.

    Attributes:
        base: the version that it was worked out on.
        columns: the table's columns afterwards.
        staged: as it was given.
        adds: files that come.
        removes: files of the base that go; with `base.replaces` all of them go.
        rows_removed: rows that vanish; None when not known.
        marks: files of the base of which more rows are gone.
        vector_files: that were written for the marks, with their bytes.
    """

    folder: Folder
    base: Base
    columns: Columns
    staged: tuple[Staged, ...]
    adds: tuple[DataFile, ...]
    removes: tuple[LakeFile, ...] = ()
    rows_removed: int | None = 0
    marks: tuple[Mark, ...] = ()
    vector_files: Mapping[str, int] = field(default_factory=dict)

    @property
    def total_rows(self) -> int | None:
        """Rows of the table afterwards; None when not known."""
        rows = sum(file.rows for file in self.adds)
        if self.base.replaces or self.base.snapshot is None:
            return rows
        before = self.base.snapshot.total_rows
        gone = [file.rows for file in self.removes]
        if before is None or None in gone:
            return None
        marked = sum(mark.rows for mark in self.marks)
        return before - sum(count for count in gone if count) - marked + rows

    @property
    def is_empty(self) -> bool:
        """Whether no row comes and none goes or changes."""
        replaces = self.base.replaces and self.base.snapshot is not None
        return not (self.adds or self.removes or self.marks or replaces)

    @property
    def touches_vectors(self) -> bool:
        """Whether a deletion vector comes or goes."""
        return bool(self.marks) or any(file.vector for file in self.removes)

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Names of the files that were written to prepare the change, beside those that were staged."""
        staged = {file.path for one in self.staged for file in one.files}
        return (*(file.path for file in self.adds if file.path not in staged), *self.vector_files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that come."""
        return sum(file.size_bytes for file in self.adds) + sum(self.vector_files.values())

    @property
    def rows_added(self) -> int:
        """Rows that came; rows that a merge only wrote again did not."""
        rows = sum(file.rows for file in self.adds)
        if not self.removes and not self.marks:
            return rows
        anew = sum(file.rows or 0 for file in self.removes) + sum(mark.rows for mark in self.marks)
        return rows - anew + (self.rows_removed or 0)

    def mount(self) -> Mount:
        """The table as it would be."""
        vectors: dict[str, Vector | None] = {}
        sizes = {self.folder.absolute(file.path): file.size_bytes for file in self.adds}
        if not self.base.replaces and (snapshot := self.base.snapshot) is not None:
            gone = {file.path for file in self.removes}
            kept = {snapshot.absolute(f.path): f for f in snapshot.files() if f.path not in gone}
            sizes |= {path: file.size_bytes for path, file in kept.items()}
            marked = {mark.file.path: mark.vector for mark in self.marks}
            vectors = {path: marked.get(file.path, file.vector) for path, file in kept.items()}
        self.folder.know(sizes)
        vectors |= {self.folder.absolute(file.path): None for file in self.adds}
        return mount_of(self.folder, self.columns.table, GoneRows(self.folder, vectors), self.total_rows)

    def fresh(self) -> Mount:
        """The rows of this load alone, as they were staged."""
        files = [file for one in self.staged for file in one.files]
        schema = self.columns.staged
        sizes = {self.folder.absolute(file.path): file.size_bytes for file in files}
        self.folder.know(sizes)
        return Mount(
            schema,
            tuple(sizes),
            sum(file.rows for file in files),
            figures=figures_of([file.stats for file in files], schema),
            filesystem=self.folder.filesystem,
        )


def check_file(folder: Folder, file: DataFile, schema: pa.Schema) -> None:
    """Protocol 6: sees that a staged file is whole and holds the columns that the table expects.

    Raises:
        DataError: it does not.
        Conflict: it is not there any more.
    """
    check_presence(folder, {file.path: file.size_bytes})
    with folder.opened(folder.absolute(file.path)) as opened:
        footer = pq.read_metadata(opened)
    found = footer.schema.to_arrow_schema()
    if footer.num_rows != file.rows or not found.equals(schema, check_metadata=False):
        raise DataError(
            f"the staged file {file.path} does not hold what the table expects: {_difference(found, schema)}",
            hint="stage the rows through Load.stage",
        )


def check_presence(folder: Folder, files: Mapping[str, int]) -> None:
    """Sees that files of a load lie there, whole.

    Args:
        folder: of the table.
        files: with their bytes.

    Raises:
        Conflict: somebody took one away.
        DataError: one has another size than when it was staged.
    """
    sizes = folder.sizes(files)
    for path, wanted_bytes in files.items():
        size_bytes = sizes.get(path)
        if size_bytes is None:
            raise Conflict(
                f"the staged file {path} was deleted before the commit",
                hint="run again; vacuum the table only with a retention longer than the longest load",
            )
        if size_bytes != wanted_bytes:
            raise DataError(f"the staged file {path} has {size_bytes} bytes instead of {wanted_bytes}")
    folder.know({folder.absolute(path): size_bytes for path, size_bytes in files.items()})


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    there = {column.name: column.type for column in found}
    lines = [
        f"{column.name} is {there.get(column.name, 'missing')}, not {column.type}"
        for column in wanted
        if there.get(column.name) != column.type
    ]
    return "; ".join(lines) or "another number of rows or columns"
