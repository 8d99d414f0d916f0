"""Lists in pages while others write, and events that are asked for again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.callers import Caller
from tests.api.test_nouns import events_of


def pages(caller: Caller, path: str, between: Callable[[list[Any]], None], **asked: Any) -> list[Any]:
    """The whole list, two at a time, with something done between the pages."""
    seen: list[Any] = []
    cursor: str | None = None
    while True:
        page = caller.get(path, limit=2, **asked, **({"cursor": cursor} if cursor else {}))
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            return seen
        assert len(page["items"]) == 2
        between(seen)


def test_new_sources_come_at_the_end(caller: Caller) -> None:
    made = [caller.datasource(f"s{number}") for number in range(5)]
    late: list[str] = []

    def add(seen: list[Any]) -> None:
        if len(late) < 2:
            late.append(caller.datasource(f"late{len(late)}"))

    assert [one["id"] for one in pages(caller, "/datasource", add)] == made + late


@pytest.mark.parametrize("kind", ["datasource", "sink"])
def test_what_is_taken_away_meanwhile_ends_no_list(caller: Caller, kind: str) -> None:
    make = caller.datasource if kind == "datasource" else lambda name: caller.sink(name, name)
    made = [make(f"s{number}") for number in range(6)]

    def remove_the_last_that_was_seen(seen: list[Any]) -> None:
        assert caller.client.delete(f"/{kind}/{seen[-1]['id']}").status_code == 200

    assert [one["id"] for one in pages(caller, f"/{kind}", remove_the_last_that_was_seen)] == made


def test_new_jobs_are_before_the_first_page(caller: Caller) -> None:
    made = [caller.post("/runs", priority=number)["job"] for number in range(5)]
    found = pages(caller, "/jobs", lambda seen: caller.post("/runs"))
    assert sorted(one["job"] for one in found if one["job"] in made) == sorted(made)
    assert len({one["job"] for one in found}) == len(found)


@pytest.mark.parametrize("cursor", ["nonsense", "_", "1e999", "nan_x", "\x00"])
def test_a_cursor_of_somebody_else_is_no_mistake_of_the_server(caller: Caller, cursor: str) -> None:
    for path in ("/datasource", "/sink", "/ingestion", "/jobs", "/runs", "/tables", "/sources"):
        assert caller.client.get(path, params={"cursor": cursor}).status_code in (200, 422)
    caller.refused("GET", "/sink?cursor=nonsense", 422)


def test_events_go_on_behind_the_last_that_was_heard(caller: Caller) -> None:
    caller.post("/runs")
    caller.done()
    (run,) = caller.get("/runs")["items"]
    path = f"/runs/{run['run']}/events"
    whole = caller.client.get(path).text
    told = events_of(whole)
    for heard in (0, 1, len(told) - 1, len(told)):
        again = caller.client.get(path, headers={"Last-Event-ID": str(heard)}).text
        assert (events_of(again) if again else []) == told[heard:]
        assert whole.endswith(again)
    caller.refused("GET", "/runs/nothing/events", 404)
    assert caller.client.get(path, headers={"Last-Event-ID": "x"}).status_code == 422
