"""What each role may do, and which addresses are ours."""

from __future__ import annotations

import itertools

import pytest

from asgard.app.access.access import ACTIONS, ROLES, Principal, allowed, allowed_somewhere
from asgard.app.access.addresses import is_local_page, needs_token, network_of
from asgard.core.errors import Bug, ConfigError
from tests.conftest import REPOSITORY


def of(role: str, sources: tuple[str, ...] = (), pipelines: tuple[str, ...] = ()) -> Principal:
    return Principal("x", role, "192.0.2.1", "token", None, "1", sources, pipelines)


def test_each_role_may_more_than_the_one_before_it() -> None:
    may = [{action for action in ACTIONS if allowed(of(role), action)} for role in ROLES]
    assert all(less < more for less, more in itertools.pairwise(may))
    assert may[-1] == set(ACTIONS)


def test_viewers_only_look_and_editors_neither_see_secrets_nor_rule() -> None:
    looks = {action for action in ACTIONS if allowed(of("viewer"), action)}
    assert {action.partition(".")[2] for action in looks - {"account.write"}} == {"read"}
    forbidden = {action for action in ACTIONS if not allowed(of("editor"), action)}
    assert forbidden == {
        "secrets.write", "users.read", "users.write", "tokens.read", "tokens.write", "audit.read",
    }  # fmt: skip


def test_the_page_for_users_has_the_same_table() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "access.md").read_text()
    for action, role in ACTIONS.items():
        assert any(f"`{action}`" in line and line.startswith(f"| {role} ") for line in page.splitlines()), (
            action
        )


@pytest.mark.parametrize("role", ROLES)
def test_rights_end_where_the_scope_ends(role: str) -> None:
    for action in ACTIONS:
        whole = allowed(of(role), action)
        confined = of(role, ("shop",), ("web",))
        assert allowed_somewhere(confined, action) == whole
        assert allowed(confined, action, source="shop") == whole
        assert allowed(confined, action, pipeline="web") == whole
        assert not allowed(confined, action)
        assert not allowed(confined, action, source="web", pipeline="shop")
        assert not allowed(of(role, pipelines=("web",)), action, source="web")


def test_an_action_that_is_none_is_our_mistake() -> None:
    with pytest.raises(Bug):
        allowed(of("admin"), "runs.destroy")
    with pytest.raises(ConfigError):
        allowed(of("king"), "runs.read")


@pytest.mark.parametrize(
    ("host", "needed"),
    [
        ("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("localhost", False),
        ("::ffff:127.0.0.1", False), ("2130706433", False), ("0.0.0.0", True), ("::", True), ("", True),
        ("0", True), ("192.0.2.1", True), ("2001:db8::1", True), ("no-such-host.invalid", True),
        ("a" * 300, True),
    ],
)  # fmt: skip
def test_everywhere_but_at_loopback_there_must_be_a_token(host: str, needed: bool) -> None:
    assert needs_token(host) is needed


def test_a_name_that_means_loopback_and_more_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("192.0.2.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: both)
    assert needs_token("both.example")


@pytest.mark.parametrize(
    ("host", "origin", "local"),
    [
        ("localhost:8000", None, True), ("127.0.0.1:8000", None, True), ("[::1]:8000", None, True),
        ("localhost:8000", "http://localhost:8000", True), ("app.localhost", None, True),
        ("localhost:8000", "http://localhost:3000", False), ("localhost:8000", "null", False),
        ("localhost:8000", "https://evil.example", False), ("evil.example:8000", None, False),
        ("evil.example:8000", "http://evil.example:8000", False), ("localhost.evil.example", None, False),
        ("127.0.0.1.evil.example", None, False), (None, None, False), ("", None, False),
        ("[::1", None, False), ("evil.example@localhost:8000", None, False),
        ("localhost@evil.example", None, False), ("localhost/@evil.example", None, False),
    ],
)  # fmt: skip
def test_pages_of_others_are_told_apart(host: str | None, origin: str | None, local: bool) -> None:
    assert is_local_page(host, origin) is local


def test_who_counts_as_one_asker() -> None:
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == network_of("") == "unknown"
