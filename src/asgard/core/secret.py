"""A secret that no text ever shows (Promise 6)."""

from __future__ import annotations

from pydantic import SecretStr

Secret = SecretStr
"""A value that repr, str, JSON and errors show as stars. Only the request that needs it calls `reveal`."""

STARS = "**********"


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
