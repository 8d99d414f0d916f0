"""A SQLite file that a test writes to and reads through the connector."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from asgard.connectors.sqlite import SqliteConfig, SqliteSource
from asgard.core.cancel import Cancel
from asgard.core.source import ReadSettings
from tests.connectors.reading import Loaded, load


class Database:
    """A database file that a test writes to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.connection = sqlite3.connect(file, isolation_level=None)

    def run(self, sql: str, *values: Any) -> list[Any]:
        if values or ";" not in sql:
            return self.connection.execute(sql, values).fetchall()
        self.connection.executescript(sql)
        return []

    def source(self, cancel: Cancel | None = None, batch_bytes: int = 1 << 20, **config: Any) -> SqliteSource:
        options = SqliteConfig.model_validate({"database": str(self.file), **config})
        return SqliteSource(options, "tried", ReadSettings(batch_bytes, cancel or Cancel()))

    def load(self, name: str, options: dict[str, Any] | None = None, **how: Any) -> Loaded:
        source = self.source()
        try:
            return load(source, name, options, **how)
        finally:
            source.close()
