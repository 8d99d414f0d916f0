"""REST beyond one list: increments, parents, CSV, manifests, pages that shift, and runs that are killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import asgard
from asgard.connectors._api import gathering as _api_gathering
from asgard.connectors._api import spool as _api_spool
from asgard.connectors._api.config import ApiConfig
from asgard.connectors.rest import RestSource
from asgard.core.errors import ConfigError, DataError, PositionLost, SchemaChanged, Unreachable
from asgard.core.stream import Selection
from asgard.testing.connectors import read_all
from tests.connectors.reading import load
from tests.servers.api import Api, Asked, Reply

Make = Callable[..., RestSource]
ROWS = [{"id": number, "at": f"2024-01-01T00:00:{number:02}Z"} for number in range(23)]
CHANGES = {"cursor": "at", "primary_key": ("id",)}


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture
def source(api: Api) -> Iterator[Make]:
    made: list[RestSource] = []

    def make(**config: Any) -> RestSource:
        options = ApiConfig.model_validate({"base_url": api.url, "max_retries": 0, **config})
        made.append(RestSource(options, "tried"))
        return made[-1]

    yield make
    for one in made:
        one.close()


# ---- pages that are found


def paged(rows: list[Any], asked: Asked, name: str, size: int = 10) -> tuple[list[Any], int]:
    begin = int(asked.query.get(name, "0"))
    return rows[begin : begin + size], begin + size


def in_after(asked: Asked) -> Reply:
    rows, end = paged(ROWS, asked, "after")
    return Reply(200, {"results": rows, "paging": {"next": {"after": str(end)}} if end < 23 else {}})


def in_next_cursor(asked: Asked) -> Reply:
    rows, end = paged(ROWS, asked, "cursor")
    return Reply(
        200, {"ok": True, "rows": rows, "response_metadata": {"next_cursor": str(end) if end < 23 else ""}}
    )


def in_page_token(asked: Asked) -> Reply:
    rows, end = paged(ROWS, asked, "pageToken")
    return Reply(200, {"rows": rows, **({"nextPageToken": str(end)} if end < 23 else {})})


def in_numbers(asked: Asked) -> Reply:
    page = int(asked.query.get("page", "1"))
    return Reply(200, {"rows": ROWS[page * 10 - 10 : page * 10], "page": page, "total_pages": 3, "total": 23})


def in_offsets(asked: Asked) -> Reply:
    rows, end = paged(ROWS, asked, "offset")
    return Reply(200, {"rows": rows, "offset": end - 10, "limit": 10, "total": 23})


def below_the_list(asked: Asked) -> Reply:
    rows, end = paged(ROWS, asked, "offset")
    inner = {
        "href": "x",
        "items": rows,
        "next": f"{asked.path}?offset={end}" if end < 23 else None,
        "total": 23,
    }
    return Reply(200, {"message": "popular", "playlists": inner})


@pytest.mark.parametrize(
    "answer", [in_after, in_next_cursor, in_page_token, in_numbers, in_offsets, below_the_list]
)
def test_the_next_page_is_found(api: Api, source: Make, answer: Callable[[Asked], Reply]) -> None:
    api.on("/rows", answer)
    assert load(source(), "rows").rows == ROWS
    assert len(api.asked) == 3


# ---- one page for a look, all pages for a load


def test_a_look_asks_for_one_page(api: Api, source: Make) -> None:
    api.on("/rows", in_after)
    one = source()
    stream = one.describe("rows")
    assert len(api.asked) == 1
    with one.plan([Selection(stream, limit_rows=15)], {}) as plan:
        assert read_all(one, plan.splits, stream.schema).num_rows == 20
        assert len(api.asked) == 2


def test_a_later_value_needs_a_wider_type(api: Api, source: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_spool, "PIECE_ROWS", 2)
    pages = [
        [{"n": 1}, {"n": 2}],
        [{"n": 2.5, "later": True}],
        [{"n": None, "x": "a"}, {"x": {"deep": 1.10}}],
    ]

    def answer(asked: Asked) -> Reply:
        page = int(asked.query.get("page", "1"))
        return Reply(200, {"rows": pages[page - 1], "page": page, "total_pages": 3})

    api.on("/rows", answer)
    one = source()
    assert str(one.describe("rows").schema.field("n").type) == "int64"
    got = load(one, "rows")
    assert got.types == {"n": "decimal128(18, 2)", "later": "bool", "x": "string json"}
    assert [row["n"] for row in got.rows] == [Decimal(1), Decimal(2), Decimal("2.5"), None, None]
    assert [row["x"] for row in got.rows] == [None, None, None, '"a"', '{"deep":1.1}']
    assert (
        len(api.asked) == 4
    )  # three, and the first one again for the plan that was not described just before


def test_pages_that_shift(api: Api, source: Make) -> None:
    """What comes in front pushes records to a later page; what goes away pulls one past us."""
    rows = [{"id": number, "state": "old"} for number in range(30)]
    removed = {"yet": False}

    def answer(asked: Asked) -> Reply:
        begin = int(asked.query["offset"])
        if begin == 10 and not removed["yet"]:
            rows.insert(0, {"id": 99, "state": "new"})
            rows[10] = {"id": 9, "state": "changed"}
        if begin == 20 and not removed["yet"]:
            removed["yet"] = True
            del rows[3]
        return Reply(200, {"rows": rows[begin : begin + 10], "total": len(rows)})

    api.on("/rows", answer)
    got = load(source(), "rows", {"pagination": {"type": "offset", "size": 10}}, primary_key=("id",))
    assert sorted(got.rows, key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])
    assert got.warnings == ()


def test_a_count_that_goes_on_falling_is_told(api: Api, source: Make) -> None:
    totals = iter(range(100, 0, -1))

    def answer(asked: Asked) -> Reply:
        begin = int(asked.query["offset"])
        return Reply(200, {"rows": ROWS[begin : begin + 10], "total": next(totals)})

    api.on("/rows", answer)
    got = load(source(), "rows", {"pagination": {"type": "offset", "size": 10}})
    assert got.rows == ROWS
    assert "taken away while the list was read" in got.warnings[0]


# ---- only what changed


@pytest.mark.parametrize(
    ("incremental", "sent"),
    [
        ({"param": "since"}, "2024-01-01T00:00:22Z"),
        ({"param": "since", "format": "iso"}, "2024-01-01T00:00:22.000Z"),
        ({"param": "since", "format": "unix"}, "1704067222"),
        ({"param": "since", "format": "unix_ms"}, "1704067222000"),
        ({"param": "since", "format": "date"}, "2024-01-01"),
        ({"param": "since", "lag_seconds": 2}, "2024-01-01T00:00:20Z"),
        ({"params": {"since": "after {since}"}}, "after 2024-01-01T00:00:22Z"),
    ],
)
def test_the_bound_goes_to_the_server(api: Api, source: Make, incremental: dict[str, Any], sent: str) -> None:
    api.on("/rows", Reply(200, ROWS))
    options = {"incremental": incremental}
    first = load(source(), "rows", options, **CHANGES)
    assert "since" not in api.asked[0].query
    load(source(), "rows", options, since=first.token, **CHANGES)
    assert api.asked[-1].query["since"] == sent


def test_the_bound_may_stand_in_a_body(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, ROWS))
    options = {
        "method": "POST", "body": {"filter": "all"},
        "incremental": {"body": {"filter": {"from": "{since}", "fields": ["at"]}}},
    }  # fmt: skip
    first = load(source(), "rows", options, **CHANGES)
    load(source(), "rows", options, since=first.token, **CHANGES)
    assert [asked.document for asked in api.asked] == [
        {"filter": "all"}, {"filter": "all"}, {"filter": {"from": "2024-01-01T00:00:22Z", "fields": ["at"]}},
    ]  # fmt: skip


def test_numbers_are_cursors_too(api: Api, source: Make) -> None:
    rows = [{"id": number} for number in (5, 9, 10)]
    api.on(
        "/rows", lambda asked: Reply(200, [r for r in rows if r["id"] >= int(asked.query.get("from", "0"))])
    )
    options = {"incremental": {"param": "from"}}
    first = load(source(), "rows", options, cursor="id")
    rows += [{"id": 10}, {"id": 11}]
    then = load(source(), "rows", options, cursor="id", since=first.token)
    assert then.rows == [{"id": 11}]  # without a key, what is at the bound does not come twice
    keyed = load(source(), "rows", options, cursor="id", primary_key=("id",), since=first.token)
    assert sorted(row["id"] for row in keyed.rows) == [10, 11]


def test_the_bound_is_never_above_the_servers_clock(api: Api, source: Make) -> None:
    """A record that changes behind the page that is being read must not be below the next bound."""
    api.clock = lambda: 1704067210  # 2024-01-01T00:00:10Z
    api.on("/rows", Reply(200, ROWS))
    options = {"incremental": {"param": "since"}}
    first = load(source(), "rows", options, **CHANGES)
    load(source(), "rows", options, since=first.token, **CHANGES)
    assert api.asked[-1].query["since"] == "2024-01-01T00:00:10Z"


def test_what_cannot_be_a_cursor(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, [{"id": 1, "at": {"deep": 1}, "mixed": "x"}, {"id": 2, "mixed": 5}]))
    with pytest.raises(DataError, match="the cursor has the value"):
        load(source(), "rows", {"incremental": {"param": "x"}}, cursor="at")
    with pytest.raises(DataError, match="cannot be compared"):
        load(source(), "rows", {"incremental": {"param": "x"}}, cursor="mixed")
    with pytest.raises(ConfigError, match="cannot be read from a id on") as caught:
        load(source(), "rows", {"incremental": {"param": "x", "cursor": "at"}}, cursor="id")
    assert "cursor: at" in caught.value.hint
    api.on("/texts", Reply(200, [{"id": "b"}]))
    options = {"incremental": {"param": "x", "format": "unix"}}
    first = load(source(), "texts", options, cursor="id")
    with pytest.raises(ConfigError, match="is no time"):
        load(source(), "texts", options, cursor="id", since=first.token)
    with pytest.raises(PositionLost, match="the cursor was 'id'"):
        load(source(), "rows", {"incremental": {"param": "x"}}, cursor="mixed", since=first.token)


def test_a_type_that_the_table_cannot_take_is_refused_by_name(api: Api, source: Make) -> None:
    rows: list[dict[str, Any]] = [{"id": 1, "at": "2024-01-01T00:00:01Z", "n": 1, "rare": True}]
    api.on("/rows", lambda asked: Reply(200, rows))
    options = {"incremental": {"param": "since"}}
    first = load(source(), "rows", options, **CHANGES)
    rows[:] = [{"id": 2, "at": "2024-01-01T00:00:02Z", "n": 2}]
    then = load(source(), "rows", options, since=first.token, **CHANGES)
    assert then.types == first.types  # a name that does not come this time is still a column
    rows[:] = [{"id": 3, "at": "2024-01-01T00:00:03Z", "n": 2.5}]
    with pytest.raises(SchemaChanged, match="int64 does not carry, which n was so far") as caught:
        load(source(), "rows", options, since=then.token, **CHANGES)
    assert "columns: {n: decimal(18, 2)}" in caught.value.hint


# ---- parents, CSV, manifests


def test_children_are_asked_for_each_parent(api: Api, source: Make) -> None:
    first = {"orders": [{"id": "a/b", "n": 1}], "next": "/orders?page=2"}
    second = {"orders": [{"id": "c", "n": 2}]}
    api.on("/orders", lambda asked: Reply(200, second if "page" in asked.query else first))
    api.on("/orders/a%2Fb/lines", in_offsets)
    api.on("/orders/c/lines", Reply(200, {"rows": []}))
    options = {"path": "/orders/{parent.id}/lines", "parent": {"path": "/orders", "include": {"order": "id"}}}
    got = load(source(), "lines", options)
    assert got.rows == [{**row, "order": "a/b"} for row in ROWS]
    missing = {**options, "path": "/orders/{parent.nope}/lines"}
    with pytest.raises(DataError, match="nothing at 'nope'"):
        load(source(), "lines", missing)


def test_csv(api: Api, source: Make) -> None:
    api.on(
        "/rows",
        Reply(200, 'id,name\n007,"a ""b"", c"\n8,\n'.encode("utf-8-sig"), {"Content-Type": "text/csv"}),
    )
    got = load(source(), "rows", {"format": "csv"})
    assert got.types == {"id": "string", "name": "string"}
    assert got.rows == [{"id": "007", "name": 'a "b", c'}, {"id": "8", "name": None}]
    assert load(source(), "rows", {"format": "csv", "columns": {"id": "int64"}}).rows[0]["id"] == 7
    api.on("/rows", Reply(200, b"a,b\n1\n"))
    with pytest.raises(DataError, match=r"line 2 of .* has 1 fields"):
        load(source(), "rows", {"format": "csv"})


MANIFEST = """
description: a shop
source: {rate_limit: 1000, key_header: X-Shop}
defaults: {records: rows, params: {expand: all}}
streams:
  orders: {path: /v2/orders, record_key: [id], columns: {note: text}}
  lines: {path: "/v2/orders/{parent.id}/lines", parent: {stream: orders, include: {order: id}}}
"""


def test_a_manifest_beside_the_project(api: Api, tmp_path: Path) -> None:
    api.on("/v2/orders", Reply(200, {"rows": [{"id": 1}, {"id": 2}]}))
    api.on("/v2/orders/1/lines", Reply(200, {"rows": [{"line": 1}]}))
    api.on("/v2/orders/2/lines", Reply(200, {"rows": [{"line": 2}, {"line": 3}]}))
    (tmp_path / "shop.yml").write_text(MANIFEST)
    (tmp_path / "asgard.yml").write_text(
        json.dumps(
            {
                "lake": {"location": "lake"},
                "data_sources": {
                    "shop": {
                        "type": "rest", "manifest": "shop.yml", "base_url": api.url, "api_key": "k",
                        "endpoints": ["orders", {"name": "lines", "params": {"deep": 1}}],
                    }
                },
            }
        )
    )  # fmt: skip
    project = asgard.Project(tmp_path)
    project.run()

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = project.query(sql, backend="arrow").to_pylist()
        return found

    assert rows("SELECT id, note FROM bronze.shop.orders ORDER BY 1") == [
        {"id": 1, "note": None}, {"id": 2, "note": None},
    ]  # fmt: skip
    assert rows('SELECT line, "order" FROM bronze.shop.lines ORDER BY 1') == [
        {"line": 1, "order": 1}, {"line": 2, "order": 2}, {"line": 3, "order": 2},
    ]  # fmt: skip
    assert {asked.headers["x-shop"] for asked in api.asked} == {"k"}
    lines = [asked.query for asked in api.asked if asked.path.endswith("lines")]
    assert lines[0] == {"expand": "all", "deep": "1"}


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ({"streams": {"orders": {"pagination": {"type": "magic"}}}}, "the manifest's stream orders is wrong"),
        ({"streams": {"orders": {"parent": {"stream": "nope"}}}}, "no stream 'nope'"),
        ({"streams": {"orders": {"params": {"api_key": "x"}}}}, "looks like a secret"),
    ],
)
def test_manifests_that_are_wrong(source: Make, manifest: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        source(manifest=manifest).describe("orders")
    with pytest.raises(ValueError, match="nope"):
        source(manifest={"nope": 1})


# ---- a run that is killed


def test_a_killed_run_goes_on_at_its_page(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_gathering, "STRETCH_ROWS", 10)
    rows = [
        {"id": number, "at": f"2024-01-01T00:{number // 60:02}:{number % 60:02}Z"} for number in range(60)
    ]
    broken = {"at": 35}

    def answer(asked: Asked) -> Reply:
        since = asked.query.get("since", "")
        begin = int(asked.query.get("offset", "0"))
        if begin >= broken["at"]:
            return Reply(403, {"told": "come back later"})
        found = [row for row in rows if str(row["at"]) >= since]
        return Reply(200, {"rows": found[begin : begin + 5]})

    api.on("/rows", answer)
    table = {
        "name": "rows", "mode": "merge", "primary_key": "id", "cursor": "at",
        "pagination": {"type": "offset", "size": 5}, "incremental": {"param": "since"},
    }  # fmt: skip
    (tmp_path / "asgard.yml").write_text(
        json.dumps({"data_sources": {"shop": {"type": "rest", "base_url": api.url, "tables": [table]}}})
    )
    project = asgard.Project(tmp_path)
    with pytest.raises(asgard.Refused, match="come back later"):
        project.run()
    seen = "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM bronze.shop.rows"
    assert project.query(seen, backend="arrow").to_pylist() == [{"n": 30, "ids": 30}]
    broken["at"] = 1000
    rows[3] = {"id": 3, "at": "2024-01-01T00:01:30Z"}  # changed behind the page that comes next
    api.asked.clear()
    project.run()
    offsets = [int(asked.query["offset"]) for asked in api.asked if "since" not in asked.query]
    assert offsets[0] == 0  # the look at the columns
    assert min(offsets[1:]) == 30
    project.run()
    everything = 'SELECT id, "at" FROM bronze.shop.rows ORDER BY id'
    assert project.query(everything, backend="arrow").to_pylist() == rows


def test_what_was_tried_is_not_tried_again_by_the_run(api: Api, tmp_path: Path) -> None:
    api.on("/rows", Reply(503))
    (tmp_path / "asgard.yml").write_text(
        json.dumps(
            {
                "data_sources": {
                    "shop": {"type": "rest", "base_url": api.url, "max_retries": 1, "tables": ["rows"]}
                }
            }
        )
    )
    with pytest.raises(Unreachable, match="after 2 attempts"):
        asgard.Project(tmp_path).run()
    assert len(api.asked) == 2


def test_a_page_to_go_on_with_has_no_secret(api: Api, source: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_gathering, "STRETCH_ROWS", 5)

    def answer(asked: Asked) -> Reply:
        assert asked.query["key"] == "canary-70aa"
        begin = int(asked.query.get("begin", "0"))
        following = f"/rows?key={asked.query['key']}&begin={begin + 5}" if begin < 15 else None
        return Reply(200, {"rows": ROWS[begin : begin + 5], "next": following})

    api.on("/rows", answer)
    config = {"api_key": "canary-70aa", "key_param": "key"}
    options = {"incremental": {"param": "since"}}
    first = load(source(**config), "rows", options, **CHANGES)
    assert first.token is not None
    assert "canary" not in first.token
    then = load(source(**config), "rows", options, since=first.token, **CHANGES)
    assert [row["id"] for row in (*first.rows, *then.rows)] == list(range(10))
