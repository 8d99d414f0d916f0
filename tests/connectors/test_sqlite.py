"""SQLite: exact values whatever the column says, cursors, snapshots, and files that are none."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.connectors import sqlite as connector
from asgard.connectors.sqlite import SqliteConfig, SqliteSource
from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    Cancelled,
    ConfigError,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.core.stream import Selection
from asgard.testing.connectors import read_all
from tests.connectors.databases import Database
from tests.connectors.reading import load


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "a b?#%41.sqlite")
    yield made
    made.connection.close()


# ---- types


@pytest.mark.parametrize(
    ("declared", "values", "counts"),
    [
        ("INTEGER", [1, 2, "x"], "2 integer, 1 text"),
        ("INTEGER", [1, 1.5], "1 real, 1 integer|1 integer, 1 real"),
        ("TEXT", ["x", b"y"], "1 text, 1 blob|1 blob, 1 text"),
        ("REAL", [1.5, "x"], "1 text, 1 real|1 real, 1 text"),
        ("", [1, "x", b"y"], "1 integer, 1 text, 1 blob"),
        ("NUMERIC", [2**53 + 1, 0.5], "1 of the integers too large for a double"),
    ],
)
def test_mixed_columns_are_refused_by_name(
    database: Database, declared: str, values: list[Any], counts: str
) -> None:
    database.run(f"CREATE TABLE t (fine INTEGER, x {declared})")
    for value in values:
        database.run("INSERT INTO t VALUES (1, ?)", value)
    with pytest.raises(DataError, match=counts) as caught:
        database.load("t")
    assert caught.value.where["column"] == "x"
    assert "columns: {x: text}" in caught.value.hint
    as_text = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    assert [row["x"] for row in database.load("t", {"columns": {"x": "text"}}).rows] == as_text
    assert database.load("t", {"exclude_columns": ["x"]}).types == {"fine": "int64"}


def test_all_mixed_columns_are_named_at_once(database: Database) -> None:
    database.run("CREATE TABLE t (a, b, c); INSERT INTO t VALUES (1, 1, 1), ('x', 2, x'00')")
    with pytest.raises(DataError) as caught:
        database.load("t")
    assert caught.value.where["column"] == "a, c"
    assert "columns: {a: text, c: text}" in caught.value.hint


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.binary(max_size=5),
)


@pytest.mark.parametrize("word", ["INF", "nan", "-Infinity", ""])
def test_a_word_among_numbers_is_no_number(database: Database, word: str) -> None:
    database.run("CREATE TABLE t (x REAL)")
    database.run("INSERT INTO t VALUES (?)", word)
    with pytest.raises(DataError, match="is no float64"):
        database.load("t")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.sampled_from(["", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "DECIMAL(12, 2)", "BOOLEAN", "DATE"]),
    st.one_of(st.lists(kind, max_size=6) for kind in (VALUES, st.integers(-5, 5), st.floats(-9, 9))),
)
def test_every_value_arrives_as_it_was_or_is_refused(
    database: Database, declared: str, values: list[Any]
) -> None:
    """Promise 2."""
    database.run("DROP TABLE IF EXISTS t")
    database.run(f"CREATE TABLE t (x {declared})")
    for value in values:
        database.run("INSERT INTO t VALUES (?)", value)
    stored = [x for (x,) in database.run("SELECT x FROM t")]
    classes = {type(value) for value in stored if value is not None}
    promised = {"INTEGER": {int}, "REAL": {float}, "TEXT": {str}, "BLOB": {bytes}}.get(declared, classes)
    try:
        got = [row["x"] for row in database.load("t").rows]
    except DataError:
        got = None
    if got is None:
        assert len(classes) > 1 or classes != promised
        return
    for was, came in zip(stored, got, strict=True):
        assert came == (Decimal(repr(was)) if isinstance(came, Decimal) else was)
        assert (was is None) == (came is None)


def test_text_that_is_no_text(database: Database) -> None:
    database.run("CREATE TABLE t (id INTEGER, x TEXT); INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT))")
    with pytest.raises(DataError, match="column x is no UTF-8") as caught:
        database.load("t")
    assert caught.value.where["column"] == "x"
    assert database.load("t", {"columns": {"x": "binary"}}).rows == [{"id": 1, "x": b"\xff"}]


def test_strict_tables_are_taken_at_their_word(database: Database) -> None:
    database.run("CREATE TABLE t (a INT, b REAL, c TEXT, d BLOB, e ANY) STRICT")
    database.run("INSERT INTO t VALUES (1, 2, '3', x'04', '5')")
    loaded = database.load("t")
    assert loaded.types == {"a": "int64", "b": "double", "c": "string", "d": "binary", "e": "string"}
    assert loaded.rows == [{"a": 1, "b": 2.0, "c": "3", "d": b"\x04", "e": "5"}]


def test_a_database_in_utf_16(tmp_path: Path) -> None:
    database = Database(tmp_path / "wide.sqlite")
    database.run("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('ä😀')")
    assert database.load("t").rows == [{"x": "ä😀"}]
    database.connection.close()


# ---- what there is


def test_tables_of_every_kind(database: Database) -> None:
    database.run(
        """
        CREATE TABLE [select "me"] (id INTEGER PRIMARY KEY, "a b" TEXT, 'c"d' INTEGER);
        INSERT INTO [select "me"] VALUES (7, 'x', 1);
        CREATE TABLE generated (a INTEGER, b AS (a * 2), c TEXT GENERATED ALWAYS AS (a || '!') STORED);
        INSERT INTO generated (a) VALUES (3);
        CREATE TABLE keyed (b INTEGER, a TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        INSERT INTO keyed VALUES (1, 'x');
        CREATE VIEW seen AS SELECT a AS first, a || b AS both FROM keyed;
        CREATE VIRTUAL TABLE words USING fts5(word);
        INSERT INTO words VALUES ('hello');
        """
    )
    source = database.source()
    found = {stream.name: stream for stream in source.streams()}
    assert list(found) == ["generated", "keyed", "seen", 'select "me"', "words"]
    assert found["keyed"].primary_key == ("a", "b")
    assert found['select "me"'].primary_key == ("id",)
    assert found['select "me"'].cursor_candidates == ("id",)
    assert found['select "me"'].rows == 1
    assert found["seen"].rows is None
    assert [s.name for s in source.streams("s*")] == ["seen", 'select "me"']
    assert [s.name for s in source.streams("main.keyed")] == ["keyed"]
    assert database.load('select "me"').rows == [{"id": 7, "a b": "x", 'c"d': 1}]
    assert database.load("generated").rows == [{"a": 3, "b": 6, "c": "3!"}]
    assert database.load("SEEN").rows == [{"first": "x", "both": "x1"}]
    assert database.load("words").rows == [{"word": "hello"}]
    with pytest.raises(QueryError, match="no table or view 'kyed'") as caught:
        source.describe("kyed")
    assert "keyed" in caught.value.hint


def test_a_key_with_nulls_is_no_key(database: Database) -> None:
    database.run("CREATE TABLE t (code TEXT PRIMARY KEY, n INT); INSERT INTO t VALUES ('a', 1)")
    assert database.source().describe("t").primary_key == ("code",)
    database.run("INSERT INTO t VALUES (NULL, 2)")
    assert database.source().describe("t").primary_key == ()


def test_columns_that_change_come_first_among_the_cursors(database: Database) -> None:
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, updated_at TEXT)")
    assert database.source().describe("t").cursor_candidates == ("updated_at", "id")


def test_queries(database: Database) -> None:
    database.run("CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'x'), (3, 'y')")
    counts = "SELECT b, count(*) AS n, sum(a) / 2.0 AS half FROM t GROUP BY b -- done"
    loaded = database.load("counts", query=counts)
    assert loaded.types == {"b": "string", "n": "int64", "half": "double"}
    assert loaded.rows == [{"b": "x", "n": 2, "half": 1.5}, {"b": "y", "n": 1, "half": 1.5}]
    assert database.load("w", query="WITH q AS (SELECT 1 AS one) SELECT * FROM q;").rows == [{"one": 1}]
    assert database.load("c", query="SELECT a, b FROM t", cursor="a", primary_key=("a",)).token is not None
    statements = ("SELECT 1; SELECT 2", "DELETE FROM t", "PRAGMA user_version = 5")
    for bad in ("SELECT nope FROM t", "SELEC 1", *statements):
        with pytest.raises(QueryError) as caught:
            database.load("bad", query=bad)
        assert caught.value.hint
    assert database.run("SELECT count(*) FROM t") == [(3,)]


def test_conditions(database: Database) -> None:
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER)")
    database.run("INSERT INTO t VALUES (1, 5), (2, NULL), (3, 7)")
    options = {"where": "x > 5 -- only these", "exclude_columns": ["x"]}
    assert database.load("t", options).rows == [{"id": 3}]
    assert database.load("t", options, cursor="id", primary_key=("id",)).rows == [{"id": 3}]
    with pytest.raises(QueryError, match="no such column: y"):
        database.load("t", {"where": "y = 1"})
    with pytest.raises(QueryError, match="no column 'y'"):
        database.load("t", {"exclude_columns": ["y"]})


# ---- snapshots, size, trouble


def test_all_of_a_plan_is_one_snapshot(database: Database) -> None:
    database.run("PRAGMA journal_mode = WAL; CREATE TABLE a (x INTEGER); CREATE TABLE b (x INTEGER)")
    database.run("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
    source = database.source()
    selections = [Selection(source.describe(name)) for name in ("a", "b")]
    with source.plan(selections, {}) as plan:
        database.run("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)")
        for split, selection in zip(plan.splits, selections, strict=True):
            assert read_all(source, (split,), selection.stream.schema).to_pylist() == [{"x": 1}]
    assert [row["x"] for row in load(source, "a").rows] == [1, 2]
    source.close()


def test_batches_are_about_as_large_as_asked(database: Database) -> None:
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
    database.connection.executemany("INSERT INTO t (x) VALUES (?)", (("y" * 1000,) for _ in range(3000)))
    source = database.source(batch_bytes=100_000)
    stream = source.describe("t")
    with source.plan([Selection(stream)], {}) as plan:
        batches = list(source.read(plan.splits[0]))
    assert sum(batch.num_rows for batch in batches) == 3000
    assert max(batch.nbytes for batch in batches) < 200_000
    assert sorted(x for batch in batches for x in batch.column(0).to_pylist()) == list(range(1, 3001))


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 79, 80, 81, 2048, 5000])
def test_every_row_comes_once_whatever_the_batch(database: Database, rows: int) -> None:
    database.run("CREATE TABLE t (x INTEGER)")
    database.connection.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(rows)))
    assert [row["x"] for row in database.load("t").rows] == list(range(rows))


def test_a_long_query_is_broken_off(database: Database) -> None:
    cancel = Cancel()
    source = database.source(cancel)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS n FROM n"
    timer = threading.Timer(0.2, cancel.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        source.describe("n", None, endless)
    timer.join()


def test_a_writer_that_holds_the_file(database: Database) -> None:
    database.run("CREATE TABLE t (x INTEGER)")
    database.run("BEGIN EXCLUSIVE")
    with pytest.raises(Unreachable, match="locked") as caught:
        database.source(timeout_seconds=0).check()
    assert caught.value.retryable
    database.run("COMMIT")


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:6000])


def overwritten(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:8192] = b"\xaa" * 4096
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut_off, overwritten])
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    database = Database(tmp_path / "d.sqlite")
    database.run("CREATE TABLE t (x TEXT)")
    database.connection.executemany("INSERT INTO t VALUES (?)", (("y" * 100,) for _ in range(500)))
    database.connection.close()
    damage(database.file)
    with pytest.raises(DataError) as caught:
        database.load("t")
    assert caught.value.hint


def test_files_that_are_none(tmp_path: Path, database: Database) -> None:
    (tmp_path / "text.sqlite").write_text("no database, but long enough to look like one " * 20)
    (tmp_path / "empty.sqlite").touch()
    for name, error, says in (
        ("text.sqlite", DataError, "not a database"),
        ("txt.sqlite", ConfigError, "there is no database file"),
        (".", ConfigError, "is no file"),
        ("no/where.sqlite", ConfigError, "there is no database file"),
    ):
        with pytest.raises(error, match=says) as caught:
            SqliteSource(SqliteConfig(database=str(tmp_path / name))).check()
        assert caught.value.hint
    assert list(SqliteSource(SqliteConfig(database=str(tmp_path / "empty.sqlite"))).streams()) == []


@pytest.mark.parametrize("key", ["database", "path", "file"])
def test_the_names_of_the_file(database: Database, key: str) -> None:
    SqliteSource(SqliteConfig.model_validate({key: str(database.file), "connection_timeout": 5})).check()


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """What makes this process one that may only read below the test's folder, until the test ends."""
    root = os.geteuid() == 0

    def drop() -> None:
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755 if root else 0o555)
        if root:
            os.seteuid(65534)

    yield drop
    if root:
        os.seteuid(0)
    tmp_path.chmod(0o755)


def test_a_read_only_folder(tmp_path: Path, unprivileged: Callable[[], None]) -> None:
    for mode in ("wal", "delete"):
        database = Database(tmp_path / f"{mode}.sqlite")
        database.run(f"PRAGMA journal_mode = {mode}; CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)")
        database.connection.close()
    unprivileged()
    plain = load(SqliteSource(SqliteConfig(database=str(tmp_path / "delete.sqlite"))), "t")
    assert (plain.rows, plain.warnings) == ([{"x": 1}], ())
    wal = load(SqliteSource(SqliteConfig(database=str(tmp_path / "wal.sqlite"))), "t")
    assert wal.rows == [{"x": 1}]
    assert "WAL mode" in wal.warnings[0]


def test_a_file_that_may_not_be_read(tmp_path: Path, unprivileged: Callable[[], None]) -> None:
    database = Database(tmp_path / "closed.sqlite")
    database.run("CREATE TABLE t (x)")
    database.connection.close()
    database.file.chmod(0)
    unprivileged()
    with pytest.raises(Refused) as caught:
        SqliteSource(SqliteConfig(database=str(database.file))).check()
    assert caught.value.hint


def test_a_column_that_vanishes_before_the_plan(database: Database) -> None:
    database.run("CREATE TABLE t (a INTEGER, b INTEGER)")
    source = database.source()
    selection = Selection(source.describe("t"))
    database.run("ALTER TABLE t DROP COLUMN b")
    with pytest.raises(QueryError, match="lost its column b"):
        source.plan([selection], {})


def test_every_error_of_sqlite_is_one_of_ours() -> None:
    names = [
        name for name in vars(sqlite3) if re.match("SQLITE_[A-Z]+$|SQLITE_IOERR_|SQLITE_CANTOPEN_", name)
    ]
    for code in sorted({int(getattr(sqlite3, name)) for name in names}):
        error = sqlite3.OperationalError("told")
        error.sqlite_errorcode = code
        with pytest.raises(AsgardError, match=r"told|cancelled"), connector._translated(stream="t"):
            raise error
