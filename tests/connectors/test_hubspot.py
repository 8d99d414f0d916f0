"""HubSpot: every object once, whatever its server does; types by its properties; the budget kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import asgard
from asgard.connectors.hubspot import HubspotConfig, HubspotSource
from asgard.core.errors import QueryError, Unreachable
from asgard.transport import http_rules
from tests.connectors.reading import load
from tests.servers.hubspot import LIMITED, TYPES, HubSpot

Make = Callable[..., HubspotSource]
CHANGES = {"cursor": "lastmodifieddate", "primary_key": ("id",)}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def hubspot() -> Iterator[HubSpot]:
    with HubSpot(limit=100_000) as running:
        yield running


@pytest.fixture
def source(hubspot: HubSpot) -> Iterator[Make]:
    made: list[HubspotSource] = []

    def make(**config: Any) -> HubspotSource:
        given = {"base_url": hubspot.url, "api_key": hubspot.key, "rate_limit": 100_000, **config}
        made.append(HubspotSource(HubspotConfig.model_validate(given), "crm"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def contacts(hubspot: HubSpot, many: int, begin: int = 1) -> None:
    for number in range(begin, begin + many):
        hubspot.put("contacts", number, email=f"p{number}@example.com", firstname=f"P{number}")


def shown(rows: list[dict[str, Any]]) -> dict[int, tuple[str, bool]]:
    """Id to what tells versions of an object apart; a second one of an id would be seen."""
    assert len({row["id"] for row in rows}) == len(rows)
    return {int(row["id"]): (row["email"], row["archived"]) for row in rows}


def there(hubspot: HubSpot) -> dict[int, tuple[str | None, bool]]:
    things = hubspot.things["contacts"].values()
    return {thing.id: (thing.properties["email"], thing.archived_ms is not None) for thing in things}


def test_the_defaults_are_what_people_configure() -> None:
    config = HubspotConfig.model_validate({"api_key": "x"})
    assert (config.base_url, config.rate_limit, config.rate_seconds) == ("https://api.hubapi.com", 100, 10)
    assert config.sign_in == "bearer"
    streams = config.of_manifest.streams
    assert {name: tuple(stream["properties"]) for name, stream in streams.items()} == {
        "contacts": ("email", "firstname", "lastname", "phone", "company", "lifecyclestage"),
        "deals": ("dealname", "amount", "dealstage", "closedate", "pipeline"),
        "companies": ("name", "domain", "industry", "city", "state", "country"),
        "tickets": ("subject", "content", "hs_ticket_priority", "hs_ticket_category", "hs_resolution"),
    }


@pytest.mark.parametrize("kind", ["contacts", "deals", "companies", "tickets"])
def test_every_kind_of_object(hubspot: HubSpot, source: Make, kind: str) -> None:
    text = next(name for name, type in TYPES[kind].items() if type == "string")
    for number in range(1, 251):
        hubspot.put(kind, number, **{text: f"n{number}"})
    got = load(source(), kind, {"path": f"/crm/v3/objects/{kind}"})
    assert [(row["id"], row[text]) for row in got.rows] == [(str(n), f"n{n}") for n in range(1, 251)]
    assert {stream.name for stream in source().streams("*")} == {"contacts", "deals", "companies", "tickets"}
    assert all(asked.headers["authorization"] == f"Bearer {hubspot.key}" for asked in hubspot.asked)


def test_types_are_those_of_the_properties(hubspot: HubSpot, source: Make) -> None:
    hubspot.put("deals", 1, dealname="a", amount="1500.50", closedate="2026-03-01T10:00:00.5Z")
    hubspot.put("deals", 2, dealname="", amount="", closedate=None)
    hubspot.put("deals", 3, dealname="c", amount="0.000000001", closedate="")
    got = load(source(), "deals")
    assert {name: got.types[name] for name in ("id", "amount", "closedate", "archived", "archivedAt")} == {
        "id": "string", "amount": "decimal128(38, 9)", "closedate": "timestamp[us, tz=UTC]",
        "archived": "bool", "archivedAt": "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert [(row["dealname"], row["amount"], row["closedate"]) for row in got.rows] == [
        ("a", Decimal("1500.500000000"), datetime(2026, 3, 1, 10, 0, 0, 500_000, UTC)),
        ("", None, None),
        ("c", Decimal("0.000000001"), None),
    ]
    hubspot.put("contacts", 1, age="42", vip="true")
    own = load(source(), "people", {"path": "/crm/v3/objects/contacts", "properties": ["age", "vip"]})
    assert (own.rows[0]["age"], own.rows[0]["vip"]) == (Decimal(42), True)
    assert "email" not in own.types
    with pytest.raises(QueryError, match="has no shoe_size"):
        load(source(), "contacts", {"properties": ["shoe_size"]})


def test_archived_objects_say_so(hubspot: HubSpot, source: Make) -> None:
    contacts(hubspot, 5)
    first = load(source(), "contacts", **CHANGES)
    hubspot.archive("contacts", 3)
    then = load(source(), "contacts", since=first.token, **CHANGES)
    assert shown(then.rows)[3] == ("p3@example.com", True)
    assert {row["id"]: row["archivedAt"] is not None for row in then.rows}["3"]
    assert shown(load(source(), "contacts").rows) == there(hubspot)


def test_every_object_once_whatever_happens(hubspot: HubSpot, source: Make) -> None:
    """Errors, drops, limits, pages that overlap, and a token that expires in the middle, twice."""
    contacts(hubspot, 1205)
    for number in range(1, 1205, 100):
        hubspot.archive("contacts", number)
    hubspot.faults = {
        2: "429", 3: "500", 4: "drop", 6: "overlap", 7: "expire", 9: "overlap", 11: "drop", 12: "429",
        13: "500", 15: "expire", 16: "429", 18: "overlap",
    }  # fmt: skip
    oauth = {
        "auth_type": "oauth2", "api_key": None, "token_url": f"{hubspot.url}/oauth/v1/token",
        "client_id": "app", "client_secret": hubspot.key, "refresh_token": "refresh-0",
    }  # fmt: skip
    got = load(source(**oauth), "contacts", primary_key=("id",))
    assert shown(got.rows) == there(hubspot)
    assert hubspot.tokens_given == 3
    assert [asked.path for asked in hubspot.asked].count("/oauth/v1/token") == 3


def test_the_budget_is_kept_over_all_streams(hubspot: HubSpot, source: Make) -> None:
    hubspot.limit, hubspot.seconds = 6, 0.4
    contacts(hubspot, 950)
    for number in range(1, 350):
        hubspot.put("deals", number, dealname=f"d{number}")
    for kind in ("contacts", "deals"):  # sources of their own, as after a failure
        assert len(load(source(rate_limit=6, rate_seconds=0.4), kind).rows) == len(hubspot.things[kind])
    assert len(hubspot.asked) >= 18
    assert hubspot.over_budget == 0


def test_the_daily_limit_ends_the_run(
    hubspot: HubSpot, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    contacts(hubspot, 5)
    monkeypatch.setitem(LIMITED, "policyName", "DAILY")
    hubspot.faults = {1: "429"}
    with pytest.raises(Unreachable, match="DAILY"):
        load(source(), "contacts")
    assert len(hubspot.asked) == 1


def test_more_changes_than_one_search_gives(hubspot: HubSpot, source: Make) -> None:
    contacts(hubspot, 10)
    first = load(source(), "contacts", **CHANGES)
    contacts(hubspot, 10_350, begin=11)
    hubspot.asked.clear()
    then = load(source(), "contacts", since=first.token, **CHANGES)
    assert set(shown(then.rows)) == set(range(10, 10_361))
    searches = [asked.document for asked in hubspot.asked if asked.path.endswith("/search")]
    assert len(searches) == 10_351 // 200 + 2
    assert not any("after" in search for search in searches)


def test_what_changes_while_it_is_read_is_read_the_next_time(hubspot: HubSpot, source: Make) -> None:
    contacts(hubspot, 900)
    tables: dict[int, tuple[str, bool]] = {}
    first = load(source(), "contacts", **CHANGES)
    tables.update(shown(first.rows))
    contacts(hubspot, 900)  # all of them again, with later dates
    searches = 0

    def change(number: int) -> None:
        nonlocal searches
        if hubspot.asked[-1].path.endswith("/search"):
            searches += 1
            if searches == 3:  # behind the page that is being read, and before it
                hubspot.put("contacts", 5, email="changed@example.com")
                hubspot.put("contacts", 890, email="changed-too@example.com")
                hubspot.put("contacts", 2000, email="new@example.com")

    hubspot.before = change
    then = load(source(), "contacts", since=first.token, **CHANGES)
    tables.update(shown(then.rows))
    hubspot.before = None
    last = load(source(), "contacts", since=then.token, **CHANGES)
    tables.update(shown(last.rows))
    assert tables == there(hubspot)


def test_nothing_changed(hubspot: HubSpot, source: Make) -> None:
    contacts(hubspot, 3)
    first = load(source(), "contacts", **CHANGES)
    again = load(source(), "contacts", since=first.token, **CHANGES)
    assert [row["id"] for row in again.rows] == ["3"]  # the bound itself
    assert again.token == first.token
    assert again.schema == first.schema


def test_a_project_as_people_write_it(
    hubspot: HubSpot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged by id, archived ones marked, every run up to date, whatever the mode."""
    monkeypatch.setenv("HUBSPOT_API_KEY", hubspot.key)
    checks = json.loads(files("asgard.app.checks").joinpath("ready_contracts", "hubspot.json").read_text())[
        "contacts"
    ]
    (tmp_path / "asgard.yml").write_text(f"""
data_sources:
  hubspot:
    base_url: "{hubspot.url}"
    api_key: "${{HUBSPOT_API_KEY}}"
    rate_limit: 100
    endpoints:
      - {{name: contacts, path: /crm/v3/objects/contacts, frequency: hourly, mode: merge, primary_key: id,
          cursor: lastmodifieddate, checks: {json.dumps(checks[:4])}}}
      - {{name: all_contacts, path: /crm/v3/objects/contacts, frequency: daily}}
""")
    contacts(hubspot, 250)
    project = asgard.Project(tmp_path)

    def same() -> None:
        project.run()
        for table in ("contacts", "all_contacts"):
            sql = f"SELECT id, email, archived FROM bronze.hubspot.{table}"
            assert shown(project.query(sql, backend="arrow").to_pylist()) == there(hubspot)

    same()
    contacts(hubspot, 5, begin=248)
    hubspot.put("contacts", 7, email="seven@example.com")
    hubspot.archive("contacts", 9)
    same()
    same()
    project.run(full_refresh=True)
    same()
