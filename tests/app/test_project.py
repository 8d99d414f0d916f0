"""The project file: what it means."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pydantic import ConfigDict

from asgard.app.config.project import load_project
from asgard.core import registry
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from tests.app.own_connectors import Folder, Hub, HubOptions, Warehouse, WarehouseOptions

WAREHOUSE = "connection: {host: h, database: d}"


def test_the_least_file(folder: Folder) -> None:
    project = folder.load("version: 1\n")
    assert project.file == folder.path / "asgard.yml"
    assert (project.name, project.workspace, project.environment) == (folder.path.name, "default", None)
    assert (project.lake.format, project.lake.location) == ("delta", "data/lakehouse")
    assert project.models_folder == folder.path / "models"
    assert project.state_folder == folder.path / ".asgard"
    assert project.memory_bytes == 1_000_000_000
    assert project.parallel == min(os.cpu_count() or 1, 4)
    assert project.sources == {}


def test_every_key_at_the_top(folder: Folder) -> None:
    project = folder.load(
        "name: shop\nworkspace: team-a\nlake: {location: lake}\nmodels: sql\nstate: /tmp/x\nmemory: 512MB\n"
        "parallel: 3\ndata_sources:\n"
    )
    assert (project.name, project.workspace, project.lake.location) == ("shop", "team-a", "lake")
    assert (project.models_folder, project.state_folder) == (folder.path / "sql", Path("/tmp/x"))
    assert (project.memory_bytes, project.parallel) == (512_000_000, 3)


def test_what_a_call_says_goes_before_the_file(folder: Folder) -> None:
    project = folder.load("memory: 512MB\nparallel: 3\n", memory="1GiB", parallel=2)
    assert (project.memory_bytes, project.parallel) == (1 << 30, 2)
    with pytest.raises(ConfigError, match="parallel: is 0, must be at least 1"):
        load_project(folder.path, parallel=0)


USERS_OWN = """
data_sources:
  rowstore:
    host: "${CLUSTER:-examplecluster}"
    database: dev
    port: "5439"
    username: ann
    password: "s3cret"
    tables:
      - name: "marketing_campaigns"
        source: "google_ads_api"
        frequency: "hourly"
      - name: "customer_behavior"
        source: "amplitude_events"
        frequency: "real-time"
  hub_api:
    base_url: "https://hub.example"
    api_key: abc
    rate_limit: 100
    endpoints:
      - name: "contacts"
        path: "/crm/v3/objects/contacts"
        frequency: "hourly"
"""


def test_a_source_whose_name_is_a_connector_needs_no_type(folder: Folder) -> None:
    project = folder.load(USERS_OWN)
    rowstore, hub_api = project.sources.values()
    assert (rowstore.type, rowstore.connector_class) == ("rowstore", Warehouse)
    assert (rowstore.config.host, rowstore.config.port) == ("examplecluster", 5439)
    assert rowstore.config.password.get_secret_value() == "s3cret"
    assert [(t.name, t.source, t.frequency, t.mode) for t in rowstore.tables] == [
        ("marketing_campaigns", "google_ads_api", "hourly", Mode.REPLACE),
        ("customer_behavior", "amplitude_events", "real-time", Mode.REPLACE),
    ]
    assert (hub_api.connector_class, hub_api.config.rate_limit) == (Hub, 100)
    assert hub_api.tables[0].options == HubOptions(path="/crm/v3/objects/contacts")
    assert hub_api.tables[0].origin == "asgard.yml:21:9"


def test_connection_groups_a_connectors_own_keys(folder: Folder) -> None:
    grouped, plain = folder.load(
        "data_sources:\n"
        "  a: {type: rowstore, connection: {host: h, dbname: d, connection_timeout: 5}}\n"
        "  b: {type: rowstore, host: h, database: d, timeout_seconds: 5}\n"
    ).sources.values()
    assert grouped.config == plain.config
    assert grouped.config.timeout_seconds == 5


def test_defaults_are_for_tables_that_do_not_say_it_themselves(folder: Folder) -> None:
    project = folder.load(f"""
data_sources:
  shop:
    type: rowstore
    {WAREHOUSE}
    frequency: daily
    defaults: {{mode: append, batch_rows: 5, checks: [{{not_null: id}}]}}
    tables:
      - orders
      - {{name: items, mode: replace, batch_rows: 7, frequency: 15m, checks: []}}
      - {{name: people, mode: null, primary_key: id, cursor: day}}
""")
    orders, items, people = project.sources["shop"].tables
    assert (orders.mode, orders.frequency, orders.options) == (
        Mode.APPEND,
        "daily",
        WarehouseOptions(batch_rows=5),
    )
    assert [check.name for spec in orders.checks for check in spec.checks()] == ["not_null(id)"]
    assert (items.mode, items.frequency, items.options.batch_rows, items.checks) == (
        Mode.REPLACE,
        "15m",
        7,
        (),
    )
    assert people.mode is Mode.MERGE


@pytest.mark.parametrize(
    ("entry", "mode"),
    [
        ("{name: a}", Mode.REPLACE),
        ("{name: a, primary_key: id}", Mode.REPLACE),
        ("{name: a, primary_key: id, cursor: day}", Mode.MERGE),
        ("{name: a, primary_key: id, cursor: day, mode: append}", Mode.APPEND),
        ("{name: a, cursor: day, mode: replace}", Mode.REPLACE),
        ("{name: a, mode: merge}", Mode.MERGE),  # who takes queries knows its keys
    ],
)
def test_the_mode_that_is_meant(folder: Folder, entry: str, mode: Mode) -> None:
    project = folder.load(f"data_sources: {{rowstore: {{{WAREHOUSE}, tables: [{entry}]}}}}")
    assert project.sources["rowstore"].tables[0].mode is mode


def test_tables_as_people_write_them(folder: Folder) -> None:
    project = folder.load(f"""
data_sources:
  rowstore:
    {WAREHOUSE}
    tables:
      - {{name: orders, as: bought, primary_key: [a, b], cursor: day, cursor_lag: 5m, allow_missing: yes}}
      - {{name: "public.*", exclude: ["*_tmp", x], enabled: no}}
      - {{name: counted, query: "SELECT count(*) AS n FROM t", target_column: n}}
      - {{name: numbers, cursor: id, mode: append, cursor_lag: 1000, columns: {{a: text}}}}
""")
    orders, pattern, counted, numbers = project.sources["rowstore"].tables
    assert (orders.table, orders.primary_key, orders.cursor_lag, orders.allow_missing) == (
        "bought", ("a", "b"), 300.0, True,
    )  # fmt: skip
    assert (pattern.is_pattern, pattern.exclude, pattern.enabled) == (True, ("*_tmp", "x"), False)
    assert (counted.is_pattern, counted.query, counted.target_column) == (
        False,
        "SELECT count(*) AS n FROM t",
        "n",
    )
    assert (numbers.cursor_lag, numbers.options.columns) == (1000.0, {"a": "text"})


def test_a_number_is_taken_as_it_is_written_where_text_is_wanted(folder: Folder) -> None:
    project = folder.load(
        "data_sources: {rowstore: {host: 127001, database: 2024, password: 0x1F, username: 1.10,"
        " tags: [1, 2.50], headers: {a: 1e3}, tables: [{name: 7, primary_key: 1}]}}"
    )
    rowstore = project.sources["rowstore"]
    assert (rowstore.config.host, rowstore.config.database, rowstore.config.username) == (
        "127001",
        "2024",
        "1.10",
    )
    assert rowstore.config.password.get_secret_value() == "0x1F"
    assert (rowstore.config.tags, rowstore.config.headers) == (("1", "2.50"), {"a": "1e3"})
    assert (rowstore.tables[0].name, rowstore.tables[0].primary_key) == ("7", ("1",))


def test_references_become_what_is_wanted(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "6000")
    monkeypatch.setenv("PIN", "0099")
    folder.write("in a file\n", "secret")
    project = folder.load(
        'parallel: ${N:-2}\nmemory: ${M:-2GB}\ndata_sources: {rowstore: {host: "db-${PIN}.example",'
        ' port: "${PORT}", database: "${PIN}", password: "${file:secret}", ssl_mode: "${SSL:-disable}"}}'
    )
    config = project.sources["rowstore"].config
    assert (project.parallel, project.memory_bytes) == (2, 2_000_000_000)
    assert (config.host, config.port, config.database, config.ssl_mode) == (
        "db-0099.example",
        6000,
        "0099",
        "disable",
    )
    assert config.password.get_secret_value() == "in a file"


def test_paths_begin_at_the_project(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    project = folder.load(
        "data_sources:\n  a: {type: rowstore, host: h, database: d}\n"
        "  b: {type: rowstore, host: h, database: d, certificate: /etc/root.pem}\n"
        "  c: {type: rowstore, host: h, database: d, certificate: ../root.pem}\n"
    )
    assert [source.config.certificate for source in project.sources.values()] == [
        str(folder.path / "certificates/root.pem"),
        "/etc/root.pem",
        str(folder.path / "../root.pem"),
    ]


def test_an_overlay_changes_what_it_names(folder: Folder) -> None:
    folder.write(
        "lake: {location: /lake}\ndata_sources:\n  rowstore:\n    connection: {host: prod.example}\n"
        "    tables: [{name: orders, mode: append}]\n",
        "asgard.prod.yml",
    )
    text = "data_sources: {rowstore: {connection: {host: localhost, database: d}, tables: [orders, items]}}"
    project = folder.load(text, "prod")
    rowstore = project.sources["rowstore"]
    assert (project.environment, project.lake.location, rowstore.config.host) == (
        "prod",
        "/lake",
        "prod.example",
    )
    assert [(table.name, table.mode) for table in rowstore.tables] == [
        ("orders", Mode.APPEND), ("items", Mode.REPLACE),
    ]  # fmt: skip
    assert folder.load(text).sources["rowstore"].config.host == "localhost"


@pytest.mark.parametrize("off", ["false", "no", "'${OFF:-off}'"])
def test_a_source_that_is_switched_off_is_not_looked_at(folder: Folder, off: str) -> None:
    project = folder.load(f"""
data_sources:
  hub_api: {{enabled: {off}, api_key: "${{NOT_SET_ANYWHERE}}", nonsense: 5}}
  rowstore: {{{WAREHOUSE}, enabled: true}}
""")
    assert list(project.sources) == ["rowstore"]


def test_a_connector_of_a_users_own_gets_what_stands_below_its_name(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anything(Config):
        model_config = ConfigDict(extra="allow")

    class Plain(Warehouse):
        Config = Anything

    class Own:
        @classmethod
        def as_source(cls, name: str) -> type[Plain]:
            assert name == "own"
            return Plain

    monkeypatch.setitem(registry._registered, "own", Own)
    project = folder.load("data_sources: {own: {connection: {a: 1}, b: [x], tables: [t]}}")
    assert project.sources["own"].connector_class is Plain
    assert project.sources["own"].config.model_extra == {"connection": {"a": 1}, "b": ["x"]}


def test_two_thousand_tables_are_read_in_two_seconds(folder: Folder) -> None:
    tables = "".join(
        f"      - name: table_{number}\n        primary_key: [id, part]\n        cursor: updated_at\n"
        f"        columns: {{a: text}}\n        checks: [{{not_null: [id]}}, {{unique: [id, part]}}]\n"
        for number in range(2000)
    )
    above = f"    {WAREHOUSE}\n    defaults: {{frequency: daily}}\n    tables:\n"
    text = f"data_sources:\n  rowstore:\n{above}{tables}"
    folder.write("data_sources: {rowstore: {tables: [{name: table_7, mode: append}]}}", "asgard.dev.yml")
    started = time.process_time()
    project = folder.load(text, "dev")
    seconds = time.process_time() - started
    assert [project.sources["rowstore"].tables[number].mode for number in (6, 7)] == [Mode.MERGE, Mode.APPEND]
    assert len(project.sources["rowstore"].tables) == 2000
    assert seconds < 2
