"""What an opened DuckDB lets nobody do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from asgard.core.errors import ConfigError
from asgard.transport import duck

WITH_AND_WITHOUT = pytest.mark.parametrize("extensions", [[], ["postgres_scanner"]])


@pytest.fixture
def changed_extension(tmp_path: Path) -> Path:
    """The wheel's file with one bit of its signature changed."""
    spec = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or []
    (file,) = Path(folder).rglob("*.duckdb_extension")
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    copy = tmp_path / "other.duckdb_extension"  # under its own name it is there already, and not looked at
    copy.write_bytes(content)
    return copy


@WITH_AND_WITHOUT
def test_no_other_unsigned_file_can_be_loaded(changed_extension: Path, extensions: list[str]) -> None:
    connection = duck.connect(extensions=extensions)
    for attempt in (f"LOAD '{changed_extension}'", f"INSTALL '{changed_extension}'"):
        with pytest.raises(duck.Error, match="signature"):
            connection.execute(attempt)
    with pytest.raises(duck.Error, match="signature"):
        connection.load_extension(str(changed_extension))
    connection.close()


@WITH_AND_WITHOUT
@pytest.mark.parametrize("setting", ["allow_unsigned_extensions", "allow_community_extensions"])
def test_what_is_closed_stays_closed(extensions: list[str], setting: str) -> None:
    connection = duck.connect(extensions=extensions)
    with pytest.raises(duck.Error, match="Cannot change"):
        connection.execute(f"SET {setting} = true")
    with pytest.raises(duck.Error, match="Cannot change"):
        connection.cursor().execute(f"SET GLOBAL {setting} = true")
    assert connection.sql(f"SELECT current_setting('{setting}')").fetchall() == [(False,)]
    connection.close()


def test_nothing_is_fetched_for_a_query_that_would_need_it() -> None:
    connection = duck.connect(extensions=["postgres_scanner"])
    with pytest.raises(duck.Error, match="httpfs"):
        connection.sql("FROM 'https://localhost:1/x.parquet'")
    connection.close()


def test_an_extension_that_is_not_installed_is_named_with_its_wheel() -> None:
    with pytest.raises(ConfigError, match="not_there") as caught:
        duck.connect(extensions=["not_there"])
    assert "pip install 'duckdb-extension-not-there==" in caught.value.hint
