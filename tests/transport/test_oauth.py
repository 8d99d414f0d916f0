"""OAuth 2: one token for many requests, renewed in time; single-use refresh tokens are never lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, Refused, Unreachable
from asgard.transport import http_rules, oauth
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.oauth import FileTokenStore, OAuthSettings, OAuthTokens, TokenStore
from tests.servers.api import Api, Asked, Reply

SECRET = "canary-99ab3e"


class Login:
    """Gives out tokens. A refresh token may be used once."""

    def __init__(self, api: Api) -> None:
        self.given = 0
        self.refresh = "first"
        self.life_seconds: float | None = 3600
        self.valid: set[str] = set()
        self.lock = threading.Lock()
        api.on("/token", self.grant)
        api.on("/x", self.answer)

    def grant(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        with self.lock:
            if form["client_secret"] != SECRET:
                return Reply(
                    401, {"error": "invalid_client", "error_description": f"no {form['client_secret']}"}
                )
            if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
                return Reply(400, {"error": "invalid_grant"})
            self.given += 1
            told: dict[str, object] = {"access_token": f"token-{self.given}", "token_type": "Bearer"}
            self.valid.add(f"Bearer token-{self.given}")
            if self.life_seconds is not None:
                told["expires_in"] = self.life_seconds
            if form["grant_type"] == "refresh_token":
                self.refresh = told["refresh_token"] = f"refresh-{self.given}"
            return Reply(200, told)

    def answer(self, asked: Asked) -> Reply:
        return (
            Reply(200, []) if asked.headers.get("authorization") in self.valid else Reply(401, {"no": "way"})
        )


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(oauth, "OTHERS_SECONDS", (0.05, 0.1, 0.2))


def tokens(api: Api, store: TokenStore | None = None, **settings: str | None) -> OAuthTokens:
    given = {"client_id": "me", "client_secret": SECRET, **settings}
    return OAuthTokens(OAuthSettings(f"{api.url}/token", max_retries=1, **given), Cancel(), store)  # type: ignore[arg-type]


def client(api: Api, account: OAuthTokens) -> HttpClient:
    return HttpClient(HttpSettings(api.url, max_retries=2), Cancel(), account)


def test_one_token_for_many_requests(api: Api) -> None:
    login, account = Login(api), tokens(api, scope="read all")
    asking = client(api, account)
    for _ in range(5):
        assert asking.send(Request("x")).status == 200
    assert login.given == 1
    form = parse_qs(api.asked[0].body.decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["read all"]


def test_a_token_is_renewed_at_half_its_life(api: Api) -> None:
    login, account = Login(api), tokens(api)
    login.life_seconds = 0.4
    asking = client(api, account)
    asking.send(Request("x"))
    asking.send(Request("x"))
    assert login.given == 1
    time.sleep(0.25)
    asking.send(Request("x"))
    assert login.given == 2


def test_a_token_that_expires_early_is_renewed_inside_of_retries(api: Api) -> None:
    login, account = Login(api), tokens(api)
    asking = client(api, account)
    asking.send(Request("x"))
    login.valid.clear()
    api.on("/busy", [Reply(429), Reply(401), Reply(503), Reply(200, [])])
    assert asking.send(Request("busy")).status == 200
    assert asking.send(Request("x")).status == 200
    assert login.given == 2


def test_credentials_that_are_wrong(api: Api) -> None:
    Login(api)
    with pytest.raises(AuthenticationError, match="invalid_client") as caught:
        tokens(api, client_secret=f"{SECRET}-wrong").header()
    assert SECRET not in str(caught.value)
    login = Login(api)
    login.valid = set()
    api.on("/no", Reply(401, {"you": "sent token-1"}))
    with pytest.raises(AuthenticationError) as caught:
        client(api, tokens(api)).send(Request("no"))
    assert login.given == 3
    with pytest.raises(AuthenticationError, match="refresh token is not taken"):
        tokens(api, refresh_token="stolen").header()


def test_a_token_lives_on_when_the_login_is_down(api: Api) -> None:
    login, account = Login(api), tokens(api)
    login.life_seconds = 0.8
    first = account.header()
    api.on("/token", Reply(503))
    time.sleep(0.45)
    assert account.header() == first
    time.sleep(0.4)
    with pytest.raises(Unreachable):
        account.header()


def test_refresh_tokens_are_written_back(api: Api, tmp_path: Path) -> None:
    login, store = Login(api), FileTokenStore(str(tmp_path / "refresh"))
    assert tokens(api, store, refresh_token="first").header() == "Bearer token-1"
    assert store.read() == login.refresh == "refresh-1"
    assert (tmp_path / "refresh").stat().st_mode & 0o077 == 0
    # another process, whose configuration still has the first one
    assert tokens(api, store, refresh_token="first").header() == "Bearer token-2"
    assert store.read() == "refresh-2"


def test_two_who_renew_at_the_same_instant(api: Api, tmp_path: Path) -> None:
    Login(api)
    store = FileTokenStore(str(tmp_path / "refresh"))
    headers: list[str] = []
    threads = [
        threading.Thread(target=lambda: headers.append(tokens(api, store, refresh_token="first").header()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(headers)) == 4


def test_a_store_swaps_only_what_it_was_shown(tmp_path: Path) -> None:
    store = FileTokenStore(str(tmp_path / "refresh"))
    assert store.read() is None
    assert store.swap(None, "a")
    assert not store.swap(None, "b")
    assert not store.swap("b", "c")
    assert store.swap("a", "b")
    assert store.read() == "b"
    with pytest.raises(Refused, match="cannot be used"):
        FileTokenStore(str(tmp_path / "nowhere" / "refresh")).read()
