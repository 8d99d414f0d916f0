"""The configuration of a source or a sink in the words of Airbyte's connectors.

What has `sourceType` or `destinationType` is in those words already. So is everything of connectors that are
not named here. PostgreSQL, MySQL, MongoDB and S3 may be in Asgard's own words.

Reference: the connectors' specifications, as the models of Airbyte's Python SDK 1.0.1 have them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asgard.core.errors import ConfigError
from asgard.core.registry import canonical_name
from asgard.core.secret import Secret, reveal

Words = dict[str, Any]

RENAMED: dict[str, dict[str, str]] = {
    "postgres": {"user": "username", "schema": "schemas"},
    "mysql": {"user": "username"},
    "mongodb": {"user": "username", "connection_uri": "connection_string", "uri": "connection_string"},
    "s3": {
        "bucket_name": "s3_bucket_name",
        "bucket": "s3_bucket_name",
        "bucket_path": "s3_bucket_path",
        "path": "s3_bucket_path",
        "region": "s3_bucket_region",
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "endpoint_url": "s3_endpoint",
    },
}
"""By connector: Asgard's name of an option to Airbyte's."""


SYNC_MODES = {
    ("replace", False): "full_refresh_overwrite",
    ("append", False): "full_refresh_append",
    ("append", True): "incremental_append",
    ("merge", True): "incremental_deduped_history",
}
"""Asgard's mode of loading, and whether there is a cursor, to Airbyte's."""


def source_words(source_type: str, config: Mapping[str, Any]) -> Words:
    """The configuration of a source, with its `sourceType`.

    Args:
        source_type: as Asgard or Airbyte calls the connector.
        config: secrets may be of type `Secret`.

    Raises:
        ConfigError: an option is given twice, is missing, or is nothing that JSON has.
    """
    return _words(
        source_type, config, "sourceType", {"postgres": _postgres, "mysql": _mysql, "mongodb": _mongodb}
    )


def sink_words(sink_type: str, config: Mapping[str, Any]) -> Words:
    """The configuration of a sink, with its `destinationType`.

    Raises:
        ConfigError: an option is given twice, is missing, or is nothing that JSON has.
    """
    return _words(sink_type, config, "destinationType", {"s3": _s3})


def stream_words(entry: Mapping[str, Any]) -> Words:
    """One stream of a connection: `name`, and `mode`, `primary_key`, `cursor` as asgard.yml has them.

    What is in Airbyte's own words already stays.

    Raises:
        ConfigError: a mode that Airbyte has not, or another key of ours.
    """
    if {"syncMode", "cursorField", "primaryKey"} & set(entry):
        return dict(entry)
    where = {"table": str(entry.get("name"))}
    if strange := set(entry) - {"name", "mode", "primary_key", "cursor"}:
        raise ConfigError(
            f"Airbyte's streams have no {', '.join(sorted(strange))}",
            hint="unset AIRBYTE_BASE_URL to load with Asgard's own connectors",
            where=where,
        )
    words: Words = {"name": entry.get("name")}
    cursor, keys = entry.get("cursor"), entry.get("primary_key") or []
    if (mode := entry.get("mode")) is not None:
        if (mode, cursor is not None) not in SYNC_MODES:
            raise ConfigError(f"Airbyte has no mode {mode!r} {'with' if cursor else 'without'} a cursor",
                              hint="replace, append, or merge with a cursor", where=where)  # fmt: skip
        words["syncMode"] = SYNC_MODES[mode, cursor is not None]
    if cursor is not None:
        words["cursorField"] = [cursor]
    if keys:
        words["primaryKey"] = [[key] for key in ([keys] if isinstance(keys, str) else keys)]
    return words


def _words(
    type_name: str, config: Mapping[str, Any], type_key: str, known: Mapping[str, Callable[[Words], Words]]
) -> Words:
    plain: Words = _plain(config, type_name)
    if type_key in plain:
        return plain
    name = canonical_name(type_name)
    if name not in known:
        return {type_key: type_name, **plain}
    renamed: Words = {}
    for key, value in plain.items():
        if value is None:
            continue
        word = RENAMED[name].get(key, key)
        if word in renamed:
            raise ConfigError(f"{word} is given twice, once as {key}", where={"type": type_name})
        renamed[word] = value
    return {type_key: name, **known[name](renamed)}


def _plain(value: Any, where: str) -> Any:
    """The value as JSON has it, secrets in clear."""
    if isinstance(value, Secret):
        return reveal(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, where) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ConfigError(f"{where} is a {type(value).__name__}, which Airbyte's JSON cannot hold")


def _postgres(words: Words) -> Words:
    if isinstance(words.get("schemas"), str):
        words["schemas"] = [words["schemas"]]
    return {"port": 5432, **_with_mode(words, "-")}


def _mysql(words: Words) -> Words:
    return {"port": 3306, "replication_method": {"method": "STANDARD"}, **_with_mode(words, "_")}


def _with_mode(words: Words, between: str) -> Words:
    """A mode of TLS that is one word, as the connector spells it."""
    mode = words.get("ssl_mode")
    if not isinstance(mode, str):
        return words
    return {**words, "ssl_mode": {"mode": mode.lower().replace("_", "-").replace("-", between)}}


def _mongodb(words: Words) -> Words:
    own = {key: words.pop(key) for key in list(words) if key not in _OF_CLUSTER}
    if "database_config" not in own:
        database = words.pop("database", None)
        cluster = {"databases": [database] if isinstance(database, str) else database, **words}
        host, port = cluster.pop("host", None), cluster.pop("port", 27017)
        if host is not None:
            cluster.setdefault("connection_string", f"mongodb://{host}:{port}/")
        if not cluster.get("databases") or "connection_string" not in cluster:
            raise ConfigError(
                "a MongoDB source needs its database, and host or connection_string",
                where={"type": "mongodb"},
            )
        own["database_config"] = {"cluster_type": "SELF_MANAGED_REPLICA_SET", **cluster}
    return {"sourceType": "mongodb-v2", **own}


_OF_CLUSTER = (
    "host", "port", "database", "databases", "connection_string", "username", "password", "auth_source",
    "cluster_type", "schema_enforced",
)  # fmt: skip


def _s3(words: Words) -> Words:
    if "s3_bucket_name" not in words:
        raise ConfigError("an S3 sink needs s3_bucket_name", where={"type": "s3"})
    return {
        "s3_bucket_path": "bronze",
        "s3_bucket_region": "",
        "format": {"format_type": "Parquet"},
        **words,
    }
