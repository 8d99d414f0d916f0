"""Every test that asks for `access` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asgard.app.access.access import Access
from asgard.secrets import passwords
from tests.access.ground import access_at
from tests.state.conftest import address

__all__ = ["address"]


@pytest.fixture
def access(address: dict[str, Any]) -> Iterator[Access]:
    with access_at(address) as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hashes cost nothing; gives the passwords that were looked at."""
    looked_at: list[str] = []

    def matches(written: str | None, password: str) -> bool:
        looked_at.append(password)
        return written == f"hash of {password}"

    monkeypatch.setattr(passwords, "hashed", lambda password: f"hash of {password}")
    monkeypatch.setattr(passwords, "is_outdated", lambda written: False)
    monkeypatch.setattr(passwords, "matches", matches)
    return looked_at
