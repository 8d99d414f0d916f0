"""A secret appears nowhere but in the request that needs it (Promise 6): a canary in every place there is."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgard.app.config.data_block import load_data_block
from asgard.app.config.explain import explain
from asgard.app.config.json_schema import project_json_schema
from asgard.app.config.project import load_project
from asgard.core.errors import AsgardError, ConfigError
from tests.app.own_connectors import Folder

CANARY = "c4n4ry-p4ssw0rd-8f31"


@pytest.fixture(params=["environment", "dotenv", "file", "default", "literal"])
def secret(request: pytest.FixtureRequest, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> str:
    """The canary, as the project file may hold it."""
    if request.param == "environment":
        monkeypatch.setenv("CANARY", CANARY)
    elif request.param == "dotenv":
        folder.write(f"CANARY={CANARY}\n", ".env")
    elif request.param == "file":
        folder.write(CANARY + "\n", "canary.txt")
        return "${file:canary.txt}"
    elif request.param == "default":
        return f"${{NOT_SET_ANYWHERE:-{CANARY}}}"
    else:
        return CANARY
    return "${CANARY}"


def everything_told(action: Callable[[], Any]) -> str:
    """What an error says in every way that it can be shown."""
    with pytest.raises(AsgardError) as caught:
        action()
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    return "\n".join([str(error), repr(error), json.dumps(error.as_dict()), shown, repr(error.args)])


def test_a_project_that_is_right_shows_nothing(folder: Folder, secret: str) -> None:
    project = folder.load(f"""
data_sources:
  rowstore:
    connection: {{host: h, database: d, password: "{secret}"}}
    tables: [a]
  hub_api:
    auth: {{kind: bearer, token: "{secret}"}}
    defaults: {{headers: {{Authorization: "Bearer {secret}"}}}}
    endpoints: [{{name: a, path: /}}]
""")
    rowstore, hub_api = project.sources.values()
    assert rowstore.config.password.get_secret_value() == CANARY
    assert hub_api.config.auth.token.get_secret_value() == CANARY
    assert hub_api.tables[0].options.headers == {"Authorization": f"Bearer {CANARY}"}
    shown = [project, project.sources, rowstore, hub_api, rowstore.config, hub_api.config, hub_api.tables]
    for thing in shown:
        assert CANARY not in repr(thing)
        assert CANARY not in str(thing)
    for config in (rowstore.config, hub_api.config):
        assert CANARY not in config.model_dump_json()
    assert CANARY not in hub_api.tables[0].model_dump_json()


MISTAKEN = {
    "of another type": "rowstore: {{host: h, database: d, password: ['{0}']}}",
    "in a field with limits": "rowstore: {{host: h, database: d, port: '{0}'}}",
    "in a field with choices": "rowstore: {{host: h, database: d, ssl_mode: '{0}'}}",
    "in a validator's own words": "rowstore: {{host: h, database: d, username: 'x {0}'}}",
    "under an unknown key": "rowstore: {{host: h, database: d, pasword: '{0}'}}",
    "in a union": "hub_api: {{auth: {{kind: basic, user: u, password: {{x: '{0}'}}}}}}",
    "as the union's tag": "hub_api: {{auth: {{kind: '{0}', token: t}}}}",
    "in an AsgardError of a validator": "refusing: {{dsn: '{0}'}}",
    "in a size": "hub_api: {{rate_limit: '{0}'}}",
    "in a connector's free keys": "rowstore: {{host: h, database: d, headers: {{a: ['{0}']}}}}",
    "in a table's mode": "rowstore: {{host: h, database: d, tables: [{{name: a, mode: '{0}'}}]}}",
    "in a table's frequency": "rowstore: {{host: h, database: d, tables: [{{name: a, frequency: '{0}'}}]}}",
    "in a table's lag": "rowstore: {{host: h, database: d, tables: [{{name: a, cursor: b, mode: append,"
    " cursor_lag: '{0}'}}]}}",
    "in a table's name": "rowstore: {{host: h, database: d, tables: [{{name: '{0}'}}, {{name: '{0}'}}]}}",
    "in a check": "rowstore: {{host: h, database: d, tables: [{{name: a, checks: [{{'between': {{column: a,"
    " min: ['{0}']}}}}]}}]}}",
    "as the type": "hub_api: {{type: '{0}'}}",
    "as a list": "rowstore: {{host: h, database: d, tables: '{0}'}}",
}


@pytest.mark.parametrize("source", MISTAKEN.values(), ids=MISTAKEN)
@pytest.mark.parametrize("secret", ["environment", "dotenv", "file", "default"], indirect=True)
def test_a_mistake_shows_nothing(folder: Folder, secret: str, source: str) -> None:
    folder.write("data_sources: {" + source.format(secret) + "}")
    told = everything_told(lambda: load_project(folder.path))
    assert "asgard.yml:1:" in told
    assert CANARY not in told


@pytest.mark.parametrize("where", ["password", "token", "api_key"])
@pytest.mark.parametrize("secret", ["literal"], indirect=True)
def test_a_secret_that_stands_in_the_file_shows_nothing_either(
    folder: Folder, secret: str, where: str
) -> None:
    source = {
        "password": f"rowstore: {{host: h, database: d, password: [{secret}]}}",
        "token": f"hub_api: {{auth: {{kind: bearer, token: {{a: {secret}}}}}}}",
        "api_key": f"hub_api: {{api_key: [{secret}]}}",
    }[where]
    folder.write(f"data_sources: {{{source}}}")
    assert CANARY not in everything_told(lambda: load_project(folder.path))


def test_yaml_that_cannot_be_read_shows_nothing(folder: Folder) -> None:
    folder.write(f"a: {{password: {CANARY}\nb: [")
    assert CANARY not in everything_told(lambda: load_project(folder.path))


def test_a_line_of_dotenv_that_cannot_be_read_shows_nothing(folder: Folder) -> None:
    folder.write(f"CANARY='{CANARY}\n", ".env")
    folder.write("name: ${CANARY}\n")
    assert CANARY not in everything_told(lambda: load_project(folder.path))


KEYS = [
    "data_sources.rowstore.connection.password",
    "data_sources.rowstore.password",
    "data_sources.rowstore.connection",
    "data_sources.rowstore",
    "data_sources.rowstore.connection.headers.X",
    "data_sources.rowstore.connection.pasword",
    "data_sources.hub_api.auth",
    "data_sources.hub_api.auth.token",
    "data_sources.hub_api.defaults.headers",
    "data_sources.hub_api.endpoints.a.headers",
    "data_sources.nosuch.anything",
    "data_sources",
]


@pytest.mark.parametrize("key", KEYS)
def test_an_explanation_shows_nothing(folder: Folder, secret: str, key: str) -> None:
    text = f"""
data_sources:
  rowstore:
    connection: {{host: h, password: "{secret}", headers: {{X: "{secret}"}}, pasword: "{secret}"}}
  hub_api:
    auth: {{kind: bearer, token: "{secret}"}}
    defaults: {{headers: {{Authorization: "Bearer {secret}"}}}}
    endpoints: [{{name: a, path: /}}]
  nosuch: {{anything: "{secret}"}}
"""
    if secret == CANARY:  # a literal is known as a secret by its field or its key, not by itself
        text = text.replace("{X: ", "{X-Token: ").replace("anything:", "anything_secret:")
        key = key.replace("headers.X", "headers.X-Token").replace("anything", "anything_secret")
    folder.write(text)
    folder.write(f'data_sources: {{rowstore: {{connection: {{password: "{secret}"}}}}}}', "asgard.prod.yml")
    for env in (None, "prod"):
        explanation = explain(folder.path, key, env)
        assert CANARY not in str(explanation)
        assert CANARY not in repr(explanation)
        assert CANARY not in json.dumps(explanation.as_dict())
        assert "**********" in str(explanation)


def test_a_data_block_shows_nothing(folder: Folder, secret: str) -> None:
    text = f'data: {{type: rowstore, connection: {{host: h, database: d, password: "{secret}"}}, query: q}}'
    block = load_data_block(folder.write(text, "config.yml"))
    assert block.source.config.password.get_secret_value() == CANARY
    assert CANARY not in repr(block)
    folder.write(text.replace("database", "databse"), "config.yml")
    assert CANARY not in everything_told(lambda: load_data_block(folder.path / "config.yml"))


def test_the_schema_knows_nothing_of_values(folder: Folder, secret: str) -> None:
    folder.write(f'data_sources: {{rowstore: {{password: "{secret}"}}}}')
    assert CANARY not in json.dumps(project_json_schema())


def test_the_default_inside_of_a_reference_is_no_part_of_a_message(folder: Folder, tmp_path: Path) -> None:
    folder.write(f'name: "${{A B:-{CANARY}}}"\nworkspace: "${{vault:{CANARY}}}"\n')
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)
    assert CANARY not in str(caught.value)
