"""Who is let in with a token, until when, and how far."""

from __future__ import annotations

import multiprocessing
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.access.access import (
    MOST_PER_ADDRESS,
    WINDOW_SECONDS,
    Access,
    Denied,
    Principal,
    authenticate,
    insist,
    insist_on_credentials,
)
from asgard.app.access.audit import AuditWish, audit_entries
from asgard.app.access.credentials import bearer, new_credential
from asgard.app.access.tokens import TokenWish, create_token, list_tokens, revoke_token
from asgard.app.access.users import change_role, create_user, disable_user, enable_user
from asgard.core.errors import ConfigError, Refused
from asgard.core.secret import Secret
from tests.access.ground import ADMIN, access_at, everything, header, jumped

HERE = "192.0.2.7"


def refusal(access: Access, shown: str | None, address: str = HERE) -> str:
    found = authenticate(access, shown, address)
    assert isinstance(found, Denied)
    return found.error.what


def who(access: Access, shown: str | None, address: str = HERE) -> Principal:
    found = authenticate(access, shown, address)
    assert isinstance(found, Principal), found
    return found


def made(access: Access, **wish: Any) -> tuple[str, Secret]:
    told, text = create_token(access, ADMIN, TokenWish(**{"name": "ci", "role": "admin", **wish}))
    return told["token"], text


def test_a_token_is_who_it_was_made_for(access: Access) -> None:
    token, text = made(access, role="editor", sources=("shop",), pipelines=("web",))
    assert who(access, header(text)) == Principal(
        f"token {token}", "editor", HERE, "token", None, token, ("shop",), ("web",)
    )
    assert who(access, f"bearer   {text.get_secret_value()} ").credential == token


def test_the_secret_is_shown_once_and_is_nowhere(access: Access) -> None:
    token, text = made(access)
    authenticate(access, header(text), HERE)
    authenticate(access, f"{header(text)}0", HERE)
    plain = text.get_secret_value()
    assert plain.startswith(f"asgt_{token}_")
    assert len(plain.split("_")[2]) * 4 == 256
    told = everything(access) + repr(list_tokens(access, ADMIN)) + repr(bearer(header(text))) + repr(text)
    assert token in told
    assert plain.split("_")[2] not in told


def test_the_file_is_for_its_owner_alone(access: Access, address: dict[str, Any]) -> None:
    if "file" not in address:
        assert address["ssl_mode"] == "disable"  # a server's files are its own matter
        return
    made(access)
    file = Path(address["file"])
    assert {path.stat().st_mode & 0o777 for path in file.parent.glob(f"{file.name}*")} == {0o600}


def test_digests_are_compared_in_constant_time(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    token, text = made(access)
    compared: list[tuple[str, str]] = []
    real = secrets.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(secrets, "compare_digest", compare)
    assert who(access, header(text)).credential == token
    assert "not known" in refusal(access, f"Bearer asgt_{token}_{'0' * 64}")
    assert [len(one) == len(other) == 64 and one == other for one, other in compared] == [True, False]


def test_of_two_tokens_each_secret_opens_its_own(access: Access) -> None:
    (one, first), (other, _) = made(access), made(access)
    assert "not known" in refusal(access, header(first).replace(one, other))


def test_a_revoked_token_is_refused_and_stays_so(access: Access) -> None:
    token, text = made(access)
    assert revoke_token(access, ADMIN, token)["ended"] == "revoked"
    assert refusal(access, header(text)) == "the token was revoked"
    with pytest.raises(ConfigError, match="ended already"):
        revoke_token(access, ADMIN, token)
    with pytest.raises(ConfigError, match="no token 'nobody'"):
        revoke_token(access, ADMIN, "nobody")


def test_an_expired_token_stays_expired_when_the_clock_is_set_back(access: Access) -> None:
    token, text = made(access, lifetime_seconds=100)
    assert who(jumped(access, 99), header(text)).credential == token
    assert refusal(jumped(access, 101), header(text)) == "the token has expired"
    assert refusal(access, header(text)) == "the token has expired"
    assert refusal(jumped(access, -1000), header(text)) == "the token has expired"
    assert [one["ended"] for one in list_tokens(access, ADMIN)] == ["expired"]


def test_a_token_without_an_end(access: Access) -> None:
    token, text = made(access, lifetime_seconds=None)
    assert who(jumped(access, 1e9), header(text)).credential == token
    assert who(jumped(access, -1e6), header(text)).credential == token
    assert "expires_at" not in list_tokens(access, ADMIN)[0]


def test_a_token_may_no_more_than_its_owner_may_now(access: Access) -> None:
    create_user(access, ADMIN, "ada", "editor")
    _, text = made(access, role="editor", owner="ada")
    assert (who(access, header(text)).role, who(access, header(text)).user) == ("editor", "ada")
    change_role(access, ADMIN, "ada", "viewer")
    assert who(access, header(text)).role == "viewer"
    change_role(access, ADMIN, "ada", "admin")
    assert who(access, header(text)).role == "editor"
    disable_user(access, ADMIN, "ada")
    assert refusal(access, header(text)) == "the token is of a user who is disabled"
    enable_user(access, ADMIN, "ada")
    assert who(access, header(text)).role == "editor"


def test_who_shows_nothing_needs_a_token_unless_they_are_here(access: Access) -> None:
    assert refusal(access, None) == "this needs a token"
    assert refusal(access, "") == "this needs a token"
    assert authenticate(access, None, "127.0.0.1", token_needed=False) == Principal(
        "local", "admin", "127.0.0.1"
    )
    _, text = made(access, role="viewer")
    found = authenticate(access, header(text), "127.0.0.1", token_needed=False)
    assert isinstance(found, Principal)
    assert found.role == "viewer"
    assert isinstance(authenticate(access, "Bearer x", "127.0.0.1", token_needed=False), Denied)


@given(st.text() | st.text("asgt_0f ", max_size=90).map("Bearer {}".format))
def test_what_is_no_token_is_none(text: str) -> None:
    assert bearer(text) is None


def test_a_token_that_was_never_made_is_refused(access: Access) -> None:
    _, text = new_credential("token")
    _, session = new_credential("session")
    assert "not known" in refusal(access, header(text))
    assert "not known" in refusal(access, header(session))
    assert "no token of ours" in refusal(access, "Basic YWRhOmE=")


def test_strangers_are_written_down_and_held_back(access: Access) -> None:
    _, good = made(access)
    _, bad = new_credential("token")
    for _ in range(MOST_PER_ADDRESS):
        assert "not known" in refusal(access, header(bad), "2001:db8::1")
    for last in range(2, 9):
        found = authenticate(access, header(bad), f"2001:db8::{last}")
        assert isinstance(found, Denied)
        assert 0 < (found.retry_after_seconds or 0) <= WINDOW_SECONDS
    assert who(access, header(good), "2001:db8::3").role == "admin"
    assert "not known" in refusal(access, header(bad), "2001:db8:0:1::1")
    refused = audit_entries(access, ADMIN, AuditWish(outcome="refused", limit=500)).items
    assert len(refused) == MOST_PER_ADDRESS + 1
    assert "not known" in refusal(jumped(access, WINDOW_SECONDS + 1), header(bad), "2001:db8::1")


def test_an_address_that_may_be_reached_wants_somebody_to_be_let_in(access: Access) -> None:
    insist_on_credentials(access, "127.0.0.1")
    for host in ("0.0.0.0", "", "192.0.2.1", "::"):
        with pytest.raises(Refused) as refused:
            insist_on_credentials(access, host)
        assert "asgard tokens create" in refused.value.hint
    token, _ = made(access, lifetime_seconds=100)
    insist_on_credentials(access, "0.0.0.0")
    with pytest.raises(Refused):
        insist_on_credentials(jumped(access, 101), "0.0.0.0")
    revoke_token(access, ADMIN, token)
    with pytest.raises(Refused):
        insist_on_credentials(access, "0.0.0.0")


def test_a_refusal_is_written_down(access: Access) -> None:
    viewer = Principal("eve", "viewer", HERE)
    insist(access, viewer, "runs.read", "run 1")
    with pytest.raises(Refused, match=r"runs.start needs the role operator, eve is viewer"):
        insist(access, viewer, "runs.start", "run 2")
    scoped = Principal("ci", "editor", HERE, "token", sources=("shop",))
    insist(access, scoped, "sources.write", source="shop")
    with pytest.raises(Refused, match="beyond what ci is for: shop"):
        insist(access, scoped, "sources.write", "web", source="web")
    told = [(one["who"], one["action"], one["target"], one["outcome"], one["address"])
            for one in audit_entries(access, ADMIN, AuditWish()).items]  # fmt: skip
    assert told == [
        ("ci", "sources.write", "web", "refused", HERE),
        ("eve", "runs.start", "run 2", "refused", HERE),
    ]


# ---- who may make and end tokens


def test_who_may_make_which_token(access: Access) -> None:
    create_user(access, ADMIN, "ada", "editor")
    ada = Principal("ada", "editor", HERE, "session", "ada", "0" * 12)
    create_token(access, ada, TokenWish("mine", "editor", "ada"))
    for wish in (TokenWish("x", "admin", "ada"), TokenWish("x", "viewer"), TokenWish("x", "viewer", "bob")):
        with pytest.raises(Refused):
            create_token(access, ada, wish)
    by_token = Principal("ada by token 1", "editor", HERE, "token", "ada", "1" * 12)
    with pytest.raises(Refused):
        create_token(access, by_token, TokenWish("longer", "viewer", "ada"))
    confined = Principal("token 2", "admin", HERE, "token", None, "2" * 12, ("shop",))
    with pytest.raises(Refused):
        create_token(access, confined, TokenWish("wider", "viewer"))
    assert [one["name"] for one in list_tokens(access, ada, "ada")] == ["mine"]
    with pytest.raises(Refused):
        list_tokens(access, ada)


@pytest.mark.parametrize(
    "wish",
    [
        TokenWish(" "), TokenWish("a\nb"), TokenWish("x" * 101), TokenWish("x", "king"),
        TokenWish("x", owner="nobody"), TokenWish("x", lifetime_seconds=0),
        TokenWish("x", lifetime_seconds=float("nan")),
    ],
)  # fmt: skip
def test_wishes_that_cannot_be(access: Access, wish: TokenWish) -> None:
    with pytest.raises(ConfigError):
        create_token(access, ADMIN, wish)
    assert list_tokens(access, ADMIN) == []


def test_who_may_end_which_token(access: Access) -> None:
    create_user(access, ADMIN, "ada", "viewer")
    own, _ = made(access, role="viewer", owner="ada")
    other, text = made(access, role="viewer")
    ada = Principal("ada", "viewer", HERE, "session", "ada", "0" * 12)
    with pytest.raises(Refused):
        revoke_token(access, ada, other)
    revoke_token(access, ada, own)
    itself = who(access, header(text))
    revoke_token(access, itself, other)
    assert refusal(access, header(text)) == "the token was revoked"


# ---- two processes


def _answer(address: dict[str, Any], shown: str, asked: Any, answers: Any) -> None:
    with access_at(address) as access:
        while asked.get():
            found = authenticate(access, shown, HERE)
            answers.put(found.role if isinstance(found, Principal) else found.error.what)


def test_another_process_hears_of_everything_at_once(access: Access, address: dict[str, Any]) -> None:
    create_user(access, ADMIN, "ada", "editor")
    token, text = made(access, owner="ada")
    context = multiprocessing.get_context("spawn")
    asked, answers = context.Queue(), context.Queue()
    server = context.Process(target=_answer, args=(address, header(text), asked, answers))
    server.start()

    def answer() -> str:
        asked.put(True)
        return str(answers.get(timeout=60))

    try:
        assert answer() == "editor"
        change_role(access, ADMIN, "ada", "viewer")
        assert answer() == "viewer"
        disable_user(access, ADMIN, "ada")
        assert "disabled" in answer()
        enable_user(access, ADMIN, "ada")
        assert answer() == "viewer"
        revoke_token(access, ADMIN, token)
        assert "revoked" in answer()
    finally:
        asked.put(False)
        server.join(60)
    assert server.exitcode == 0
