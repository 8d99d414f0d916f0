"""What tests of `app` can ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.own_connectors import Folder, use_own_connectors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty folder for a project; connectors `rowstore`, `hub_api` and `refusing` are registered."""
    use_own_connectors(monkeypatch)
    monkeypatch.delenv("ASGARD_ENV", raising=False)
    return Folder(tmp_path)
