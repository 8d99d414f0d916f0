from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.backup.kept_shop import KeptShop
from tests.upgrade.shop import KEY


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> KeptShop:
    monkeypatch.setenv("ASGARD_SECRET_KEY", KEY)
    folder = tmp_path / "a shop"
    folder.mkdir()
    return KeptShop(folder, monkeypatch, capsys)
