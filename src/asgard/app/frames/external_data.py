"""Sources of a configuration as frames, one call for each: what scripts around Redshift and HubSpot call.

A configuration is a dictionary with `data_sources`, as `load_config` reads it. Frames are pandas, or of the
Spark session that is given. Pipelines with positions and a lake are `asgard run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from asgard.app.checks.contracts import contract
from asgard.app.config.mistakes import Mistakes, near
from asgard.app.config.project_file import TABLE_LISTS, find_project
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.yaml_text import Node, read_yaml
from asgard.app.frames.checker import audited
from asgard.app.frames.frames import from_arrow
from asgard.app.frames.source_connector import SourceConnector, get_connector_class
from asgard.core.check import CheckResult
from asgard.core.errors import AsgardError, ConfigError

DEFAULT_FILES = ("config/default.yaml", "config/default.yml")
SOURCES = "data_sources"
_OPEN = re.compile(r"\$\{([^}]*)\}")


def load_config(path: str | Path | None = None) -> dict[str, Any]:
    """The configuration as plain values, references such as ${HUBSPOT_API_KEY} replaced.

    A reference that has no value stays as it is written: who needs it says so then.

    Args:
        path: the file; by default config/default.yaml, or else asgard.yml in this folder or above.

    Raises:
        ConfigError: there is no such file, or it is no YAML.
    """
    found = [Path(name) for name in DEFAULT_FILES if Path(name).is_file()] if path is None else [Path(path)]
    file = found[0] if found else find_project(Path())
    mistakes = Mistakes()
    tree = read_yaml(file, file.name, mistakes)
    mistakes.raise_if_any()
    assert tree is not None
    if not isinstance(tree.value, dict):
        raise ConfigError(f"{file} has no keys with values", hint="it begins with data_sources:")
    resolved = resolve_tree(tree, References(file.absolute().parent), Mistakes())
    return {key: _value(tree.value[key], child) for key, child in resolved.value.items()}


def _value(written: Node, resolved: Node) -> Any:
    """The plain value; as it is written where a reference in it has none."""
    if isinstance(resolved.value, dict):
        return {key: _value(written.value[key], child) for key, child in resolved.value.items()}
    if isinstance(resolved.value, list):
        return [_value(*pair) for pair in zip(written.value, resolved.value, strict=True)]
    return written.value if resolved.unresolved else resolved.value


def connector_of(config: Mapping[str, Any], source: str) -> SourceConnector:
    """The connector of a source, not yet connected.

    Raises:
        ConfigError: the configuration has no such source, a reference in it has no value, or an option is
            wrong.
    """
    sources = config.get(SOURCES) or {}
    if source not in sources:
        raise ConfigError(
            f"the configuration has no {SOURCES}.{source}",
            hint=near(source, sources) or f"there are: {', '.join(sources) or 'none'}",
        )
    given = dict(sources[source])
    for key, value in given.items():
        if isinstance(value, str) and (unset := _OPEN.search(value)):
            raise ConfigError(
                f"{SOURCES}.{source}.{key}: {unset[1]} is not set", hint=f"export {unset[1]}=..."
            )
    kind = given.pop("type", source)
    connector = get_connector_class(kind)(given)
    if not isinstance(connector, SourceConnector):
        raise ConfigError(f"{kind} is a connector of one's own", hint="call its load_data")
    return connector


def extracted(spark: Any, config: Mapping[str, Any], source: str, table: str) -> Any:
    """All rows of one table: a DataFrame of the Spark session, of pandas where that is None.

    Raises:
        AsgardError: as `SourceConnector.load_data`.
    """
    with connector_of(config, source) as connector:
        return as_frame(connector.load_data(table=table, backend="arrow"), spark)


def as_frame(table: pa.Table, spark: Any = None) -> Any:
    """The rows as a DataFrame of the Spark session; without one, of pandas where that is installed."""
    if spark is None:
        return from_arrow(table)
    # By Python's own values: decimals and instants keep every digit, and no column is guessed.
    return spark.createDataFrame(table.to_pylist(), schema=_spark_schema(table.schema))


def tables_of(config: Mapping[str, Any], source: str) -> list[str]:
    """The tables that the configuration names of a source."""
    given = (config.get(SOURCES) or {}).get(source) or {}
    entries = [entry for key in TABLE_LISTS for entry in given.get(key) or ()]
    return [entry["name"] if isinstance(entry, Mapping) else str(entry) for entry in entries]


def checked(config: Mapping[str, Any], source: str) -> Iterator[tuple[str, list[CheckResult] | AsgardError]]:
    """Each table of a source that has a contract, and the answers to its checks; the error where it could
    not be read."""
    kind = str(((config.get(SOURCES) or {}).get(source) or {}).get("type", source))
    checks = contract(kind)
    wanted = [table for table in tables_of(config, source) if table in checks]
    try:
        with connector_of(config, source) as connector:
            for table in wanted:
                try:
                    rows = connector.load_data(table=table, backend="arrow")
                    yield table, list(audited(rows, list(checks[table])).results)
                except AsgardError as error:
                    yield table, error
    except AsgardError as error:
        for table in wanted:
            yield table, error


def _spark_schema(schema: pa.Schema) -> str:
    """The columns in Spark's own words."""
    return ", ".join(f"`{field.name.replace('`', '``')}` {_spark_type(field.type)}" for field in schema)


def _spark_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    words = {
        pa.bool_(): "boolean", pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int",
        pa.int64(): "bigint", pa.float32(): "float", pa.float64(): "double", pa.date32(): "date",
        pa.binary(): "binary", pa.null(): "string", pa.string(): "string",
    }  # fmt: skip
    if kind not in words:
        raise ConfigError(f"{kind} has no type in Spark here", hint="load it with `columns: {...: text}`")
    return words[kind]
