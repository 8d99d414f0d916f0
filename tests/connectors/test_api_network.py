"""A network that fails between us and an API: every record once, after as many tries as are allowed, or an
error that says nobody answered; never a row too few or too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asgard.connectors._api.config import ApiConfig
from asgard.connectors.hubspot import HubspotConfig, HubspotSource
from asgard.connectors.rest import RestSource
from asgard.core.errors import Unreachable
from asgard.transport import http_rules
from tests.connectors.reading import load
from tests.servers.api import Api, Asked, Reply
from tests.servers.faults import Fault, FaultyNetwork, faulty_network
from tests.servers.hubspot import HubSpot

ROWS = [{"id": number, "text": f"row {number} " + "x" * 200} for number in range(1, 1001)]
PAGE_ROWS = 100
PLACES = (0, 1, 90, 400, 15_000, 30_001, 100_003)
"""In the status line, in the headers, in the first record, in the middle of pages."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)


def port_of(api: Api) -> int:
    return int(api.url.rpartition(":")[2])


def by_link(asked: Asked) -> Reply:
    page = int(asked.query.get("page", "1"))
    rows = ROWS[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    link = f'<{asked.path}?page={page + 1}>; rel="next"'
    return Reply(200, rows, {"Link": link} if page * PAGE_ROWS < len(ROWS) else {})


@pytest.fixture
def network() -> Iterator[FaultyNetwork]:
    """Before an API with a list of ten pages."""
    with Api() as api:
        api.on("/rows", by_link)
        with faulty_network("127.0.0.1", port_of(api)) as made:
            yield made


def loaded(network: FaultyNetwork, retries: int = 8) -> list[dict[str, Any]]:
    """All rows through the network."""
    url = f"http://{network.host}:{network.port}"
    config = {"base_url": url, "max_retries": retries, "timeout_seconds": 1}
    source = RestSource(ApiConfig.model_validate(config), "tried")
    try:
        return load(source, "rows").rows
    finally:
        source.close()


@pytest.mark.parametrize("at_byte", PLACES)
@pytest.mark.parametrize("make", [Fault.cut, Fault.reset, Fault.half_open], ids=lambda make: make.__name__)
def test_answers_that_break_off_are_asked_for_again(
    network: FaultyNetwork, make: Callable[[int], Fault], at_byte: int
) -> None:
    network.arm(make(at_byte), times=2)
    assert loaded(network) == ROWS
    assert network.fired == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault.drip(for_bytes=2_000, at_byte=20_000),
        Fault.drip(for_bytes=50, seconds=0.01),
        Fault.delay(0.02, for_bytes=100_000, at_byte=5_000),
        Fault.delay(0.05).towards_server(),
    ],
    ids=lambda fault: fault.kind,
)
def test_answers_that_come_slowly_come_whole(network: FaultyNetwork, fault: Fault) -> None:
    network.arm(fault)
    assert loaded(network) == ROWS
    assert network.fired


@pytest.mark.parametrize("at_byte", [0, 10, 60])
def test_requests_that_break_off_are_made_again(network: FaultyNetwork, at_byte: int) -> None:
    network.arm(Fault.reset(at_byte).towards_server(), times=2)
    assert loaded(network) == ROWS
    assert network.fired == 2


@pytest.mark.parametrize("make", [Fault.cut, Fault.reset, Fault.half_open], ids=lambda make: make.__name__)
def test_a_network_that_never_heals_is_told(network: FaultyNetwork, make: Callable[[int], Fault]) -> None:
    network.arm(make(15_000))
    with pytest.raises(Unreachable) as told:
        loaded(network, retries=1)
    assert told.value.hint
    assert f"{network.host}:{network.port}" in str(told.value)
    network.heal()
    assert loaded(network) == ROWS


@pytest.fixture
def hubspot() -> Iterator[HubSpot]:
    with HubSpot(limit=100_000) as running:
        for number in range(1, 501):
            running.put("contacts", number, email=f"p{number}@example.com", firstname="x" * 100)
        for number in range(1, 50):
            running.archive("contacts", number)
        yield running


@pytest.mark.parametrize("at_byte", [0, 400, 30_001])
@pytest.mark.parametrize("make", [Fault.cut, Fault.reset, Fault.half_open], ids=lambda make: make.__name__)
@pytest.mark.parametrize("incremental", [False, True], ids=["list", "search"])
def test_every_contact_comes_once(
    hubspot: HubSpot, make: Callable[[int], Fault], at_byte: int, incremental: bool
) -> None:
    """By lists, and by searches, whose requests are POSTs that change nothing and may be made again."""
    how: dict[str, Any] = {"cursor": "lastmodifieddate", "primary_key": ("id",)} if incremental else {}
    with faulty_network("127.0.0.1", port_of(hubspot)) as network:
        source = hubspot_source(hubspot, network)
        since = None
        if incremental:
            since = load(source, "contacts", **how).token
            for number in range(200, 401):
                hubspot.put("contacts", number, email=f"new{number}@example.com")
        network.cut_all()
        network.arm(make(at_byte), times=2)
        rows = load(source, "contacts", since=since, **how).rows
        source.close()
    found = {int(row["id"]): (row["email"], row["archived"]) for row in rows}
    assert len(found) == len(rows)
    things = hubspot.things["contacts"].values()
    there = {thing.id: (thing.properties["email"], thing.archived_ms is not None) for thing in things}
    assert {id: seen for id, seen in found.items() if there[id] != seen} == {}
    assert set(found) >= (set(range(200, 401)) if incremental else set(there))


def hubspot_source(hubspot: HubSpot, network: FaultyNetwork) -> HubspotSource:
    url = f"http://{network.host}:{network.port}"
    config = {
        "base_url": url,
        "api_key": hubspot.key,
        "rate_limit": 100_000,
        "timeout_seconds": 1,
        "max_retries": 8,
    }
    return HubspotSource(HubspotConfig.model_validate(config), "crm")
