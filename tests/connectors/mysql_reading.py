"""What the tests of the MySQL connector share: a source on a test server, and whole loads."""

from __future__ import annotations

from typing import Any

from asgard.connectors.mysql import MysqlConfig, MysqlSource, MysqlStreamOptions
from asgard.core.source import ReadSettings
from tests.connectors.harness_mysql import config_of
from tests.connectors.postgres_reading import Load, half_done, load, read_plan, read_split, select, without
from tests.servers.mysql import KINDS, MysqlServer, shared_mysql

__all__ = [
    "KINDS", "Load", "MysqlServer", "half_done", "load", "options", "read_plan", "read_split", "select",
    "shared_mysql", "source_of", "without",
]  # fmt: skip


def source_of(
    server: MysqlServer, database: str, settings: ReadSettings | None = None, **given: Any
) -> MysqlSource:
    """A source that signs in as the server's almighty user, verified in full."""
    return MysqlSource(MysqlConfig(**{**config_of(server, database), **given}), "shop", settings)


def options(**given: Any) -> MysqlStreamOptions:
    return MysqlStreamOptions(**given)
