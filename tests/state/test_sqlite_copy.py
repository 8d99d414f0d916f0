"""Copies of SQLite files in use: whole, at one instant, and put back where others have the file open."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from asgard.core.errors import ConfigError, DataError, Unreachable
from asgard.state import sqlite_copy, sqlite_database
from asgard.state.sqlite_copy import BESIDE, copy_out, put_back, put_new
from asgard.state.sqlite_database import SqliteDatabase

SCHEMA = "CREATE TABLE things (n INTEGER PRIMARY KEY, t TEXT)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "things.db"
    database = SqliteDatabase(made, "things")
    database.migrate(SCHEMA, 3)
    with database.writing() as rows:
        rows("INSERT INTO things VALUES (1, 'one')")
    return made


def things(file: Path) -> list[tuple[int, str]]:
    with SqliteDatabase(file, "things").reading() as rows:
        return [(n, t) for n, t in rows("SELECT n, t FROM things ORDER BY n")]


def test_a_copy_has_what_is_committed_and_is_one_file(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("INSERT INTO things VALUES (2, 'two')")  # which lies in the write-ahead log
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO things VALUES (3, 'not committed')")
        assert copy_out(file, tmp_path / "copy", "things") == 3
        writer.execute("COMMIT")
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy"]
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert things(tmp_path / "copy") == [(1, "one"), (2, "two")]


def test_a_copy_is_put_back_while_another_has_the_file_open(file: Path, tmp_path: Path) -> None:
    copy_out(file, tmp_path / "copy", "things")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("INSERT INTO things VALUES (2, 'later')")
        assert other.execute("SELECT count(*) FROM things").fetchone() == (2,)
        put_back(tmp_path / "copy", file, "things")
        assert other.execute("SELECT n, t FROM things").fetchall() == [(1, "one")]
        other.execute("INSERT INTO things VALUES (4, 'again')")
    assert things(file) == [(1, "one"), (4, "again")]


def test_who_holds_the_lock_for_too_long_is_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_out(file, tmp_path / "copy", "things")
    monkeypatch.setattr(sqlite_copy, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(sqlite_database, "PATIENCE_SECONDS", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO things VALUES (2, 'two')")
        with pytest.raises(Unreachable, match="locked"):
            put_back(tmp_path / "copy", file, "things")
        other.execute("COMMIT")
    assert things(file) == [(1, "one"), (2, "two")]


def test_what_lay_beside_another_file_is_not_read_into_the_new_one(file: Path, tmp_path: Path) -> None:
    copy_out(file, tmp_path / "copy", "things")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("INSERT INTO things VALUES (2, 'of the lost one')")
        beside = {suffix: file.with_name(file.name + suffix) for suffix in BESIDE}
        kept = {path: path.read_bytes() for path in beside.values() if path.exists()}
        assert kept
    file.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    put_new(tmp_path / "copy", file)
    assert things(file) == [(1, "one")]


def test_a_damaged_file_is_no_copy(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.executemany("INSERT INTO things VALUES (?, ?)", [(n, "x" * 500) for n in range(2, 200)])
    content = bytearray(file.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    file.write_bytes(content)
    with pytest.raises((DataError, ConfigError)):
        copy_out(file, tmp_path / "copy", "things")
