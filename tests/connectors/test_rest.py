"""REST: all pages and nothing twice, whatever the API's way of paging; types over all of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from asgard.connectors._api import spool as _api_spool
from asgard.connectors._api.config import ApiConfig
from asgard.connectors._api.options import ApiStreamOptions
from asgard.connectors.rest import RestSource
from asgard.core.errors import AuthenticationError, ConfigError, DataError, QueryError
from asgard.core.stream import Selection
from asgard.testing.connectors import read_all
from tests.connectors.reading import load
from tests.servers.api import Api, Asked, Reply

SECRET = "canary-55d1e0"
ROWS = [{"id": number, "name": f"n{number}"} for number in range(23)]


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture
def source(api: Api) -> Iterator[Callable[..., RestSource]]:
    made: list[RestSource] = []

    def make(**config: Any) -> RestSource:
        options = ApiConfig.model_validate({"base_url": api.url, "max_retries": 0, **config})
        made.append(RestSource(options, "tried"))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., RestSource]


def paged(asked: Asked, size: int) -> tuple[list[Any], int]:
    page = int(asked.query.get("page", "1"))
    return ROWS[(page - 1) * size : page * size], page


def by_link(asked: Asked) -> Reply:
    rows, page = paged(asked, 10)
    link = f'<{asked.path}?page={page + 1}>; rel="next", <{asked.path}>; rel="first"'
    return Reply(200, rows, {"Link": link} if len(rows) == 10 else {})


def by_url(path: str) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        rows, page = paged(asked, 10)
        following: Any = f"{asked.path}?page={page + 1}" if len(rows) == 10 else None
        for key in reversed(path.split(".")):
            following = {key: following}
        return Reply(200, {"items": rows, **following})

    return answer


def by_number(asked: Asked) -> Reply:
    size = min(int(asked.query.get("per_page", "5")), 10)  # a server has its own most
    return Reply(200, {"items": paged(asked, size)[0], "pages": -(-len(ROWS) // size)})


def by_number_until_404(asked: Asked) -> Reply:
    rows = paged(asked, 10)[0]
    return Reply(200, rows) if rows else Reply(404, {"error": "no such page"})


def by_offset(asked: Asked) -> Reply:
    offset, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), 7)
    return Reply(200, {"items": ROWS[offset : offset + limit], "total": len(ROWS)})


def by_mark(asked: Asked) -> Reply:
    begin = int(asked.query.get("after", "0"))
    mark = str(begin + 9) if begin + 9 < len(ROWS) else ""
    return Reply(200, {"items": ROWS[begin : begin + 9], "meta": {"next": {"cursor": mark}}})


def by_mark_in_a_body(asked: Asked) -> Reply:
    begin = int(asked.document.get("after") or 0)
    mark = begin + 9 if begin + 9 < len(ROWS) else None
    assert asked.document["filter"] == "all"
    return Reply(200, {"items": ROWS[begin : begin + 9], "after": mark})


@pytest.mark.parametrize(
    ("answer", "options", "requests"),
    [
        (by_link, {}, 3),
        (by_link, {"pagination": {"type": "link"}}, 3),
        (by_url("next"), {}, 3),
        (by_url("links.next"), {}, 3),
        (by_url("_links.next.href"), {}, 3),
        (by_url("@odata.nextLink"), {}, 3),
        (by_url("where.it.goes.on"), {"pagination": {"type": "next_url", "path": "where.it.goes.on"}}, 3),
        (by_number, {"pagination": {"type": "page"}}, 6),
        (by_number, {"pagination": {"type": "page", "total_pages": "pages"}}, 5),
        (by_number, {"pagination": {"type": "page", "size_param": "per_page", "size": 100}}, 4),
        (by_number_until_404, {"pagination": {"type": "page"}}, 4),
        (by_offset, {"pagination": {"type": "offset"}}, 5),
        (by_mark, {"pagination": {"type": "cursor", "path": "meta.next.cursor", "param": "after"}}, 3),
        (by_mark_in_a_body, {"method": "post", "body": {"filter": "all"},
                             "pagination": {"type": "cursor", "path": "after", "param": "after"}}, 3),
    ],
)  # fmt: skip
def test_all_pages_come_once(
    api: Api, source: Make, answer: Any, options: dict[str, Any], requests: int
) -> None:
    api.on("/rows", answer)
    got = load(source(), "rows", options)
    assert got.rows == ROWS
    assert got.types == {"id": "int64", "name": "string"}
    assert len(api.asked) == requests


@pytest.mark.parametrize(
    ("answer", "options", "says"),
    [
        (Reply(200, ROWS[:5]), {"pagination": {"type": "page"}}, "page 2 is the same as page 1"),
        (Reply(200, {"items": ROWS[:5]}), {"pagination": {"type": "offset"}}, "page 2 is the same as page 1"),
        (Reply(200, {"items": ROWS[:5], "next": "/rows?again"}), {}, "page 2 is the same as page 1"),
        (Reply(200, {"items": ROWS[:5], "has_more": True}), {}, "has 5 records and says that there are more"),
        (Reply(200, {"items": ROWS[:5], "next_page": 2}), {}, "page 2 is the same as page 1"),
        (Reply(200, {"items": ROWS[:5], "paging": {"next": {"after": "x"}}}), {}, "page 2 is the same as"),
        (Reply(200, {"items": ROWS[:5], "total": 23}), {}, r"says that there are more \(total: 23\)"),
        (
            Reply(200, b"<html>sign in</html>", {"Content-Type": "text/html"}),
            {},
            "no JSON .text/html.: <html>sign in",
        ),
        (Reply(200, b'[{"a": 1}, {"a'), {}, "no JSON"),
        (Reply(200, []), {}, "has no records"),
        (Reply(200, {"items": []}), {}, "has no records"),
    ],
)
def test_answers_that_are_not_all(
    api: Api, source: Make, answer: Reply, options: dict[str, Any], says: str
) -> None:
    api.on("/rows", answer)
    with pytest.raises(DataError, match=says) as caught:
        load(source(), "rows", options)
    assert caught.value.hint


def test_one_page_can_be_all_that_is_wanted(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, {"items": ROWS[:5], "total": 23, "next": "/rows?page=2"}))
    assert load(source(), "rows", {"pagination": {"type": "none"}}).rows == ROWS[:5]


@pytest.mark.parametrize(
    ("document", "records", "rows"),
    [
        ([{"a": 1}], None, [{"a": 1}]),
        ({"a": 1, "b": {"c": 2}}, None, [{"a": 1, "b": '{"c":2}'}]),
        ({"data": {"items": [{"a": 1}]}, "tags": ["x"]}, None, [{"a": 1}]),
        ({"a": [{"x": 1}], "b": [{"y": 2}]}, "b", [{"y": 2}]),
        ({"a": {"b": {"x": 1}}}, "a.b", [{"x": 1}]),
        ([1, 2], None, [{"value": 1}, {"value": 2}]),
    ],
)
def test_where_records_are(
    api: Api, source: Make, document: Any, records: str | None, rows: list[Any]
) -> None:
    api.on("/rows", Reply(200, document))
    assert load(source(), "rows", {"records": records}).rows == rows


def test_records_that_are_not_where_they_should_be(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, {"a": [{"x": 1}], "b": [{"y": 2}]}))
    with pytest.raises(QueryError, match="several lists of records: a, b"):
        load(source(), "rows")
    with pytest.raises(QueryError, match="nothing at 'c'"):
        load(source(), "rows", {"records": "c"})
    api.on("/null", Reply(200, {"a": None}))
    assert load(source(), "null", {"records": "a", "columns": {"x": "int64"}}).rows == []


def test_types_are_proved_over_all_pages(api: Api, source: Make) -> None:
    pages = [
        {"items": [{"n": 1, "x": 1, "big": 123456789012345678901234567890}], "next": "/rows?page=2"},
        {"items": [{"n": 2.5, "x": "one", "t": "2024-01-01T10:00:00+02:00"}]},
    ]
    api.on("/rows", lambda asked: Reply(200, pages[int(asked.query.get("page", "1")) - 1]))
    got = load(source(), "rows", {"columns": {"t": "timestamptz"}})
    assert got.types == {
        "n": "decimal128(18, 2)", "x": "string json", "big": "decimal128(38, 0)",
        "t": "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert got.rows == [
        {"n": Decimal("1.00"), "x": "1", "big": Decimal("123456789012345678901234567890"), "t": None},
        {"n": Decimal("2.50"), "x": '"one"', "big": None, "t": datetime(2024, 1, 1, 8, tzinfo=UTC)},
    ]
    without = load(source(), "rows", {"exclude_columns": ["x", "big", "t"]})
    assert without.types == {"n": "decimal128(18, 2)"}


def test_nothing_yet_with_columns_is_an_empty_table(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, []))
    got = load(source(), "rows", {"columns": {"id": "int64"}})
    assert (got.types, got.rows) == ({"id": "int64"}, [])
    api.on("/rows", Reply(200, [{"x": 1}]))
    with pytest.raises(QueryError, match="no column 'id'"):
        load(source(), "rows", {"columns": {"id": "int64"}})


def test_what_was_fetched_is_not_fetched_again(
    api: Api, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_api_spool, "MEMORY_BYTES", 100)  # into a file
    api.on("/rows", by_link)
    one = source()
    stream = one.describe("rows")
    with one.plan([Selection(stream)], {}) as plan:
        assert read_all(one, plan.splits, stream.schema).to_pylist() == ROWS
        assert read_all(one, plan.splits, stream.schema).to_pylist() == ROWS
        assert len(api.asked) == 3
        travelled = pickle.loads(pickle.dumps(plan.splits))
    assert read_all(source(), travelled, stream.schema).to_pylist() == ROWS
    assert len(api.asked) == 6


@pytest.mark.parametrize(
    ("config", "header", "value"),
    [
        ({"auth_token": SECRET}, "authorization", f"Bearer {SECRET}"),
        ({"auth_type": "bearer", "token": SECRET}, "authorization", f"Bearer {SECRET}"),
        ({"username": "u", "password": SECRET}, "authorization", "Basic dTpjYW5hcnktNTVkMWUw"),
        ({"api_key": SECRET}, "x-api-key", SECRET),
        ({"auth_type": "api_key", "auth_token": SECRET, "key_header": "X-Key"}, "x-key", SECRET),
        ({"headers": {"X-Own": SECRET}}, "x-own", SECRET),
        ({"api_key": SECRET, "key_param": "key"}, "?key", SECRET),
        ({"params": {"api_key": SECRET}}, "?api_key", SECRET),
        ({"auth_type": "none", "auth_token": SECRET}, "authorization", None),
        ({}, "authorization", None),
    ],
)
def test_signing_in(api: Api, source: Make, config: dict[str, Any], header: str, value: str | None) -> None:
    api.on("/rows", by_url("next"))
    api.on("/no", lambda asked: Reply(401, {"told": dict(asked.headers), "asked": dict(asked.query)}))
    one = source(**config)
    assert load(one, "rows").rows == ROWS
    for asked in api.asked:
        got = asked.query.get(header[1:]) if header.startswith("?") else asked.headers.get(header)
        assert got == value
    with pytest.raises(AuthenticationError) as caught:
        one.describe("no")
    secret_header = header not in ("x-own",)
    if secret_header:
        assert SECRET not in str(caught.value)
    assert SECRET not in repr(one.config) + str(one.config) + one.config.model_dump_json().replace(
        SECRET if "params" in config else "\0", ""
    )


@pytest.mark.parametrize(
    "config",
    [
        {"auth_type": "bearer"}, {"auth_type": "basic"}, {"auth_type": "api_key"}, {"auth_type": "oauth"},
        {"timeout_seconds": 0}, {"rate_limit": 0}, {"max_retries": -1}, {"base_url": ""}, {"nope": 1},
    ],
)  # fmt: skip
def test_configurations_that_are_none(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ApiConfig.model_validate({"base_url": "https://x", **config})


def test_secrets_do_not_belong_to_tables() -> None:
    for options in ({"params": {"api_key": "x"}}, {"body": {"password": "x"}}):
        with pytest.raises(ValueError, match="looks like a secret"):
            ApiStreamOptions.model_validate(options)
    assert ApiStreamOptions.model_validate({"params": {"page_token": "", "key_id": 5}}).params["key_id"] == 5


def test_checking(api: Api, source: Make) -> None:
    source().check()  # 404: most APIs have nothing at their base
    api.on("/v1", Reply(401))
    with pytest.raises(AuthenticationError):
        source(base_url=f"{api.url}/v1").check()
    assert list(source().streams()) == []
    api.on("/rows", Reply(200, ROWS))
    assert [stream.name for stream in source().streams("rows")] == ["rows"]


def test_what_a_rest_source_cannot_do(api: Api, source: Make) -> None:
    api.on("/rows", Reply(200, ROWS))
    with pytest.raises(ConfigError, match="cannot be read from a id on") as caught:
        load(source(), "rows", cursor="id")
    assert "merge" in caught.value.hint
    with pytest.raises(ConfigError, match="takes no query"):
        source().describe("rows", None, "SELECT 1")
    with pytest.raises(QueryError, match="not found"):
        load(source(), "nope")
