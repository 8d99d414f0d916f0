"""Writes rows to Parquet files: bounded row groups, rolling files, figures for the log, durable at the end.

How columns are encoded is the matter of `encoding`, by the first row group. Field ids come from the schema.

Reference: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as t

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError
from asgard.core.table import DataFile
from asgard.lake.encoding import Encoding, chosen
from asgard.lake.folder import Folder
from asgard.lake.schemas import for_parquet
from asgard.lake.statistics import MOST_COLUMNS, FileStatistics


@dataclass(frozen=True)
class Limits:
    """How large things get.

    Attributes:
        row_group_bytes: Arrow bytes of a row group; a writer holds about twice that (Promise 5).
        row_group_rows: rows of a row group at most.
        file_bytes: a file is closed once it is larger.
        table_bytes: for tables whose rows change, how large the table is: a merge writes whole files anew, so
            they are kept to a thirty-second of the table, 16 MiB at least and `file_bytes` at most.
        gone_share: of a file's rows so many may be marked as deleted before it is written anew; 0: none ever.
        marked_bytes: smaller files are written anew: it costs less than marks cost every reader.
    """

    row_group_bytes: int = 8 * MEBIBYTE
    row_group_rows: int = 1 << 20
    file_bytes: int = 128 * MEBIBYTE
    table_bytes: int | None = None
    gone_share: float = 0.2
    marked_bytes: int = MEBIBYTE

    def next_file_bytes(self, written_bytes: int) -> int:
        """Where the file is closed that comes after so many bytes."""
        if self.table_bytes is None:
            return self.file_bytes
        return min(self.file_bytes, max((self.table_bytes + written_bytes) // 32, 16 * MEBIBYTE))


class ParquetFiles:
    """Writes one stream of rows to as many files as it takes. Used by one thread.

    Args:
        folder: the table's folder; it exists, where folders do.
        new_name: gives a name that no file has.
        schema: of the rows; field metadata holds the ids.
        limits: sizes.
        keys: columns whose figures the log gets, wherever in the schema they stand.
    """

    def __init__(
        self,
        folder: Folder,
        new_name: Callable[[], str],
        schema: pa.Schema,
        limits: Limits | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._new_name = new_name
        self._schema = for_parquet(schema)
        self._limits = limits or Limits()
        self._told = {*schema.names[:MOST_COLUMNS], *keys}
        self._floats = [field.name for field in schema if t.is_floating(field.type)]
        self._keys = frozenset(keys)
        self._encoding: Encoding | None = None
        self._file: _OpenFile | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._waiting_rows = 0
        self._done: list[DataFile] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes rows in; whole row groups go to the disk.

        Raises:
            OSError: the disk did not take them.
        """
        for part in self._parts(batch):
            rows, size_bytes = self._waiting_rows + part.num_rows, self._waiting_bytes + part.nbytes
            if rows > self._limits.row_group_rows or size_bytes > self._limits.row_group_bytes:
                self._flush()
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            self._waiting_bytes += part.nbytes

    def finish(self) -> tuple[DataFile, ...]:
        """Writes what is left and makes all files durable. Protocol 6: file and folder."""
        self._flush()
        self._close_file()
        if self._done:
            self._folder.sync()
        return tuple(self._done)

    def abandon(self) -> None:
        """Deletes everything that was written."""
        if self._file is not None:
            self._file.abandon()
            self._file = None
        with suppress(AsgardError):  # what stays is swept
            self._folder.delete(*(file.path for file in self._done))
        self._done.clear()
        self._waiting.clear()

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch in parts of a row group at most."""
        fitting = self._limits.row_group_rows
        if batch.nbytes > self._limits.row_group_bytes:
            fitting = min(fitting, max(1, batch.num_rows * self._limits.row_group_bytes // batch.nbytes))
        for start in range(0, batch.num_rows, fitting):
            yield batch.slice(start, fitting)

    def _flush(self) -> None:
        if not self._waiting_rows:
            return
        rows = pa.Table.from_batches(self._waiting).cast(self._schema)
        self._waiting, self._waiting_bytes, self._waiting_rows = [], 0, 0
        if self._encoding is None:
            self._encoding = chosen(rows, self._keys)
        if self._file is None:
            self._file = _OpenFile(self._folder, self._new_name(), self._schema, self._encoding)
        self._file.write(rows, self._floats)
        written_bytes = sum(file.size_bytes for file in self._done)
        if self._file.size_bytes >= self._limits.next_file_bytes(written_bytes):
            self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            self._done.append(file.close(self._told))


class _OpenFile:
    def __init__(self, folder: Folder, name: str, schema: pa.Schema, encoding: Encoding) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._with_nan: set[str] = set()
        self._nulls = dict.fromkeys(encoding.unbounded, 0)
        self._sink = folder.create(name)
        try:
            self._writer = pq.ParquetWriter(
                self._sink,
                schema,
                store_schema=False,  # the canonical types need no second description
                **encoding.options,
            )
        except BaseException:
            self.abandon()
            raise

    @property
    def size_bytes(self) -> int:
        return int(self._sink.tell())

    def write(self, rows: pa.Table, floats: Iterable[str]) -> None:
        for name in floats:
            if name not in self._with_nan and pc.any(pc.is_nan(rows.column(name))).as_py():
                self._with_nan.add(name)
        for name in self._nulls:
            self._nulls[name] += rows.column(name).null_count
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))

    def close(self, told: Collection[str]) -> DataFile:
        self._writer.close()
        footer = self._writer.writer.metadata
        size_bytes = self.size_bytes
        self._folder.seal(self._sink)
        figures = FileStatistics(self._schema, self._with_nan, self._nulls)
        figures.add(footer.row_group(index) for index in range(footer.num_row_groups))
        return DataFile(self._name, figures.rows, size_bytes, figures.to_json(told))

    def abandon(self) -> None:
        with suppress(AsgardError):  # it is given up
            self._sink.close()
        with suppress(AsgardError):
            self._folder.delete(self._name)
