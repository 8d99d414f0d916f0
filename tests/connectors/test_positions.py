"""Positions that earlier versions wrote still open, and are still written to the letter (Promise 10)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgard.connectors._mysql import cursor as mysql
from asgard.connectors._postgres import cursor as postgres
from asgard.core.errors import PositionLost
from asgard.transport.sql_plan import CursorMark
from tests.connectors.databases import Database

WRITTEN: dict[str, CursorMark] = {
    '{"bound": "2024-02-29 12:34:56.789012+00", "cursor": "updated_at", "files": {"16385": 16390}, '
    '"format": 1, "left_above": false, "oid": 16385, "pages": null, "system": "7301234567890123456", '
    '"type": "timestamp with time zone", "xmin": 5000}': postgres.Mark(
        cursor="updated_at", type="timestamp with time zone", bound="2024-02-29 12:34:56.789012+00",
        system="7301234567890123456", oid=16385, xmin=5000, files={"16385": 16390},
    ),
    '{"bound": null, "cursor": "id", "files": {}, "format": 1, "left_above": true, "oid": 0, '
    '"pages": {"16385": [0, 64]}, "system": "", "type": "bigint", "xmin": null}': postgres.Mark(
        cursor="id", type="bigint", bound=None, system="", oid=0, xmin=None, pages={"16385": [0, 64]},
        left_above=True,
    ),
    '{"bound": "2024-02-29 12:34:56.789", "cursor": "at", "format": 1, "left_above": false, '
    '"ranges": [1, 500], "type": "datetime"}': mysql.Mark(
        cursor="at", type="datetime", bound="2024-02-29 12:34:56.789", ranges=[1, 500]
    ),
    '{"bound": null, "cursor": "id", "format": 1, "left_above": true, "ranges": null, "type": "bigint"}':
        mysql.Mark(cursor="id", type="bigint", bound=None, left_above=True),
    '{"bound": "17", "cursor": "id", "format": 1, "type": "bigint"}': CursorMark("id", "bigint", "17"),
}  # fmt: skip
"""Tokens to the letter, and what they say; the last is Redshift's."""


@pytest.mark.parametrize("token", WRITTEN)
def test_tokens_are_read_and_written_as_ever(token: str) -> None:
    mark = WRITTEN[token]
    assert type(mark).read(token) == mark
    assert mark.token() == token
    assert type(mark).read_of(token, mark.cursor, mark.type) == mark
    with pytest.raises(PositionLost, match=rf"is of cursor {mark.cursor} .*, wanted is other \(text\)"):
        type(mark).read_of(token, "other", "text")


NEWER = '{"format": 2, "cursor": "id", "type": "bigint", "bound": "1"}'


@pytest.mark.parametrize("kind", [postgres.Mark, mysql.Mark, CursorMark])
@pytest.mark.parametrize("token", ["", "[]", "{}", '{"format": 1}', NEWER])
def test_tokens_of_others_and_of_newer_versions_are_refused(kind: type[CursorMark], token: str) -> None:
    with pytest.raises(PositionLost, match="the position is none of this version") as lost:
        kind.read(token)
    assert "asgard resync" in lost.value.hint


def test_sqlites_tokens_are_read_and_written_as_ever(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite")
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
    old = '{"cursor": "id", "format": 1, "kind": "integer", "value": "2"}'
    later = database.load("t", cursor="id", primary_key=("id",), since=old)
    assert [row["id"] for row in later.rows] == [2, 3]
    written = json.loads(later.token or "")
    assert {key: written[key] for key in json.loads(old)} == {**json.loads(old), "value": "3"}
    database.connection.close()
