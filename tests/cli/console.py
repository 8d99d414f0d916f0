"""`asgard` as a person types it, in this process: what it said, and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asgard.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Console:
    """A folder with a project, and commands in it."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def project(self, sources: dict[str, Any], **keys: Any) -> None:
        """Writes asgard.yml (JSON is YAML)."""
        document = {"version": 1, "data_sources": sources, **keys}
        (self.folder / "asgard.yml").write_text(json.dumps(document, indent=1))

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    def asgard(self, *arguments: str) -> Said:
        """Types a command."""
        self._monkeypatch.chdir(self.folder)
        self._monkeypatch.setattr("sys.argv", ["asgard", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        """The rows of a table of the lake, without the metadata columns."""
        said = self.asgard("query", f"SELECT * FROM {table} ORDER BY {order}", "--json")
        assert said.code == 0, said
        hidden = {"extracted_at", "_asgard_run_id"}
        return [{k: v for k, v in row.items() if k not in hidden} for row in said.events]
