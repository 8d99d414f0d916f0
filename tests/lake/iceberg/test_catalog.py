"""How catalogs are opened, and what is said where they cannot be."""

from __future__ import annotations

import os
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Unreachable
from asgard.core.secret import Secret
from asgard.lake.iceberg.catalog import FILE, NAME, RestAccess, check_folder, open_rest, open_sqlite
from tests.servers.iceberg_rest import CLIENT, SECRET, TOKEN, shared_iceberg_rest
from tests.servers.object_stores import shared_store

SCHEMA = pa.schema([("id", pa.int64())])


def test_a_lake_that_is_only_looked_at_is_not_made(tmp_path: Path) -> None:
    assert open_sqlite(tmp_path / "lake", create=False) is None
    assert list(tmp_path.iterdir()) == []


def test_pyiceberg_opens_the_file_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a lake, of 100 tables & Größe"
    ours = open_sqlite(folder, create=True)
    assert ours is not None
    ours.create_namespace(("bronze", "shop"))
    table = ours.create_table(("bronze", "shop", "orders"), SCHEMA)
    table.append(pa.table({"id": [1, 2]}))
    theirs = load_catalog(NAME, type="sql", uri=f"sqlite:///{folder / FILE}")
    assert theirs.load_table(("bronze", "shop", "orders")).metadata == table.metadata


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a;b", "a\\b"])
def test_paths_that_readers_take_for_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_folder(Path("/data") / name)
    assert f"has {name[1]} in it" in caught.value.what
    check_folder(Path("/data/a b/Größe &,=+"))


def test_many_make_the_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        catalogs = list(pool.map(lambda _: open_sqlite(tmp_path / "lake", create=True), range(16)))
    assert all(catalog is not None and catalog.list_namespaces() == [] for catalog in catalogs)


def test_what_is_no_catalog_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else, and long enough to be no SQLite file for sure" * 20)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(AsgardError) as caught:
        open_sqlite(tmp_path, create=True)
    assert FILE in caught.value.what
    assert caught.value.hint
    assert (tmp_path / FILE).read_bytes() == before


def test_a_file_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("CREATE TABLE t(a)")
    (tmp_path / FILE).chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):  # root may write everywhere: what is forbidden is a folder for it
            tmp_path.chmod(0o700)
            (tmp_path / FILE).unlink()
            (tmp_path / FILE).mkdir()
        with pytest.raises(Refused) as caught:
            open_sqlite(tmp_path, create=True)
    finally:
        tmp_path.chmod(0o700)
    assert "rights" in caught.value.hint


def rest(uri: str, **more: Any) -> RestAccess:
    return RestAccess(uri, **{"credential": Secret(f"{CLIENT}:{SECRET}"), **more})


@pytest.mark.parametrize("who", [{}, {"credential": None, "token": Secret(TOKEN)}])
@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_is_asked_by_whom_it_knows(who: dict[str, Any], end: str) -> None:
    uri = shared_iceberg_rest().catalog()
    catalog = open_rest(rest(uri + end, **who))
    catalog.create_namespace("bronze")
    assert open_rest(rest(uri)).list_namespaces() == [("bronze",)]


@pytest.mark.parametrize(
    "who",
    [
        {"credential": Secret(f"{CLIENT}:wrong-{SECRET}")},
        {"credential": None, "token": Secret(f"wrong-{TOKEN}")},
        {"credential": None, "headers": {"Authorization": Secret(f"Bearer wrong-{TOKEN}")}},
        {"credential": None},
    ],
)
def test_whom_it_does_not_know_is_told_so(who: dict[str, Any]) -> None:
    uri = shared_iceberg_rest().catalog()
    with pytest.raises(AuthenticationError) as caught:
        open_rest(rest(uri, **who))
    assert uri in caught.value.what
    assert "lake.catalog" in caught.value.hint
    for text in (str(caught.value), repr(rest(uri, **who))):
        assert SECRET not in text
        assert TOKEN not in text


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        open_rest(rest(f"http://127.0.0.1:{port}/one"))
    assert caught.value.what == f"the catalog http://127.0.0.1:{port}/one does not answer"


def test_another_server_is_no_catalog() -> None:
    with pytest.raises(ConfigError) as caught:
        open_rest(RestAccess(shared_store("moto").url))
    assert "no REST catalog" in caught.value.what
