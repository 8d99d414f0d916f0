"""`asgard config explain`: where a value was looked up, in which order, and what won."""

from __future__ import annotations

import json

import pytest

from asgard.app.config.explain import Explanation, explain
from asgard.core.errors import ConfigError
from tests.app.own_connectors import Folder

BASE = """
lake: {location: lake}
data_sources:
  shop:
    type: rowstore
    frequency: daily
    connection: {host: localhost, dbname: "${DB:-shop}", username: "${SHOP_USER}", password: "${SHOP_PW}"}
    timeout_seconds: 5
    defaults: {mode: append}
    tables:
      - orders
      - {name: public.items, cursor: day, primary_key: id, mode: merge, tags: 5}
"""
OVERLAY = """
data_sources:
  shop:
    connection: {host: db.example}
    tables: [{name: orders, mode: replace}, {name: public.items, cursor: null}]
"""


@pytest.fixture(autouse=True)
def files(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(BASE)
    folder.write(OVERLAY, "asgard.prod.yml")
    folder.write("SHOP_PW=canary\n\nSHOP_USER=ann\n", ".env")
    monkeypatch.setenv("SHOP_USER", "bob")
    for name in ("DB", "SHOP_PW"):
        monkeypatch.delenv(name, raising=False)


def asked(explanation: Explanation) -> list[tuple[str, str, bool]]:
    return [(answer.place, answer.written, answer.won) for answer in explanation.answers]


def test_an_overlay_goes_before_the_base_before_the_default(folder: Folder) -> None:
    key = "data_sources.shop.connection.host"
    assert explain(folder.path, key).value == "localhost"
    explanation = explain(folder.path, key, "prod")
    assert explanation.value == "db.example"
    assert asked(explanation) == [
        ("asgard.prod.yml:4:24", "db.example", True),
        ("asgard.yml:7:24", "localhost", False),
        ("default", "", False),
    ]


def test_a_default_wins_where_nobody_says_it(folder: Folder) -> None:
    explanation = explain(folder.path, "data_sources.shop.connection.port")
    assert (explanation.value, asked(explanation)) == (
        "5439",
        [("asgard.yml", "", False), ("default", "5439", True)],
    )
    assert explain(folder.path, "lake.format").value == "delta"
    assert explain(folder.path, "memory").value == "1000000000"
    assert explain(folder.path, "name").value == folder.path.name
    assert int(explain(folder.path, "parallel").value or 0) in (1, 2, 3, 4)


def test_every_place_that_a_reference_was_looked_up_in(folder: Folder) -> None:
    user = explain(folder.path, "data_sources.shop.connection.username")
    password = explain(folder.path, "data_sources.shop.connection.password")
    database = explain(folder.path, "data_sources.shop.connection.dbname")
    assert (user.value, password.value, database.value) == ("bob", "**********", "shop")
    assert (user.secret, password.secret) == (False, True)
    looked = [[(look.place, look.found) for look in e.answers[0].lookups] for e in (user, password, database)]
    assert looked == [
        [("environment variable SHOP_USER", True)],
        [("environment variable SHOP_PW", False), (".env:1", True)],
        [("environment variable DB", False), (".env", False), ("default in the reference", True)],
    ]
    assert password.answers[0].written == "${SHOP_PW}"
    assert database.answers[0].written == "${DB:-...}"


def test_a_key_is_found_under_every_name_that_it_may_have(folder: Folder) -> None:
    for key in ("connection.dbname", "connection.database", "database", "dbname"):
        assert explain(folder.path, f"data_sources.shop.{key}").value == "shop"
    for key in ("timeout_seconds", "connection.connection_timeout", "connection.timeout_seconds"):
        explanation = explain(folder.path, f"data_sources.shop.{key}")
        assert (explanation.value, explanation.answers[-2].place) == ("5", "asgard.yml:8:22")


@pytest.mark.parametrize(
    ("key", "value", "won"),
    [
        ("tables.orders.mode", "append", "data_sources.shop.defaults.mode"),
        ("tables[0].mode", "append", "data_sources.shop.defaults.mode"),
        ("tables.public.items.mode", "merge", "data_sources.shop.tables.public.items.mode"),
        ("tables.public.items.cursor", "day", "data_sources.shop.tables.public.items.cursor"),
        ("tables.orders.frequency", "daily", "data_sources.shop.frequency"),
        ("tables.orders.allow_missing", "False", "data_sources.shop.tables.orders.allow_missing"),
        ("defaults.mode", "append", "data_sources.shop.defaults.mode"),
        ("frequency", "daily", "data_sources.shop.frequency"),
        ("type", "rowstore", "data_sources.shop.type"),
    ],
)
def test_what_a_table_gets_from_elsewhere(folder: Folder, key: str, value: str, won: str) -> None:
    explanation = explain(folder.path, f"data_sources.shop.{key}")
    assert explanation.value == value
    assert [answer.key for answer in explanation.answers if answer.won] == [won]


def test_a_null_in_an_overlay_takes_the_value_away(folder: Folder) -> None:
    explanation = explain(folder.path, "data_sources.shop.tables.public.items.cursor", "prod")
    assert explanation.value is None
    assert [answer.won for answer in explanation.answers] == [False, False, True]


def test_mappings_and_lists_are_of_both_files(folder: Folder) -> None:
    value = explain(folder.path, "data_sources.shop", "prod").value
    assert value is not None
    whole = json.loads(value)
    assert whole["connection"] == {
        "host": "db.example", "dbname": "shop", "username": "bob", "password": "**********",
    }  # fmt: skip
    assert whole["tables"][0] == {"name": "orders", "mode": "replace"}
    assert explain(folder.path, "data_sources.shop.tables.orders").value == '{"name": "orders"}'


def test_a_reference_that_leads_nowhere_is_a_problem_not_an_end(folder: Folder) -> None:
    folder.write("lake: {location: '${NOT_SET_ANYWHERE}'}\nnonsense: 5\n")
    explanation = explain(folder.path, "lake.location")
    assert explanation.problems[0].startswith("the variable NOT_SET_ANYWHERE is not set; ")
    assert "problem: the variable NOT_SET_ANYWHERE is not set" in str(explanation)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("memry", "did you mean memory?"),
        ("data_sources.shp", "did you mean shop?"),
        ("data_sources.shop.connection.prt", "did you mean port?"),
        ("data_sources.shop.tables.ordrs.mde", "did you mean mode?"),
        ("lake.zone", "there are: format, location"),
        ("memry.x.y", "did you mean memory?"),
    ],
)
def test_a_key_that_is_not_there(folder: Folder, key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="there is no key") as caught:
        explain(folder.path, key)
    assert caught.value.hint.startswith(hint)


def test_no_key_at_all(folder: Folder) -> None:
    with pytest.raises(ConfigError, match="the key is empty"):
        explain(folder.path, " .. ")


def test_the_text_and_the_json_say_the_same(folder: Folder) -> None:
    explanation = explain(folder.path, "data_sources.shop.connection.password", "prod")
    assert str(explanation) == (
        "data_sources.shop.connection.password = **********\n"
        "looked up in this order:\n"
        "  1. asgard.prod.yml: not there\n"
        "  2. asgard.yml:7:94: ${SHOP_PW}  <- won\n"
        "       environment variable SHOP_PW: not set\n"
        "       .env:1: found\n"
        "  3. default: not there"
    )
    assert explanation.as_dict()["answers"][1] == {
        "place": "asgard.yml:7:94",
        "key": "data_sources.shop.connection.password",
        "found": True,
        "won": True,
        "written": "${SHOP_PW}",
        "lookups": [
            {"place": "environment variable SHOP_PW", "found": False},
            {"place": ".env:1", "found": True},
        ],
    }
