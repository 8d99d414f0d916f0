"""A secret that no text ever shows (Promise 6)."""

from __future__ import annotations

from typing import Protocol

from pydantic import SecretStr

Secret = SecretStr
"""A value that repr, str, JSON and errors show as stars. Only the request that needs it calls `reveal`."""

STARS = "**********"


class SecretStore(Protocol):
    """A place where secrets rest. One instance serves one reading: what it found may be kept in memory."""

    def where(self, name: str) -> str:
        """Where a name is looked for, for people: `vault https://vault:8200 secret/shop#password`."""

    def read(self, name: str) -> Secret:
        """The secret of a name, as a reference writes it behind its scheme.

        Raises:
            ConfigError: the name is none, there is no such secret, or the store is not configured.
            AuthenticationError: the store does not know us any more: wrong, expired or revoked credentials.
            Refused: it knows us, and does not give us this one.
            Sealed: it is locked.
            Unreachable: no answer.
        """


def reveal(secret: Secret | str | None) -> str | None:
    """The plain value, for the request that needs it and for nothing else."""
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


def redact(text: str, secrets: list[str]) -> str:
    """Replaces every secret in a foreign text (a driver's error message, a URL) by stars.

    Secrets of fewer than 3 characters are left: replacing them would destroy the text and hide nothing.
    """
    for secret in sorted({s for s in secrets if len(s) >= 3}, key=len, reverse=True):
        text = text.replace(secret, STARS)
    return text
