"""Data as a frame with one call: by connector type, by configuration, from a file.

Every function here makes a connector, loads and disconnects; `app.frames.source_connector` does the work.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from asgard.app.config.data_block import load_data_block
from asgard.app.frames.asked import Asked, given_in, of_block
from asgard.app.frames.connector import BaseConnector
from asgard.app.frames.frames import LAZY, from_arrow, to_arrow
from asgard.app.frames.source_connector import (
    WISHES,
    LoadWish,
    SourceConnector,
    get_connector_class,
    lazy_load,
)
from asgard.app.sources.written_source import WrittenSource
from asgard.core.errors import ConfigError

CONFIGURATION_SUFFIXES = (".yml", ".yaml")


def connect(connector_type: str, /, **config: Any) -> BaseConnector:
    """A connected connector; `with` disconnects it.

    Raises:
        AuthenticationError, Refused: credentials or permissions do not suffice.
        Unreachable: no answer.
        ConfigError: there is no such connector, or an option is wrong.
    """
    connector = _connector(connector_type, config)
    connector.connect()
    return connector


def load_from_connector(connector_type: str, config: Any, **kwargs: Any) -> Any:
    """Connects, loads, disconnects.

    Args:
        connector_type: `postgres`, `sqlite`, `files`, `rest`, an alias such as `csv`, or a registered one.
        config: the connector's options, flat or below `connection`; or a whole DataSourceConfig, as such or
            as a dictionary.
        kwargs: `query`, and what `SourceConnector.load_data` takes: table, backend, limit, target_column,
            cache_seconds, cache_bytes, partitions. A connector of the user's own gets what it may know
            besides. For `backend="dask"` and `"spark"` secrets are references, `${env:NAME}`, which are
            looked up where the rows are read.

    Raises:
        AsgardError: as for `connect` and `SourceConnector.load_data`.
    """
    lazy = kwargs.get("backend") or _named_backend(connector_type, config)
    if lazy in LAZY and not isinstance(config, Asked):
        source = WrittenSource.of_options({**given_in(config), "type": connector_type})
        return _lazily(lazy, source, kwargs)
    connector = _connector(connector_type, config)
    with connector:
        return (
            connector.load_data(**kwargs)
            if isinstance(connector, SourceConnector)
            else _own(connector, kwargs)
        )


def load_data(source_config: Any, **kwargs: Any) -> Any:
    """Loads what a configuration names.

    Args:
        source_config: a DataSourceConfig, the same as a dictionary; the path of a YAML file with a `data:`
            block, in which `${...}` is resolved; or the path of a data file.
        kwargs: as for `load_from_connector`.

    Raises:
        ConfigError: the configuration has mistakes; all are told.
        AsgardError: as for `load_from_connector`.
    """
    if isinstance(source_config, str | PathLike):
        path = Path(source_config)
        if path.suffix.lower() not in CONFIGURATION_SUFFIXES:
            return _load_file("files", path, kwargs)
        asked = of_block(load_data_block(path))
        lazy = kwargs.get("backend") or asked.backend
        if lazy in LAZY:
            return _lazily(lazy, WrittenSource.of_file(path), kwargs)
        return load_from_connector(asked.spec.type, asked, **kwargs)
    given = given_in(source_config)
    if "type" not in given:
        raise ConfigError(
            "the configuration has no type", hint="type: postgres, sqlite, csv, excel, api, ..."
        )
    return load_from_connector(given["type"], given, **kwargs)


def load_csv(path: str | PathLike[str], **kwargs: Any) -> Any:
    """A CSV file, packed or not, as a frame.

    Args:
        kwargs: options of the connector `files` (delimiter, ...), and what `load_from_connector` takes.
    """
    return _load_file("csv", path, kwargs)


def load_excel(path: str | PathLike[str], **kwargs: Any) -> Any:
    """A sheet of an Excel file as a frame.

    Args:
        kwargs: options of the connector `files` (sheet, ...), and what `load_from_connector` takes.
    """
    return _load_file("excel", path, kwargs)


def _load_file(file_type: str, path: str | PathLike[str], kwargs: dict[str, Any]) -> Any:
    wishes = {name: kwargs.pop(name) for name in WISHES if name in kwargs}
    return load_from_connector(file_type, {"source": str(Path(path)), **kwargs}, **wishes)


def _connector(connector_type: str, config: Any) -> BaseConnector:
    kind = get_connector_class(connector_type)
    if issubclass(kind, SourceConnector):
        return kind(config if isinstance(config, Asked) else {**given_in(config), "type": connector_type})
    return kind(config.spec.config.model_extra if isinstance(config, Asked) else given_in(config))


def _named_backend(connector_type: str, config: Any) -> str | None:
    """The backend that a configuration names; a user's own connector may mean something else by the word."""
    if isinstance(config, Asked) or not issubclass(get_connector_class(connector_type), SourceConnector):
        return None
    named: str | None = given_in(config).get("backend")
    return named


def _lazily(library: str, source: WrittenSource, arguments: dict[str, Any]) -> Any:
    query = arguments.pop("query", None)
    return lazy_load(library, source, query, LoadWish.of(arguments))


def _own(connector: BaseConnector, arguments: dict[str, Any]) -> Any:
    """A load of a user's own connector, whose frame is only changed when that is wished."""
    backend = arguments.pop("backend", None)
    frame = connector.load_data(**arguments)
    return frame if backend is None else from_arrow(to_arrow(frame, type(connector).__name__), backend)
