"""A worked-out load: the files that come and go, and the table as it would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.core.errors import Conflict, DataError
from asgard.core.table import DataFile, Mount, Staged
from asgard.lake.columns import Columns
from asgard.lake.delta.pinned import Base
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.folder import Folder
from asgard.lake.statistics import figures_of


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
    """

    folder: Folder
    base: Base
    columns: Columns
    staged: tuple[Staged, ...]
    adds: tuple[DataFile, ...]
    removes: tuple[LakeFile, ...] = ()
    rows_removed: int | None = 0

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
        return before - sum(count for count in gone if count) + rows

    @property
    def is_empty(self) -> bool:
        """Whether no row comes and none goes or changes."""
        replaces = self.base.replaces and self.base.snapshot is not None
        return not (self.adds or self.removes or replaces)

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Names of the files that were written to prepare the change, beside those that were staged."""
        staged = {file.path for one in self.staged for file in one.files}
        return tuple(file.path for file in self.adds if file.path not in staged)

    @property
    def rows_added(self) -> int:
        """Rows that came; rows that a merge only wrote again did not."""
        rows = sum(file.rows for file in self.adds)
        if not self.removes:
            return rows
        return rows - sum(file.rows or 0 for file in self.removes) + (self.rows_removed or 0)

    def mount(self) -> Mount:
        """The table as it would be."""
        kept: dict[str, int] = {}
        if not self.base.replaces and (snapshot := self.base.snapshot) is not None:
            gone = {file.path for file in self.removes}
            kept = {snapshot.absolute(f.path): f.size_bytes for f in snapshot.files() if f.path not in gone}
        files = {**kept, **{self.folder.absolute(file.path): file.size_bytes for file in self.adds}}
        self.folder.know(files)
        return Mount(self.columns.table, tuple(files), self.total_rows, filesystem=self.folder.filesystem)

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
    check_presence(folder, [file])
    with folder.opened(folder.absolute(file.path)) as opened:
        footer = pq.read_metadata(opened)
    found = footer.schema.to_arrow_schema()
    if footer.num_rows != file.rows or not found.equals(schema, check_metadata=False):
        raise DataError(
            f"the staged file {file.path} does not hold what the table expects: {_difference(found, schema)}",
            hint="stage the rows through Load.stage",
        )


def check_presence(folder: Folder, files: Sequence[DataFile]) -> None:
    """Sees that staged files lie there, whole.

    Raises:
        Conflict: somebody took one away.
        DataError: one has another size than when it was staged.
    """
    sizes = folder.sizes(file.path for file in files)
    for file in files:
        size_bytes = sizes.get(file.path)
        if size_bytes is None:
            raise Conflict(
                f"the staged file {file.path} was deleted before the commit",
                hint="run again; vacuum the table only with a retention longer than the longest load",
            )
        if size_bytes != file.size_bytes:
            raise DataError(
                f"the staged file {file.path} has {size_bytes} bytes instead of {file.size_bytes}"
            )
    folder.know({folder.absolute(file.path): file.size_bytes for file in files})


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    there = {column.name: column.type for column in found}
    lines = [
        f"{column.name} is {there.get(column.name, 'missing')}, not {column.type}"
        for column in wanted
        if there.get(column.name) != column.type
    ]
    return "; ".join(lines) or "another number of rows or columns"
