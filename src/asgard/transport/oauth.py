"""OAuth 2 tokens for requests that go on for hours: kept, renewed at half their life, one at a time.

Refresh tokens that may be used once are written back where they came from, by compare-and-swap: whoever else
renews at the same instant finds the other one's token there. Knows no provider; leaves asking a person for
permission to others.

Reference: https://www.rfc-editor.org/rfc/rfc6749
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, Refused, Unreachable
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request

USUAL_LIFE_SECONDS = 3600.0
"""Of a token whose answer does not say how long it lives."""
OTHERS_SECONDS = (0.2, 1.0, 3.0)
"""How long to wait for somebody else, who used the same refresh token, to write the new one down."""


class TokenStore(Protocol):
    """Where a refresh token rests between processes."""

    def read(self) -> str | None:
        """The refresh token; None when there is none yet."""

    def swap(self, old: str | None, new: str) -> bool:
        """Puts the new one in the old one's place, durably; False when another one is there."""


class FileTokenStore:
    """A file that only its owner may read."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def read(self) -> str | None:
        """The token in the file.

        Raises:
            Refused: the file may not be read.
        """
        with self._locked():
            return self._found()

    def swap(self, old: str | None, new: str) -> bool:
        """Replaces the file as a whole, if it still has the old token."""
        with self._locked():
            if self._found() != old:
                return False
            fresh = self._path.with_name(f".{self._path.name}.new")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(new)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._path)
            return True

    def _found(self) -> str | None:
        try:
            return self._path.read_text().strip() or None
        except FileNotFoundError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            raise Refused(
                f"the token file cannot be used: {error}", hint="look at token_file, and who may write there"
            ) from error


@dataclass(frozen=True)
class OAuthSettings:
    """How tokens are asked for.

    Attributes:
        refresh_token: the first one; None for client credentials.
        as_json: the request is a JSON object, where the server wants that instead of RFC 6749's form.
        fields: what the request has besides the usual.
        timeout_seconds, max_retries, ca_file, allow_metadata_addresses: as for the API itself.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    as_json: bool = False
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 30.0
    max_retries: int = 5
    ca_file: str | None = None
    allow_metadata_addresses: bool = False


class OAuthTokens:
    """The `Authorizer` of an account: asks for a token when one is needed. Used from any thread."""

    def __init__(self, settings: OAuthSettings, cancel: Cancel, store: TokenStore | None = None) -> None:
        self._settings = settings
        self._cancel = cancel
        self._store = store
        self._refresh_token = settings.refresh_token
        self._header = ""
        self._renew_at = self._dies_at = 0.0
        self._lock = threading.Lock()
        secrets = (settings.client_secret, settings.refresh_token or "")
        self._client = HttpClient(
            HttpSettings(
                base_url=settings.token_url,
                secrets=tuple(filter(None, secrets)),
                timeout_seconds=settings.timeout_seconds,
                max_retries=settings.max_retries,
                ca_file=settings.ca_file,
                allow_metadata_addresses=settings.allow_metadata_addresses,
            ),
            cancel,
        )

    def header(self) -> str:
        """`Bearer ...`, renewed when half its life is over.

        Raises:
            AuthenticationError: the client or the refresh token is not taken.
            Unreachable: nobody gives tokens out, and the last one has expired.
        """
        with self._lock:
            if time.monotonic() >= self._renew_at:
                try:
                    self._renew()
                except Unreachable:
                    if time.monotonic() >= self._dies_at:
                        raise
            return self._header

    def expired(self, header: str) -> bool:
        """Forgets the token that was not taken, unless somebody renewed it meanwhile."""
        with self._lock:
            if self._header == header:
                self._renew_at = self._dies_at = 0.0
            return True

    def close(self) -> None:
        """Gives connections back."""
        self._client.close()

    def _renew(self) -> None:
        asked = time.monotonic()
        told = self._with_refresh_token() if self._rotates else self._granted("client_credentials")
        life_seconds = _life_seconds(told)
        self._header = f"Bearer {told['access_token']}"
        self._renew_at, self._dies_at = asked + life_seconds / 2, asked + life_seconds

    @property
    def _rotates(self) -> bool:
        return self._refresh_token is not None or self._store is not None

    def _with_refresh_token(self) -> dict[str, Any]:
        """A token for the refresh token that is the newest: our own, or one that somebody else wrote down."""
        for wait_seconds in (*OTHERS_SECONDS, None):
            stored = self._store.read() if self._store else None
            used = stored or self._refresh_token
            if used is None:
                break
            told = self._granted("refresh_token", used)
            if "access_token" in told:
                self._keep(stored, used, told.get("refresh_token"))
                return told
            if self._store is None or wait_seconds is None:
                break
            self._cancel.sleep(wait_seconds)
        raise AuthenticationError(
            "the refresh token is not taken: it was used before, was taken back, or there is none",
            hint="sign in again, and give the new one as refresh_token; take the old one out of token_file",
        )

    def _keep(self, stored: str | None, used: str, new: str | None) -> None:
        if not new or new == used:
            return
        self._refresh_token = new
        if self._store is not None:
            self._store.swap(stored, new)  # another one there is newer: it was made from ours

    def _granted(self, grant: str, refresh_token: str | None = None) -> dict[str, Any]:
        """What the server says: with an access_token, or, of a refresh token that is not taken, without."""
        form = {
            "grant_type": grant,
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            **self._settings.fields,
        }
        if self._settings.scope:
            form["scope"] = self._settings.scope
        if refresh_token is not None:
            form["refresh_token"] = refresh_token
        content: dict[str, Any] = {"body": form} if self._settings.as_json else {"form": form}
        request = Request("", "POST", **content, repeatable=refresh_token is None)
        answer = self._client.send(request, wanted=(400, 401, 403))
        told = _document(answer)
        if answer.status == 200 and isinstance(told.get("access_token"), str):
            return told
        if refresh_token is not None and told.get("error") == "invalid_grant":
            return {}
        known = ", ".join(
            self._client.redacted(str(told[k]))[:200] for k in ("error", "error_description") if k in told
        )
        raise AuthenticationError(
            f"no token was given: status {answer.status}{f', {known}' if known else ''}",
            hint="look at token_url, client_id, client_secret and scope",
            where={"url": answer.url},
        )


def _document(answer: Answer) -> dict[str, Any]:
    try:
        told = json.loads(answer.content or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _life_seconds(told: dict[str, Any]) -> float:
    try:
        return max(float(told["expires_in"]), 0.0)
    except (KeyError, TypeError, ValueError):
        return USUAL_LIFE_SECONDS
