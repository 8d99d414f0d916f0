"""A folder for a project, and an environment that knows nothing of the machine's own credentials."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asgard.secrets.surroundings import Surroundings
from tests.cli.console import Console

FOREIGN = ("VAULT_", "AWS_", "AZURE_", "GOOGLE_", "KUBERNETES_", "ASGARD_SECRET")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project's folder; keys of stores would go to `home` beside it."""
    for name in os.environ:
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "asgard.yml").write_text("version: 1\n")
    return folder


@pytest.fixture
def surroundings(project: Path) -> Surroundings:
    return Surroundings(project, os.environ.get)


@pytest.fixture
def console(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(project, monkeypatch, capsys)
