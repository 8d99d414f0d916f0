"""Every kind of JSON value that an API answers: what arrives, as what it can be had, what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from asgard.connectors._api.config import ApiConfig
from asgard.connectors.rest import RestSource
from asgard.core.errors import DataError
from tests.connectors.reading import Loaded, load
from tests.connectors.rest_types import CASES, WISHED
from tests.connectors.type_pages import Case, Wished, told
from tests.servers.api import Api, Reply


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


def loaded(api: Api, values: Sequence[str], **options: Any) -> Loaded:
    body = ", ".join(f'{{"x": {value}}}' for value in values)
    api.on("/rows", Reply(200, f"[{body}]".encode()))
    source = RestSource(ApiConfig.model_validate({"base_url": api.url, "max_retries": 0}), "tried")
    try:
        return load(source, "rows", options)
    finally:
        source.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name or case.given[0][:20])
def test_every_value_arrives_as_it_was(api: Api, case: Case) -> None:
    got = loaded(api, case.given)
    assert got.types == {"x": f"{case.arrow} {case.label}".strip()}
    assert told(row["x"] for row in got.rows) == told(case.wanted)


@pytest.mark.parametrize("wish", WISHED, ids=lambda wish: wish.word)
def test_types_that_are_asked_for(api: Api, wish: Wished) -> None:
    got = loaded(api, [value for value, _ in wish.taken], columns={"x": wish.word})
    assert told(row["x"] for row in got.rows) == told(arrived for _, arrived in wish.taken)
    for value, says in wish.refused:
        with pytest.raises(DataError, match=says) as caught:
            loaded(api, [value], columns={"x": wish.word})
        assert caught.value.where["column"] == "x"
