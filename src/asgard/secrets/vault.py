"""`${vault:path#key}`: HashiCorp Vault, and OpenBao, which speaks the same.

Knows the engines KV 1 and 2, tokens and AppRole. Configured as Vault's own tools are: VAULT_ADDR, VAULT_TOKEN
(or ~/.vault-token), VAULT_NAMESPACE, VAULT_CACERT; for AppRole VAULT_ROLE_ID and VAULT_SECRET_ID, and
VAULT_APPROLE_PATH where it is not mounted at `approle`.

Reference: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2,
https://developer.hashicorp.com/vault/api-docs/auth/approle
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Sealed, Unreachable
from asgard.core.secret import Secret
from asgard.secrets.document import name_and_key, of_key
from asgard.secrets.surroundings import RETRIES, TIMEOUT_SECONDS, Surroundings
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request

FORM = "vault:secret/shop#password"
ANSWERED = (400, 403, 404, 472, 473, 503)
RENEWED_AFTER = 0.5
"""The part of a token's life after which it is renewed."""


class Vault:
    """A Vault, as the variables of the environment say it."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._opened: _Session | None = None
        self._documents: dict[str, dict[str, Any]] = {}

    def where(self, name: str) -> str:
        """The address and the path."""
        return f"vault {self._surroundings.variable('VAULT_ADDR') or '(VAULT_ADDR is not set)'} {name}"

    def read(self, name: str) -> Secret:
        """One key of a secret; all keys of a secret are asked for at once, and one of them is enough."""
        path, key = name_and_key(name, FORM)
        path = path.strip("/")
        if path not in self._documents:
            self._documents[path] = self._session.document(path)
        document = self._documents[path]
        if key is None and len(document) == 1:
            key = next(iter(document))
        if key is None:
            hint = f"write ${{vault:{path}#KEY}} with one of: {', '.join(sorted(document)) or 'none'}"
            raise ConfigError(
                f"the secret {path} has {len(document)} keys, and the reference names none", hint=hint
            )
        return of_key(document, key, f"the secret {path}")

    @property
    def _session(self) -> _Session:
        if self._opened is None:
            self._opened = _shared_session(_Account.of(self._surroundings), self._surroundings.cancel)
        return self._opened


@dataclass(frozen=True)
class _Account:
    """Who asks which Vault."""

    address: str
    namespace: str | None
    ca_file: str | None
    token: str | None = field(default=None, repr=False)
    role_id: str | None = None
    secret_id: str | None = field(default=None, repr=False)
    approle_path: str = "approle"

    @classmethod
    def of(cls, surroundings: Surroundings) -> _Account:
        variable = surroundings.variable
        address = surroundings.needed("VAULT_ADDR", "VAULT_ADDR=https://vault.example.com:8200")
        role = variable("VAULT_ROLE_ID")
        token = None if role else variable("VAULT_TOKEN") or _token_of_file()
        if not role and not token:
            raise ConfigError(
                "there are no credentials for Vault",
                hint="set VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN",
            )
        return cls(
            address.rstrip("/"),
            variable("VAULT_NAMESPACE") or None,
            variable("VAULT_CACERT") or None,
            token,
            role,
            variable("VAULT_SECRET_ID") or None,
            (variable("VAULT_APPROLE_PATH") or "approle").strip("/"),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.token, self.secret_id)))

    @property
    def fingerprint(self) -> bytes:
        """Tells accounts apart without keeping their secrets."""
        return hashlib.sha256(repr((self, self.token, self.secret_id)).encode()).digest()


def _token_of_file() -> str | None:
    try:
        return (Path.home() / ".vault-token").read_text().strip() or None
    except (OSError, RuntimeError):
        return None


class _Session:
    """A token and its life: renewed, or signed in anew, for weeks on end. Used from any thread."""

    def __init__(self, account: _Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._token = account.token or ""
        self._renew_at = self._dies_at = float("inf") if account.token else 0.0
        self._renewable = False

    def document(self, path: str) -> dict[str, Any]:
        """All keys of a secret."""
        with self._lock:
            mount, version = self._mount_of(path)
            below = quote(path[len(mount) :])
            if not below:
                raise ConfigError(f"{path} is an engine, not a secret", hint=f"write ${{{FORM}}}")
            middle = "data/" if version == "2" else ""
            answer = self._asked(Request(f"/v1/{quote(mount)}{middle}{below}"), f"the secret {path}")
            told = _data_of(answer)
            found = told.get("data") if version == "2" else told
            if answer.status == 404 or not isinstance(found, dict):
                raise ConfigError(
                    f"Vault has no secret {path}"
                    if not told.get("metadata")
                    else f"the secret {path} is deleted",
                    hint=f"vault kv get {path}",
                )
            return found

    def _mount_of(self, path: str) -> tuple[str, str]:
        """The engine that a path begins with, its `/` included, and its version."""
        answer = self._asked(Request(f"/v1/sys/internal/ui/mounts/{quote(path)}"), f"the secret {path}")
        told = _data_of(answer)
        options = told.get("options") or {}
        return str(told.get("path") or f"{path.partition('/')[0]}/"), str(options.get("version") or "1")

    def _asked(self, request: Request, wanted: str) -> Answer:
        self._keep_alive()
        answer = self._sent(request)
        if answer.status == 403 and not self._is_alive():
            if self._account.role_id is None:
                raise AuthenticationError(
                    "Vault does not take the token: it has expired, or was revoked",
                    hint="set VAULT_TOKEN anew, or VAULT_ROLE_ID and VAULT_SECRET_ID instead",
                    where={"vault": self._account.address},
                )
            self._sign_in()
            answer = self._sent(request)
        if answer.status == 403:
            raise Refused(
                f"Vault does not let us read {wanted}",
                hint="give the token's policy `read` on it",
                where={"vault": self._account.address},
            )
        if answer.status == 400:
            raise ConfigError(
                f"Vault does not understand the request for {wanted}", hint="look at VAULT_NAMESPACE"
            )
        return answer

    def _is_alive(self) -> bool:
        return self._sent(Request("/v1/auth/token/lookup-self")).status == 200

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now < self._renew_at:
            return
        if self._renewable and now < self._dies_at:
            answer = self._sent(Request("/v1/auth/token/renew-self", "POST", body={}, repeatable=True))
            if answer.status == 200 and self._lives(answer) > 0 and self._renew_at > now:
                return
        self._sign_in()

    def _sign_in(self) -> None:
        account = self._account
        body = {"role_id": account.role_id, **({"secret_id": account.secret_id} if account.secret_id else {})}
        request = Request(f"/v1/auth/{account.approle_path}/login", "POST", body=body, repeatable=True)
        self._token = ""
        answer = self._sent(request)
        if answer.status != 200:
            raise AuthenticationError(
                "Vault does not take VAULT_ROLE_ID and VAULT_SECRET_ID",
                hint="a secret id ends after a time or a number of uses: ask for a new one",
                where={"vault": account.address},
            )
        self._lives(answer)

    def _lives(self, answer: Answer) -> float:
        """Takes the token of an answer, and how long it lives."""
        told = _json(answer).get("auth") or {}
        self._token = str(told.get("client_token") or self._token)
        seconds = float(told.get("lease_duration") or 0) or float("inf")
        now = time.monotonic()
        self._renewable = bool(told.get("renewable"))
        self._renew_at, self._dies_at = now + seconds * RENEWED_AFTER, now + seconds
        return seconds

    def _sent(self, request: Request) -> Answer:
        account = self._account
        headers = {"X-Vault-Request": "true"}
        if self._token:
            headers["X-Vault-Token"] = self._token
        if account.namespace:
            headers["X-Vault-Namespace"] = account.namespace
        secrets = (*account.secrets, *([self._token] if self._token else []))
        settings = HttpSettings(
            account.address, headers, secrets=secrets, timeout_seconds=TIMEOUT_SECONDS, max_retries=RETRIES,
            ca_file=account.ca_file,
        )  # fmt: skip
        client = HttpClient(settings, Cancel())
        try:
            answer = client.send(request, wanted=ANSWERED)
        except AsgardError as error:
            error.at(vault=account.address)
            raise
        finally:
            client.close()
        if answer.status in (472, 473, 503):
            sealed = answer.status == 503 and "sealed" in answer.content.decode("utf-8", "replace")
            if sealed:
                raise Sealed(
                    "Vault is sealed", hint="vault operator unseal, by whoever holds its keys",
                    where={"vault": account.address},
                )  # fmt: skip
            raise Unreachable(
                f"Vault is not ready: status {answer.status}", hint="try later; `vault status` tells more",
                where={"vault": account.address},
            )  # fmt: skip
        return answer


_sessions: dict[bytes, _Session] = {}
_sessions_lock = threading.Lock()


def _shared_session(account: _Account, cancel: Cancel) -> _Session:
    """The account's session in this process: runs one after the other sign in once."""
    cancel.check()
    if account.role_id is None:
        return _Session(account)
    with _sessions_lock:
        return _sessions.setdefault(account.fingerprint, _Session(account))


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        told = json.loads(answer.content or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _data_of(answer: Answer) -> dict[str, Any]:
    found = _json(answer).get("data")
    return found if isinstance(found, dict) else {}
