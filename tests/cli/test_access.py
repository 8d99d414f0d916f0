"""`asgard users`, `asgard tokens` and `asgard audit`, as a person types them."""

from __future__ import annotations

import io
import re

import pytest

from asgard.app.access.access import Principal, SignedIn, authenticate, open_access, sign_in
from asgard.app.config.project import load_project
from tests.cli.console import Console, Said

PASSWORD = "correct horse battery"


@pytest.fixture
def shop(console: Console) -> Console:
    console.project({})
    return console


def hand_over(monkeypatch: pytest.MonkeyPatch, console: Console, text: str, *arguments: str) -> Said:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return console.asgard(*arguments)


def test_from_a_user_to_a_token_that_is_revoked(shop: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    said = hand_over(monkeypatch, shop, f"{PASSWORD}\n", "users", "create", "ada", "--role", "editor")
    assert (said.code, said.out) == (0, "user ada is editor\n")
    made = shop.asgard(
        "tokens", "create", "--name", "ci", "--role", "operator", "--user", "ada", "--source", "shop",
        "--pipeline", "web", "--expires", "7d",
    )  # fmt: skip
    assert re.fullmatch(r"asgt_[0-9a-f]{12}_[0-9a-f]{64}\n", made.out)
    assert "not shown again" in made.err
    token = made.out.split("_")[1]
    with open_access(load_project(shop.folder, with_sources=False)) as access:
        assert isinstance(sign_in(access, "ada", PASSWORD, "192.0.2.1"), SignedIn)
        found = authenticate(access, f"Bearer {made.out.strip()}", "192.0.2.1")
        assert isinstance(found, Principal)
        assert (found.role, found.sources, found.pipelines) == ("operator", ("shop",), ("web",))
    listed = shop.asgard("tokens", "list", "--user", "ada")
    assert token in listed.out
    assert made.out.strip() not in listed.out
    assert shop.asgard("tokens", "revoke", token).out == f"token {token} is revoked\n"
    assert shop.asgard("tokens", "list", "--json").json == {"tokens": []}
    (ended,) = shop.asgard("tokens", "list", "--all", "--json").json["tokens"]
    assert (ended["ended"], ended["sources"]) == ("revoked", ["shop"])
    again = shop.asgard("tokens", "revoke", token)
    assert (again.code, "ended already" in again.err) == (2, True)


def test_users_from_the_first_day_to_the_last(shop: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shop.asgard("users", "create", "ci", "--without-password", "--json").json["has_password"] is False
    hand_over(monkeypatch, shop, PASSWORD, "users", "create", "ada")
    with open_access(load_project(shop.folder, with_sources=False)) as access:
        sign_in(access, "ada", PASSWORD, "192.0.2.1")
    assert "192.0.2.1" in shop.asgard("users", "show", "ada").out
    assert "1 sessions" in shop.asgard("users", "sign-out", "ada").out
    assert shop.asgard("users", "role", "ada", "admin").out == "user ada is admin\n"
    said = hand_over(monkeypatch, shop, "another horse battery\r\n", "users", "password", "ada")
    assert "another password" in said.out
    assert shop.asgard("users", "disable", "ada").out == "user ada is admin, disabled\n"
    assert "disabled_at" in shop.asgard("users", "show", "ada", "--json").json
    assert shop.asgard("users", "enable", "ada", "--json").json["role"] == "admin"
    assert [one["user"] for one in shop.asgard("users", "--json").json["users"]] == ["ada", "ci"]
    assert "ada" in shop.asgard("users").out
    short = hand_over(monkeypatch, shop, "short", "users", "password", "ada")
    assert (short.code, "12 to 1024" in short.err) == (2, True)


def test_the_audit_log_has_all_of_it_and_is_verified(shop: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over(monkeypatch, shop, PASSWORD, "users", "create", "ada")
    token = shop.asgard("tokens", "create", "--name", "ci", "--expires", "never", "--json").json
    page = shop.asgard("audit", "--limit", "1", "--json").json
    assert page["next"] == 2
    assert (page["entries"][0]["action"], page["entries"][0]["target"]) == (
        "tokens.create", f"token {token['token']}",
    )  # fmt: skip
    older = shop.asgard("audit", "--before", "2")
    assert "users.create" in older.out
    assert PASSWORD not in older.out + shop.asgard("audit").out
    assert "more: --before 2" in shop.asgard("audit", "--limit", "1").err
    head = shop.asgard("audit", "verify", "--json").json["head"]
    assert shop.asgard("audit", "verify", "--expect", head).code == 0
    with (
        open_access(load_project(shop.folder, with_sources=False)) as access,
        access.database.writing() as rows,
    ):
        rows("UPDATE asgard_audit SET who = 'eve' WHERE number = 1")
    wrong = shop.asgard("audit", "verify")
    assert (wrong.code, "entry 1" in wrong.err) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("tokens", "create", "--name", "ci", "--expires", "soon"),
        ("tokens", "create", "--name", "ci", "--user", "nobody"),
        ("tokens", "create"),
        ("users", "show", "nobody"),
        ("users", "role", "nobody", "king"),
        ("audit", "verify", "--expect", "head"),
    ],
)
def test_what_cannot_be_is_said(shop: Console, arguments: tuple[str, ...]) -> None:
    said = shop.asgard(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Traceback" not in said.err


def test_a_password_that_is_no_text(shop: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\xff"), encoding="utf-8"))
    said = shop.asgard("users", "create", "ada")
    assert (said.code, "no UTF-8" in said.err) == (2, True)
