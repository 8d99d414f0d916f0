"""The JSON Schema of the project file: valid itself, and of one mind with the reader."""

# ruff: noqa: E501 - a file is a line here

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from asgard.app.config.json_schema import project_json_schema
from asgard.app.config.project import load_project
from asgard.app.config.source_reading import SOURCE_KEYS, source_class
from asgard.app.config.table_reading import TABLE_KEYS
from asgard.app.config.validation import keys_of
from asgard.core import registry
from asgard.core.errors import ConfigError
from tests.app.own_connectors import Folder

OWN = registry.connector_names()
EXAMPLES = [
    pytest.param(name, example, id=f"{name}: {example.title}")
    for name in OWN
    for example in source_class(name).examples
]


@pytest.fixture
def validator(folder: Folder) -> Draft202012Validator:
    """Over the connectors of the package and those of these tests."""
    return Draft202012Validator(project_json_schema())


def refused(validator: Draft202012Validator, text: str) -> list[str]:
    return sorted(error.json_path for error in validator.iter_errors(yaml.safe_load(text)))


def test_it_is_a_schema(validator: Draft202012Validator) -> None:
    Draft202012Validator.check_schema(validator.schema)
    text = json.dumps(validator.schema)
    assert set(_references(validator.schema)) <= {f"#/$defs/{name}" for name in validator.schema["$defs"]}
    assert json.loads(text)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for inner in schema for found in _references(inner)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [found for inner in schema.values() for found in _references(inner)]


GOOD = [
    "version: 1",
    "name: shop\nworkspace: a\nlake: {format: delta, location: x}\nmemory: 512MB\nparallel: 2\nstate: s\nmodels: m",
    "lake: {format: iceberg}",
    "lake: {format: iceberg, catalog: {type: rest, uri: 'https://c/x', credential: '${C:-a:b}', headers: {A: b}}}",
    "memory: ${M:-1GB}\nparallel: ${N:-1}\nlake: {location: ${HOME}}",
    "data_sources: {rowstore: {host: h, database: d}}",
    "data_sources: {rowstore: {host: h, connection: {dbname: d}, tables: [a, {name: b, mode: merge}]}}",
    "data_sources: {w: {type: rowstore, host: 5, database: d, port: '${P:-5}', connection_timeout: 5}}",
    "data_sources: {w: {type: rowstore, host: h, database: d, schedule: 15m, defaults: {mode: append, batch_rows: 5}}}",
    "data_sources: {hub_api: {auth: {kind: bearer, token: t}, endpoints: [{name: a, path: /, frequency: hourly}]}}",
    "data_sources: {rowstore: {host: h, database: d, tables: [{name: a, as: b, primary_key: id, cursor: c,"
    " cursor_lag: 5m, checks: [{not_null: id}, {between: {column: a, min: 0}, severity: warning}], columns: {a: x}}]}}",
    "data_sources: {rowstore: {host: h, database: d, tables: [{name: a, primary_key: [a, b], frequency: '0 5 * * *',"
    " exclude: [], enabled: true, target_column: y, query: SELECT 1, description: d, source: s}]}}",
]
BAD = [
    ("versoin: 1", "$"),
    ("parallel: many", "$.parallel"),
    ("parallel: 65", "$.parallel"),
    ("memory: 5 apples", "$.memory"),
    ("lake: {format: parquet}", "$.lake.format"),
    ("lake: {format: iceberg, catalog: {type: glue}}", "$.lake.catalog"),
    ("lake: {format: iceberg, catalog: {typ: rest}}", "$.lake.catalog"),
    ("lake: {format: iceberg, catalog: {type: rest, uri: tcp://c}}", "$.lake.catalog"),
    ("lake: {zone: x}", "$.lake"),
    ("workspace: a b", "$.workspace"),
    ("data_sources: {rowstore: {host: h}}", "$.data_sources.rowstore"),
    ("data_sources: {rowstore: {host: h, database: d, prt: 5}}", "$.data_sources.rowstore"),
    ("data_sources: {rowstore: {host: h, database: d, port: x}}", "$.data_sources.rowstore.port"),
    ("data_sources: {rowstore: {host: h, database: d, ssl_mode: x}}", "$.data_sources.rowstore.ssl_mode"),
    ("data_sources: {rowstore: {connection: {host: h, database: d, prt: 5}}}", "$.data_sources.rowstore.connection"),
    ("data_sources: {w: {host: h}}", "$.data_sources.w"),
    ("data_sources: {w: {type: nosuch}}", "$.data_sources.w.type"),
    ("data_sources: {9w: {type: hub_api}}", "$.data_sources"),
    ("data_sources: {hub_api: {auth: {kind: bearer, tokn: t}}}", "$.data_sources.hub_api.auth"),
    ("data_sources: {hub_api: {endpoints: {name: a}}}", "$.data_sources.hub_api.endpoints"),
    ("data_sources: {hub_api: {endpoints: [{path: /}]}}", "$.data_sources.hub_api.endpoints[0]"),
    ("data_sources: {hub_api: {endpoints: [{name: a, path: /, mode: merges}]}}",
     "$.data_sources.hub_api.endpoints[0].mode"),
    ("data_sources: {hub_api: {endpoints: [{name: a, path: /, frequency: now}]}}",
     "$.data_sources.hub_api.endpoints[0].frequency"),
    ("data_sources: {hub_api: {endpoints: [{name: a, path: /, checks: [{not_nul: a}]}]}}",
     "$.data_sources.hub_api.endpoints[0].checks[0]"),
    ("data_sources: {hub_api: {endpoints: [{name: a, path: /, colums: a}]}}",
     "$.data_sources.hub_api.endpoints[0]"),
    ("data_sources: {hub_api: {defaults: {name: a}}}", "$.data_sources.hub_api.defaults"),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_right_for_both(folder: Folder, validator: Draft202012Validator, text: str) -> None:
    assert refused(validator, text.replace("${HOME}", "'${HOME}'")) == []
    folder.load(text.replace("${HOME}", "'${HOME}'"))


@pytest.mark.parametrize(("text", "path"), BAD)
def test_what_is_wrong_is_wrong_for_both(
    folder: Folder, validator: Draft202012Validator, text: str, path: str
) -> None:
    assert path in refused(validator, text)
    with pytest.raises(ConfigError):
        folder.load(text)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_the_examples_of_every_connector(
    folder: Folder, name: str, example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered", {})  # the connectors' own, not those of these tests
    text = yaml.safe_dump({"data_sources": {"example": dict(example.config)}}, sort_keys=False)
    for variable in _variables(text):
        monkeypatch.setenv(variable, "1")
    folder.write(text)
    project = load_project(folder.path)
    assert project.sources["example"].type == name
    assert refused(Draft202012Validator(project_json_schema()), text) == []


def _variables(text: str) -> list[str]:
    return [part.partition("}")[0].partition(":")[0] for part in text.split("${")[1:]]


@pytest.mark.parametrize("name", OWN)
def test_no_connector_has_keys_that_mean_something_else_to_every_source(name: str) -> None:
    connector = source_class(name)
    assert set(keys_of(connector.Config)) & set(SOURCE_KEYS) - {"connection"} == set()
    assert set(keys_of(connector.StreamOptions)) & set(TABLE_KEYS) == set()


def test_a_connector_whose_driver_is_missing_takes_anything(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> object:
        raise ModuleNotFoundError("No module named 'driver'")

    monkeypatch.setattr(registry, "connector_class", fail)
    validator = Draft202012Validator(project_json_schema())
    assert refused(validator, "data_sources: {rowstore: {whatever: 1}}") == []
    assert refused(validator, "data_sources: {w: {type: nosuch}}") != []
