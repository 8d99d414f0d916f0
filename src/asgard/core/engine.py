"""The socket of a SQL engine: tables are attached, SQL goes in, Arrow comes out."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa

from asgard.core.table import Mount, TableName


class Engine(Protocol):
    """Runs SELECT statements over attached mounts.

    Attributes:
        dialect: the sqlglot name of its SQL.
    """

    dialect: str

    def attach(self, name: TableName | str, mount: Mount) -> None:
        """Makes the mount readable as `layer.source.name`, `layer.name`, or under a plain name; attaching a
        name again replaces it."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Runs one SELECT and streams its rows. The reader must be read or closed before the next query.

        Raises:
            QueryError: the statement is wrong; carries the engine's message and place.
            OutOfSpace: neither memory nor the spill folder sufficed.
        """
        ...

    def interrupt(self) -> None:
        """Breaks the running query off, from any thread; it raises Cancelled. Nothing when none runs."""
        ...

    def close(self) -> None:
        """Gives memory and spill files back."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
