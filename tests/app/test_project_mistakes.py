"""The project file: every mistake in it is told at once, with its place, its key and the next step."""

# ruff: noqa: E501 - what is told stands on one line, as people read it

from __future__ import annotations

import pytest

from asgard.core import registry
from tests.app.own_connectors import Folder

WAREHOUSE = "connection: {host: h, database: d}"


def test_every_mistake_is_told_at_once_in_order(folder: Folder) -> None:
    told = folder.mistakes("""version: 2
paralel: 3
lake: {format: iceberg, location: "tp://x/y"}
data_sources:
  shop:
    type: rowstore
    connection:
      host: localhost
      port: abc
      databse: shop
      ssl_mode: requird
      username: "ann smith"
    defaults: {mode: merg, name: x}
    tables:
      - name: orders
        cusor: day
      - {name: ORDERS, cursor_lag: 5}
      - 7
      - {checks: [{not_nul: id}, {unique: a, not_null: b}, {between: {column: a, mn: 0}}]}
  Shop: {type: rowsore, tables: 5}
  silver: {type: rowstore, host: h, database: d}
  nothing:
""")
    told[19] = told[19].partition("; did you mean rowstore")[0]
    assert told == [
        "asgard.yml:1:10: version: the file is of version 2, this Asgard reads version 1; pip install --upgrade "
        "asgard-platform",
        "asgard.yml:2:1: paralel: is not a known key; did you mean parallel?",
        "asgard.yml:3:35: lake.location: 'tp://x/y' is no place for a lake; name a folder, or s3://BUCKET/PREFIX of "
        "S3 or a store that speaks like it",
        "asgard.yml:7:5: data_sources.shop.connection.database: is missing",
        "asgard.yml:9:13: data_sources.shop.connection.port: is text ('abc'), must be a whole number",
        "asgard.yml:10:7: data_sources.shop.connection.databse: is not a known key; did you mean database?",
        "asgard.yml:11:17: data_sources.shop.connection.ssl_mode: is 'requird', must be disable, require or "
        "verify-full; did you mean require?",
        "asgard.yml:12:17: data_sources.shop.connection.username: 'ann smith' has a blank in it; leave it out",
        "asgard.yml:13:22: data_sources.shop.defaults.mode: is 'merg', must be replace, append, merge or history; "
        "did you mean merge?",
        "asgard.yml:13:34: data_sources.shop.defaults.name: cannot be a default; say it at the table",
        "asgard.yml:16:9: data_sources.shop.tables[0].cusor: is not a known key; did you mean cursor?",
        "asgard.yml:17:16: data_sources.shop.tables[1]: 'ORDERS' would be the same table in the lake as 'orders'; "
        "that one is at asgard.yml:15:15; name the table of one of them with `as`",
        "asgard.yml:17:36: data_sources.shop.tables[1].cursor_lag: does nothing without a cursor; give it a "
        "cursor, or leave it out",
        "asgard.yml:18:9: data_sources.shop.tables[2]: must be a name, or keys with values; write - name: orders",
        "asgard.yml:19:9: data_sources.shop.tables[3].name: is missing; the source's name of it: orders, "
        "public.orders; with * for all that match",
        "asgard.yml:19:20: data_sources.shop.tables[3].checks[0].not_nul: is not a known key; did you mean not_null?",
        "asgard.yml:19:34: data_sources.shop.tables[3].checks[1]: a check has exactly one kind, this has not_null "
        "and unique",
        "asgard.yml:19:82: data_sources.shop.tables[3].checks[2].between.mn: is not a known key; did you mean min?",
        "asgard.yml:20:3: data_sources.Shop: 'Shop' and 'shop' differ only in case; give one of them another name",
        "asgard.yml:20:16: data_sources.Shop.type: there is no connector 'rowsore'",
        "asgard.yml:20:33: data_sources.Shop.tables: must be a list; tables: [{name: orders}, ...]",
        "asgard.yml:21:3: data_sources.silver: 'silver' is the name of a layer; give the source another name",
        "asgard.yml:22:3: data_sources.nothing: is empty; give it type, connection and tables",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("memory: 5", "1:9: memory: is less than a run needs; give it 200MB or more"),
        ("memory: 5x", "1:9: memory: '5x' is not a size; write it as 512MB or 1GiB"),
        ("memory: [5]", "1:1: memory: must be a size such as 512MB or 1GiB"),
        ("memory: true", "1:9: memory: must be a size such as 512MB or 1GiB"),
        ("parallel: 0", "1:11: parallel: is 0, must be at least 1"),
        ("parallel: 65", "1:11: parallel: is 65, must be at most 64"),
        ("parallel: 1.5", "1:11: parallel: is 1.5, must be a whole number"),
        ("parallel: true", "1:11: parallel: is true, must be a number"),
        ("version: one", "1:10: version: is text ('one'), must be a whole number"),
        ("version: 0", "1:10: version: is 0, must be at least 1"),
        ("name: []", "1:1: name: is a list, must be text"),
        ("name: {a: 1}", "1:1: name: is a mapping, must be text"),
        ("name: true", "1:7: name: is true, must be text; put it in quotes"),
        ("workspace: a b", "1:12: workspace: is 'a b', must be text that matches ^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"),
        ("lake: data", "1:7: lake: is text, must be keys with values"),
        ("lake: {format: parquet}", "1:16: lake.format: is 'parquet', must be delta or iceberg"),
        (
            "lake: {format: iceberg, location: 's3://b/x'}",
            "1:1: lake: Iceberg's tables lie on a disk in this version, not at s3://b/x; name a folder, or use "
            "format: delta",
        ),
        (
            "lake: {catalog: {type: sqlite}}",
            "1:1: lake: Delta's tables need no catalog; leave it out, or use format: iceberg",
        ),
        (
            "lake: {format: iceberg, catalog: {uri: 'http://c'}}",
            "1:25: lake.catalog: a sqlite catalog has no uri; write type: rest, or leave it out",
        ),
        (
            "lake: {format: iceberg, catalog: {type: rest}}",
            "1:25: lake.catalog: type: rest wants a uri: where the server is",
        ),
        (
            "lake: {format: iceberg, catalog: {type: rest, uri: 'http://c', token: a, credential: b}}",
            "1:25: lake.catalog: credential and token say the same twice; keep one of them",
        ),
        (
            "lake: {format: iceberg, catalog: {type: rest, uris: 'http://c'}}",
            "1:47: lake.catalog.uris: is not a known key; did you mean uri?",
        ),
        ("lake: {place: x}", "1:8: lake.place: is not a known key; known: catalog, connection, deletion_vectors, format, "
     "location"),
        ("data: {type: csv}", "1:1: data: is not a key of a project; asgard run --config FILE loads a file with one "
         "data block; sources stand below data_sources"),
        ("data_sources: [a]", "1:1: data_sources: must be keys with values; shop: {type: postgres, ...}"),
        ("data_sources: {a: 5}", "1:19: data_sources.a: must be keys with values; give it type, connection and tables"),
    ],
)  # fmt: skip
def test_mistakes_at_the_top(folder: Folder, text: str, told: str) -> None:
    assert folder.mistakes(text) == [f"asgard.yml:{told}"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a: {type: rowstore, host: h, database: d, port: 70000}",
         "a.port: is 70000, must be at most 65535"),
        ("a: {type: rowstore, host: h, database: d, port: true}", "a.port: is true, must be a number"),
        ("a: {type: rowstore, host: h, database: d, dbname: e}", "a.dbname: is not a known key"),
        ("a: {type: rowstore, host: null, database: d}",
         "a.host: is missing; the server's name or address"),
        ("a: {type: rowstore, connection: 5}", "a.connection: must be keys with values"),
        ("a: {type: rowstore, host: h, connection: {host: i, database: d}}",
         "a.host: is given twice: in connection, and beside it; keep one of them"),
        ("a: {type: rowstore, host: h, database: d, tags: 5}", "a.tags: is 5, must be a list"),
        ("a: {type: rowstore, host: h, database: d, tags: [[x]]}", "a.tags[0]: is a list, must be text"),
        ("a: {type: rowstore, host: h, database: d, headers: {a: [1]}}", "a.headers.a: is a list, must be text"),
        ("a: {type: rowstore, host: h, database: d, frequency: now}",
         "a.frequency: 'now' is no frequency; write one of real-time, hourly, daily, weekly, monthly, a duration "
         "such as 15m, or five cron fields"),
        ("a: {type: rowstore, host: h, database: d, defaults: [mode]}", "a.defaults: must be keys with values"),
        ("a: {type: [x], host: h}", "a.type: is a list, must be text"),
        ("warehous: {host: h}", "warehous.type: is missing; 'warehous' is not the name of a connector; there are: "),
        ("rowstor: {host: h}", "rowstor.type: is missing; 'rowstor' is not the name of a connector; "
         "did you mean rowstore?"),
        ("a b: {type: hub_api}", "a b: 'a b' cannot be a source's name; use letters, digits, _ and -"),
        ("_asgard_x: {type: hub_api}", "_asgard_x: '_asgard_x' cannot be a source's name"),
        ("Gold: {type: hub_api}", "Gold: 'Gold' is the name of a layer"),
        ("hub_api: {auth: {kind: basic, user: u, password: [p]}}",
         "hub_api.auth.password: is a list, must be text"),
        ("hub_api: {auth: {kind: bearer, tokn: t, token: t}}",
         "hub_api.auth.tokn: is not a known key; did you mean token?"),
        ("hub_api: {auth: {kind: bearer}}", "hub_api.auth.token: is missing"),
        ("hub_api: {auth: {kind: oauth}}", "hub_api.auth: "),
        ("hub_api: {endpoints: [{name: a}]}", "hub_api.endpoints[0].path: is missing"),
        ("hub_api: {endpoints: [{name: a, path: /, mode: merge}]}",
         "hub_api.endpoints[0].primary_key: is missing: merge needs it to tell rows apart; write primary_key: [id]"),
        ("hub_api: {endpoints: [{name: a, path: /, mode: merge, primary_key: []}]}",
         "hub_api.endpoints[0].primary_key: is missing: merge needs it to tell rows apart"),
        ("rowstore: {host: h, database: d, tables: [{name: a, mode: merge, query: select}]}",
         "rowstore.tables[0].primary_key: is missing: merge needs it to tell rows apart"),
        ("rowstore: {host: h, database: d, tables: [{name: a, cursor: day}]}",
         "rowstore.tables[0].mode: is missing: a cursor alone does not say what happens to rows that changed; "
         "mode: append adds what is new; mode: merge with primary_key replaces what changed"),
        ("rowstore: {host: h, database: d, tables: [{name: a, mode: history, query: select}]}",
         "rowstore.tables[0].primary_key: is missing: history needs it to tell rows apart"),
        ("rowstore: {host: h, database: d, tables: [{name: a, valid_from: load}]}",
         "rowstore.tables[0].valid_from: is for mode: history alone"),
        ("rowstore: {host: h, database: d, tables: [{name: a, mode: history, valid_from: cursor}]}",
         "rowstore.tables[0].valid_from: asks the cursor, and there is none"),
        ("rowstore: {host: h, database: d, tables: [{name: a, exclude: b}]}",
         "rowstore.tables[0].exclude: does nothing for a single name"),
        ("rowstore: {host: h, database: d, tables: [{name: 'a*', as: b}]}",
         "rowstore.tables[0].as: cannot be the name of all that match 'a*'; leave it out"),
        ("rowstore: {host: h, database: d, tables: [{name: a, cursor: b, mode: append, cursor_lag: -5}]}",
         "rowstore.tables[0].cursor_lag: is -5, must be at least 0"),
        ("rowstore: {host: h, database: d, tables: [{name: a, cursor: b, mode: append, cursor_lag: 5 apples}]}",
         "rowstore.tables[0].cursor_lag: '5 apples' is not a duration"),
        ("rowstore: {host: h, database: d, tables: [{name: public.a}, {name: A}]}",
         "rowstore.tables[1]: 'A' would be the same table in the lake as 'public.a'"),
        ("rowstore: {host: h, database: d, tables: [{name: a}], files: [{name: b, as: A}]}",
         "rowstore.files[0]: 'A' would be the same table in the lake as 'a'"),
        ("rowstore: {host: h, database: d, tables: [{name: a, table: b, as: c}]}",
         "rowstore.tables[0].as: is not a known key"),
        ("rowstore: {host: h, database: d, tables: [{name: ''}]}",
         "rowstore.tables[0].name: is '', must be at least 1 characters long"),
        ("rowstore: {host: h, database: d, tables: [{name: a, batch_rows: 0}]}",
         "rowstore.tables[0].batch_rows: is 0, must be greater than 0"),
        ("rowstore: {host: h, database: d, tables: {a: 1}}", "rowstore.tables: must be a list"),
        ("rowstore: {host: h, database: d, query: x}", "rowstore.query: is not a known key; it belongs to a table: tables: [{name: ..., query: ...}]"),
    ],
)  # fmt: skip
def test_mistakes_in_a_source(folder: Folder, source: str, told: str) -> None:
    mistakes = folder.mistakes(f"data_sources: {{{source}}}")
    assert len(mistakes) == 1
    place, _, rest = mistakes[0].partition(": ")
    assert rest.startswith(f"data_sources.{told}")
    assert place.startswith("asgard.yml:1:")


def test_a_mistake_in_defaults_is_told_once(folder: Folder) -> None:
    told = folder.mistakes(f"""
data_sources:
  rowstore:
    {WAREHOUSE}
    defaults: {{batch_rows: many, colums: 5}}
    tables: [a, b, c]
""")
    assert told == [
        "asgard.yml:5:28: data_sources.rowstore.defaults.batch_rows: is text ('many'), must be a whole number",
        "asgard.yml:5:34: data_sources.rowstore.defaults.colums: is not a known key; did you mean columns?",
    ]


def test_unset_variables_are_told_where_they_stand(folder: Folder) -> None:
    told = folder.mistakes("""
name: ${NOT_SET_A}
data_sources:
  rowstore:
    host: "x-${NOT_SET_B}"
    database: d
    tables:
      - name: a
        query: |
          SELECT *
          FROM ${NOT_SET_C}
""")
    assert [line.partition(";")[0] for line in told] == [
        "asgard.yml:2:7: name: the variable NOT_SET_A is not set",
        "asgard.yml:5:14: data_sources.rowstore.host: the variable NOT_SET_B is not set",
        "asgard.yml:11:16: data_sources.rowstore.tables[0].query: the variable NOT_SET_C is not set",
    ]


def test_mistakes_of_an_overlay_point_into_it(folder: Folder) -> None:
    folder.write(
        "data_sources:\n  rowstore:\n    connection:\n      port: x\n      hst: y\n", "asgard.dev.yml"
    )
    told = folder.mistakes("data_sources: {rowstore: {connection: {host: h, database: d, bad: 1}}}", "dev")
    assert [line.partition(": is")[0] for line in told] == [
        "asgard.dev.yml:4:13: data_sources.rowstore.connection.port",
        "asgard.dev.yml:5:7: data_sources.rowstore.connection.hst",
        "asgard.yml:1:62: data_sources.rowstore.connection.bad",
    ]


def test_a_connector_that_cannot_be_imported(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> object:
        raise ModuleNotFoundError("No module named 'oracledb'", name="oracledb")

    monkeypatch.setattr(registry, "connector_class", fail)
    assert folder.mistakes("data_sources: {rowstore: {host: h}}") == [
        "asgard.yml:1:16: data_sources.rowstore.type: 'rowstore' needs a package that is not installed: oracledb; "
        "pip install 'asgard-platform[rowstore]'"
    ]
