"""A small Vault over HTTP for `make test`, as the documentation has it: KV 1 and 2, tokens that end, AppRole.

The same tests run against the real core in `make test-cluster`, which keeps this one honest.

Reference: https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.servers.api import Api, Asked, Reply

ROOT = "hvs.r00t-c4n4ry"


@dataclass
class _Token:
    policies: tuple[str, ...]
    ttl_seconds: float
    ends_at: float
    renewable: bool = True


@dataclass
class VaultStandIn(Api):
    """The server; `with` starts it. A policy is a tuple of path prefixes that may be read."""

    sealed: bool = False
    mounts: dict[str, str] = field(default_factory=lambda: {"secret/": "2", "old/": "1"})
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    roles: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    tokens: dict[str, _Token] = field(default_factory=dict)
    logins: int = 0
    renewals: int = 0

    def __post_init__(self) -> None:
        Api.__init__(self)
        self.tokens[ROOT] = _Token(("root",), 0, float("inf"), renewable=False)

    @property
    def root_token(self) -> str:
        return ROOT

    def write(self, path: str, data: dict[str, Any]) -> None:
        self.secrets[path] = data

    def delete(self, path: str) -> None:
        self.secrets[path] = {}

    def policy(self, name: str, *prefixes: str) -> None:
        self.policies[name] = prefixes

    def token(self, policy: str, seconds: float) -> str:
        token = f"hvs.{uuid.uuid4().hex}"
        self.tokens[token] = _Token((policy,), seconds, time.monotonic() + seconds)
        return token

    def role(self, policy: str, seconds: float) -> tuple[str, str]:
        """A role's id and secret id; its tokens live that long, and are renewed for ever."""
        role, secret = str(uuid.uuid4()), str(uuid.uuid4())
        self.roles[role] = (secret, policy, seconds)
        return role, secret

    def revoke_all(self) -> None:
        self.tokens = {ROOT: self.tokens[ROOT]}

    def seal(self) -> None:
        self.sealed = True

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if self.sealed:
            return Reply(503, {"errors": ["Vault is sealed"]})
        path = asked.path.removeprefix("/v1/")
        if path == "auth/approle/login" and asked.method == "POST":
            return self._login(asked)
        token = self.tokens.get(asked.headers.get("x-vault-token", ""))
        if token is None or token.ends_at < time.monotonic():
            return Reply(403, {"errors": ["permission denied", "invalid token"]})
        if path == "auth/token/lookup-self":
            return Reply(200, {"data": {"policies": token.policies, "ttl": token.ttl_seconds}})
        if path == "auth/token/renew-self":
            self.renewals += 1
            token.ends_at = time.monotonic() + token.ttl_seconds
            return self._auth(asked.headers["x-vault-token"], token)
        return self._read(path, token)

    def _login(self, asked: Asked) -> Reply:
        told = asked.document
        secret, policy, seconds = self.roles.get(told.get("role_id"), ("", "", 0.0))
        if not secret or told.get("secret_id") != secret:
            return Reply(400, {"errors": ["invalid role or secret ID"]})
        self.logins += 1
        token = self.token(policy, seconds)
        return self._auth(token, self.tokens[token])

    @staticmethod
    def _auth(name: str, token: _Token) -> Reply:
        auth = {"client_token": name, "lease_duration": token.ttl_seconds, "renewable": token.renewable}
        return Reply(200, {"auth": auth})

    def _read(self, path: str, token: _Token) -> Reply:
        looked = path.removeprefix("sys/internal/ui/mounts/")
        mount = next((mount for mount in self.mounts if f"{looked}/".startswith(mount)), None)
        prefixes = [prefix for name in token.policies for prefix in self.policies.get(name, ())]
        is_root = "root" in token.policies
        if looked != path:
            if mount is None or not (is_root or any(prefix.startswith(mount) for prefix in prefixes)):
                return Reply(403, {"errors": ["preflight capability check returned 403"]})
            version = self.mounts[mount]
            return Reply(200, {"data": {"path": mount, "type": "kv", "options": {"version": version}}})
        if not is_root and not any(path.startswith(prefix) for prefix in prefixes):
            return Reply(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        if mount is None:
            return Reply(404, {"errors": ["no handler for route"]})
        if self.mounts[mount] == "1":
            found = self.secrets.get(path)
            return Reply(200, {"data": found}) if found else Reply(404, {"errors": []})
        found = self.secrets.get(mount + path.removeprefix(mount).removeprefix("data/"))
        if found is None:
            return Reply(404, {"errors": []})
        if not found:
            return Reply(404, {"data": {"data": None, "metadata": {"deletion_time": "2026-01-01T00:00:00Z"}}})
        return Reply(200, {"data": {"data": json.loads(json.dumps(found)), "metadata": {"version": 1}}})
