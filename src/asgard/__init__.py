"""Asgard moves data into an open lakehouse, proves that it is right, and turns it into tables for people.

Everything here is imported when it is first used: `import asgard` loads nothing heavy.

>>> import asgard
>>> asgard.get_connector_class("csv").__name__
'FileConnector'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgard.app.config.data_block import (
        APIConnection,
        CloudConnection,
        DatabaseConnection,
        DataSourceConfig,
    )
    from asgard.app.frames.api_connector import APIConnector
    from asgard.app.frames.checker import DataQualityChecker
    from asgard.app.frames.connector import BaseConnector, register_connector
    from asgard.app.frames.listening import listen
    from asgard.app.frames.loading import connect, load_csv, load_data, load_excel, load_from_connector
    from asgard.app.frames.opened_project import Project
    from asgard.app.frames.source_connector import (
        AzureBlobConnector,
        FileConnector,
        GCSConnector,
        GenericAPIConnector,
        KafkaConnector,
        MongoDBConnector,
        MySQLConnector,
        PostgreSQLConnector,
        RedshiftConnector,
        S3Connector,
        SourceConnector,
        SQLiteConnector,
        get_connector_class,
    )
    from asgard.core.errors import (
        AsgardError,
        AuthenticationError,
        Bug,
        Cancelled,
        ConfigError,
        Conflict,
        ConnectionError,
        DataError,
        OutOfSpace,
        PositionLost,
        QueryError,
        Refused,
        SchemaChanged,
        Unreachable,
        ValidationError,
    )
    from asgard.core.events import Event

_ERRORS = (
    "AsgardError AuthenticationError Bug Cancelled ConfigError Conflict ConnectionError DataError OutOfSpace "
    "PositionLost QueryError Refused SchemaChanged Unreachable ValidationError"
)
_CONNECTORS = (
    "AzureBlobConnector FileConnector GCSConnector GenericAPIConnector KafkaConnector MongoDBConnector "
    "MySQLConnector PostgreSQLConnector RedshiftConnector S3Connector SQLiteConnector SourceConnector "
    "get_connector_class"
)
_NAMES = {
    "app.frames.api_connector": "APIConnector",
    "app.frames.checker": "DataQualityChecker",
    "app.frames.connector": "BaseConnector register_connector",
    "app.config.data_block": "APIConnection CloudConnection DataSourceConfig DatabaseConnection",
    "app.frames.listening": "listen",
    "app.frames.loading": "connect load_csv load_data load_excel load_from_connector",
    "app.frames.opened_project": "Project",
    "app.frames.source_connector": _CONNECTORS,
    "core.errors": _ERRORS,
    "core.events": "Event",
}
_HOMES = {name: f"asgard.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = [
    "APIConnection",
    "APIConnector",
    "AsgardError",
    "AuthenticationError",
    "AzureBlobConnector",
    "BaseConnector",
    "Bug",
    "Cancelled",
    "CloudConnection",
    "ConfigError",
    "Conflict",
    "ConnectionError",
    "DataError",
    "DataQualityChecker",
    "DataSourceConfig",
    "DatabaseConnection",
    "Event",
    "FileConnector",
    "GCSConnector",
    "GenericAPIConnector",
    "KafkaConnector",
    "MongoDBConnector",
    "MySQLConnector",
    "OutOfSpace",
    "PositionLost",
    "PostgreSQLConnector",
    "Project",
    "QueryError",
    "RedshiftConnector",
    "Refused",
    "S3Connector",
    "SQLiteConnector",
    "SchemaChanged",
    "SourceConnector",
    "Unreachable",
    "ValidationError",
    "connect",
    "get_connector_class",
    "listen",
    "load_csv",
    "load_data",
    "load_excel",
    "load_from_connector",
    "register_connector",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'asgard' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
