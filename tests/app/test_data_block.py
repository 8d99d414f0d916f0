"""`data:` blocks and DataSourceConfigs: the users' own form of one source and what is loaded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgard.app.config.data_block import (
    APIConnection,
    CloudConnection,
    DatabaseConnection,
    DataSourceConfig,
    load_data_block,
)
from asgard.core import registry
from asgard.core.errors import ConfigError
from tests.app.own_connectors import Folder, Hub

BLOCK = """
data:
  type: rowstore
  connection:
    host: localhost
    port: 5432
    database: mydb
    username: ${USER_NAME}
    password: ${USER_PASSWORD}
    connection_timeout: 5
  query: "SELECT * FROM my_table WHERE created_at > '2023-01-01'"
  target_column: target
  chunk_size: 500
  backend: polars
model: {kind: whatever else the file is for}
"""


def mistakes(document: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_data_block(document)
    return caught.value.what.splitlines()


def in_file(folder: Folder, text: str) -> list[str]:
    return mistakes(folder.write(text, "config.yml"))


def test_a_block_in_a_file(folder: Folder) -> None:
    folder.write("USER_NAME=ann\nUSER_PASSWORD='p w'\n", ".env")
    block = load_data_block(folder.write(BLOCK, "config.yml"))
    config = block.source.config
    assert (block.source.type, config.host, config.port, config.database) == (
        "rowstore",
        "localhost",
        5432,
        "mydb",
    )
    assert (config.username, config.password.get_secret_value(), config.timeout_seconds) == ("ann", "p w", 5)
    assert block.table.query == "SELECT * FROM my_table WHERE created_at > '2023-01-01'"
    assert (block.table.target_column, block.backend, block.chunk_rows) == ("target", "polars", 500)
    assert block.source.tables == (block.table,)
    assert config.certificate == str(folder.path / "certificates/root.pem")


def test_the_same_from_python(folder: Folder) -> None:
    typed = DataSourceConfig(
        type="rowstore",
        connection=DatabaseConnection(host="localhost", database="mydb", password="p w"),
        query="SELECT 1",
    )
    blocks = [load_data_block(given) for given in (typed, typed.model_dump(), {"data": typed.model_dump()})]
    for block in blocks:
        assert block.source.config.host == "localhost"
        assert block.source.config.password.get_secret_value() == "p w"
        assert block.source.config.ssl_mode == "require"
        assert block.table.query == "SELECT 1"
    assert "p w" not in repr(typed)


def test_the_users_models_have_their_names_and_defaults() -> None:
    database = DatabaseConnection(host="h", database="d")
    assert (database.port, database.ssl_mode, database.connection_timeout) == (None, "require", 30)
    assert CloudConnection(bucket="b").endpoint_url is None
    api = APIConnection(base_url="u", endpoint="/e")
    assert (api.method, api.headers, api.params, api.auth_type, api.pagination) == ("GET", {}, {}, None, None)
    config = DataSourceConfig(type="csv", source="a.csv")
    assert (config.backend, config.chunk_size, config.file_type, config.query) == ("auto", None, None, None)


@pytest.mark.parametrize("own", ["csv", "excel", "parquet"])
def test_types_that_are_formats_of_files(folder: Folder, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.setitem(registry._registered, "files", Hub)
    block = load_data_block({"type": own, "source": "data/train.2024.csv.gz", "target_column": "y"})
    assert (block.source.type, block.table.name) == ("files", "train")
    assert (block.table.options.path, block.table.options.format) == ("data/train.2024.csv.gz", own)


def test_files_with_a_file_type(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "files", Hub)
    assert (
        load_data_block({"type": "file", "source": "a.xlsx", "file_type": "excel"}).table.options.format
        == "excel"
    )
    plain = load_data_block({"type": "file", "source": "data/*.csv"})
    assert (plain.table.options.format, plain.table.name) == (None, "data")


def test_an_endpoint_of_an_api(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "rest", Hub)
    block = load_data_block(
        DataSourceConfig(
            type="api",
            api_config=APIConnection(
                base_url="https://a.example",
                endpoint="/v1/orders",
                method="POST",
                headers={"X": "y"},
                params={"limit": 5},
                auth_type="bearer",
                auth_token="t0ken",
                pagination={"kind": "page"},
            ),
            query="since=2024-01-01&limit=7",
        )
    )
    assert (block.source.type, block.source.config.base_url) == ("rest", "https://a.example")
    assert block.source.config.auth_token.get_secret_value() == "t0ken"
    options = block.table.options
    assert (block.table.name, options.path, options.method) == ("orders", "/v1/orders", "POST")
    assert (options.headers, options.pagination) == ({"X": "y"}, {"kind": "page"})
    assert options.params == {"since": "2024-01-01", "limit": 5}


def test_a_table_of_a_database_and_a_connectors_own_keys(folder: Folder) -> None:
    block = load_data_block(
        {
            "type": "rowstore",
            "source": "public.orders",
            "connection": {"host": "h", "database": "d", "tags": ["x"]},
            "ssl_mode": "disable",
            "batch_rows": 5,
            "checks": [{"not_null": "id"}],
        }
    )
    assert (block.table.name, block.table.query, block.table.options.batch_rows) == ("public.orders", None, 5)
    assert (block.source.config.tags, block.source.config.ssl_mode) == (("x",), "disable")
    assert [check.name for spec in block.table.checks for check in spec.checks()] == ["not_null(id)"]


def test_every_mistake_of_a_file_is_told_where_it_is_written(folder: Folder) -> None:
    told = in_file(
        folder,
        """data:
  type: rowstore
  connection:
    hst: localhost
    database: 5
    port: x
  chunk_size: 0
  target: y
""",
    )
    assert told == [
        "config.yml:7:15: data.chunk_size: is 0, must be greater than 0",
    ]
    told = in_file(
        folder,
        """data:
  type: rowstore
  connection:
    hst: localhost
    database: 5
    port: x
  target_colum: y
""",
    )
    assert told == [
        "config.yml:1:1: data.query: is missing; it says what is loaded",
        "config.yml:3:3: data.connection.host: is missing; the server's name or address",
        "config.yml:4:5: data.connection.hst: is not a known key; did you mean host?",
        "config.yml:6:11: data.connection.port: is text ('x'), must be a whole number",
        "config.yml:7:3: data.target_colum: is not a known key; did you mean target_column?",
    ]


def test_mistakes_in_the_parts_of_an_api(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "rest", Hub)
    assert in_file(folder, "data:\n  type: api\n  api_config:\n    base_url: u\n    auth_type: oauth\n") == [
        "config.yml:3:3: data.api_config.endpoint: is missing",
        "config.yml:5:16: data.api_config.auth_type: is 'oauth', must be bearer, basic or api_key",
    ]
    told = in_file(
        folder,
        "data:\n  type: api\n  api_config:\n    base_url: u\n    endpoint: /e\n    rate_limit: fast\n"
        "    params: 5\n    pagintion: {}\n",
    )
    assert told == [
        "config.yml:6:17: data.api_config.rate_limit: is text ('fast'), must be a whole number",
        "config.yml:7:13: data.api_config.params: is 5, must be keys with values",
        "config.yml:8:5: data.api_config.pagintion: is not a known key; did you mean pagination?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "config.yml:1:1: data: is missing; data: {"),
        ("dta: {}\n", "config.yml:1:1: data: is missing; data: {"),
        ("data: 5\n", "config.yml:1:7: data: must be keys with values; data: {"),
        ("data: {source: a.csv}", "config.yml:1:1: data.type: is missing; file, csv, excel, "),
        ("data: {type: nosuch}", "config.yml:1:14: data.type: there is no connector 'nosuch'"),
        ("data: [", "config.yml:2:1: this is not YAML: "),
        ("data: {type: rowstore, connection: {host: h, database: d}, query: '${NOT_SET_HERE}'}",
         "config.yml:1:68: data.query: the variable NOT_SET_HERE is not set"),
    ],
)  # fmt: skip
def test_what_is_no_block(folder: Folder, text: str, told: str) -> None:
    found = in_file(folder, text)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_what_python_gives_wrong(tmp_path: Path, folder: Folder) -> None:
    assert mistakes(tmp_path / "none.yml") == [f"there is no file {tmp_path / 'none.yml'}"]
    assert mistakes({"data": 5}) == ["a data block is keys with values"]
    assert mistakes({"type": "rowstore", "connection": {"host": "h"}, "query": "q"}) == [
        "data.connection.database: is missing"
    ]


def test_a_connector_of_a_users_own_gets_the_parts_as_they_are(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asgard.app.frames.connector import BaseConnector

    class Own(BaseConnector):
        def connect(self) -> bool:
            return True

        def disconnect(self) -> None: ...

        def validate_connection(self) -> bool:
            return True

        def load_data(self, query: str | None = None, **kwargs: Any) -> Any:
            return []

        def get_schema(self) -> dict[str, Any]:
            return {}

    monkeypatch.setitem(registry._registered, "own", Own)
    block = load_data_block({"type": "own", "connection": {"host": "h", "database": "d"}, "extra": [1]})
    assert block.source.config.model_extra == {"connection": {"host": "h", "database": "d"}, "extra": [1]}
    assert block.table.name == ""


def test_the_packages_own_connectors_read_the_users_words(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        "data:\n  type: postgres\n  connection:\n    host: localhost\n    port: 5432\n    database: mydb\n"
        "    username: ann\n    password: '0123'\n    connection_timeout: 7\n  query: SELECT 1 AS target\n"
        "  target_column: target\n"
    )
    postgres = load_data_block(tmp_path / "config.yml").source
    assert (postgres.config.username, postgres.config.ssl_mode) == ("ann", "require")
    assert (postgres.config.password.get_secret_value(), postgres.config.connection_timeout_seconds) == (
        "0123",
        7,
    )
    typed = DataSourceConfig(
        type="postgres", connection=DatabaseConnection(host="h", database="d"), query="q"
    )
    assert load_data_block(typed.model_dump()).source.config.connection_timeout_seconds == 30

    (tmp_path / "config.yml").write_text("data: {type: excel, source: books/plan.xlsx, sheet: '2026'}\n")
    files = load_data_block(tmp_path / "config.yml")
    assert (files.source.config.path, files.table.name) == (str(tmp_path), "plan")
    assert (files.table.options.path, files.table.options.sheet) == ("books/plan.xlsx", "2026")

    (tmp_path / "config.yml").write_text(
        "data: {type: sqlite, connection: {database: shop.db}, source: orders}\n"
    )
    sqlite = load_data_block(tmp_path / "config.yml")
    assert (sqlite.source.config.database, sqlite.table.name) == (str(tmp_path / "shop.db"), "orders")

    rest = load_data_block(
        {
            "type": "api",
            "api_config": {"base_url": "https://a.example", "endpoint": "/v1/orders", "headers": {"X": "y"},
                           "params": {"limit": 5}, "auth_type": "bearer", "auth_token": "t",
                           "method": "POST"},
        }
    )  # fmt: skip
    assert (rest.source.config.base_url, rest.source.config.sign_in) == ("https://a.example", "bearer")
    assert (rest.table.name, rest.table.options.path, rest.table.options.method) == (
        "orders",
        "/v1/orders",
        "POST",
    )
