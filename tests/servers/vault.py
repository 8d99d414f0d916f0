"""The real core of HashiCorp Vault, in memory and on loopback, for `make test-cluster`.

It is compiled from its sources with `vault_core.go`, which takes minutes the first time, into .tools/servers;
each server starts in a second and ends with the process that started it. It is used by tests and never handed
on. One that cannot be had is a failure, never a skip.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.servers.postgres import ServerFailed

CACHE = Path(__file__).resolve().parents[2] / ".tools" / "servers"
SOURCE = Path(__file__).with_name("vault_core.go")
VERSION = "1.21.4"
BUILD_SECONDS = 2400
MODULE = f"""module vaultcore

go 1.25

require github.com/hashicorp/vault v{VERSION}

replace (
	github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
	github.com/hashicorp/vault/sdk => github.com/hashicorp/vault/sdk v0.20.0
	github.com/ma314smith/signedxml => github.com/moov-io/signedxml v1.1.1
)
"""


@dataclass
class VaultServer:
    """A running Vault with the engines `secret/` (version 2) and `old/` (version 1), and AppRole."""

    url: str
    root_token: str

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the root is answered."""
        answer = urllib3.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.root_token},
            retries=False,
        )
        assert answer.status < 300, answer.data
        told: dict[str, Any] = answer.json() if answer.data else {}
        return told

    def write(self, path: str, data: dict[str, Any]) -> None:
        mount, _, name = path.partition("/")
        if mount == "old":
            self.ask("POST", path, data)
        else:
            self.ask("POST", f"{mount}/data/{name}", {"data": data})

    def delete(self, path: str) -> None:
        mount, _, name = path.partition("/")
        self.ask("DELETE", f"{mount}/data/{name}")

    def policy(self, name: str, *prefixes: str) -> None:
        rules = "".join(f'path "{prefix}*" {{ capabilities = ["read"] }}\n' for prefix in prefixes)
        self.ask("POST", f"sys/policies/acl/{name}", {"policy": rules})

    def token(self, policy: str, seconds: float) -> str:
        wish = {"policies": [policy], "ttl": f"{seconds:g}s", "renewable": True}
        return str(self.ask("POST", "auth/token/create", wish)["auth"]["client_token"])

    def role(self, policy: str, seconds: float) -> tuple[str, str]:
        self.ask(
            "POST", "auth/approle/role/tester", {"token_policies": [policy], "token_ttl": f"{seconds:g}s"}
        )
        role = self.ask("GET", "auth/approle/role/tester/role-id")["data"]["role_id"]
        return role, str(self.ask("POST", "auth/approle/role/tester/secret-id")["data"]["secret_id"])

    def revoke_all(self) -> None:
        """Every token that AppRole gave out."""
        self.ask("POST", "sys/leases/revoke-prefix/auth/approle", {})

    def seal(self) -> None:
        self.ask("POST", "sys/seal")


@contextmanager
def vault_server() -> Iterator[VaultServer]:
    """A server for this block alone."""
    process = subprocess.Popen([_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = process.stdout.readline().split()
        if len(said) != 3:
            raise ServerFailed(f"Vault did not start: it ended with {process.wait()}")
        server = VaultServer(f"http://{said[0]}", said[1])
        for mount, version in (("secret", "2"), ("old", "1")):
            server.ask("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}})
        server.ask("POST", "sys/auth/approle", {"type": "approle"})
        yield server
    finally:
        process.stdin.close()  # at which it ends, also when this process is killed
        process.stdout.close()
        process.wait(10)


def _program() -> Path:
    """The program, compiled if it is missing; made whole or not at all."""
    home = CACHE / f"vault-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"vault-{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "vault").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            shutil.copy(SOURCE, home / "main.go")
            (home / "go.mod").write_text(MODULE)
            _go(home, "mod", "tidy")
            _go(home, "build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", "vault.new", ".")
            (home / "vault.new").rename(home / "vault")
    return home / "vault"


def _go(home: Path, *words: str) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            ["go", *words],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    except FileNotFoundError as error:
        raise ServerFailed("go is missing: install it") from error
    if done.returncode:
        raise ServerFailed(f"go {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
