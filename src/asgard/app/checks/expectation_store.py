"""Where suites, checkpoints, validations and reports rest: folders of JSON files in the project's state.

A file is written beside its place and moved into it, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asgard.app.config.mistakes import near
from asgard.core.errors import ConfigError, Refused

FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Store:
    """Documents of one kind, by name.

    Args:
        folder: made when the first one is put there.
        kind: what messages call one of them: `suite`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self._kind = kind

    def names(self) -> list[str]:
        """Sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json")) if self.folder.is_dir() else []

    def put(self, name: str, document: Mapping[str, Any]) -> Path:
        """Writes one, in the place of the one of that name.

        Raises:
            ConfigError: it cannot be called so.
            Refused: it cannot be written.
        """
        if not NAME.fullmatch(name):
            what = f"a {self._kind} cannot be called {name!r}"
            raise ConfigError(what, hint="use letters, digits, dots, hyphens and underscores")
        path = self.folder / f"{name}.json"
        beside = self.folder / f".{name}.{os.getpid()}.new"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"format": FORMAT, **document}, indent=2, default=str), "utf-8")
            beside.replace(path)
        except OSError as error:
            raise Refused(f"{path} cannot be written: {error.strerror}") from error
        return path

    def get(self, name: str) -> dict[str, Any]:
        """One of them.

        Raises:
            ConfigError: there is none of that name, or it was written by a newer version.
        """
        path = self.folder / f"{name}.json"
        if not NAME.fullmatch(name) or not path.is_file():
            what = f"there is no {self._kind} {name!r}"
            raise ConfigError(what, hint=near(name, self.names()) or "asgard suites lists what there is")
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if document.get("format") != FORMAT:
            what = f"the {self._kind} {name} was written by a newer version of Asgard"
            raise ConfigError(what, hint="pip install --upgrade asgard-platform")
        return document

    def delete(self, name: str) -> None:
        """Takes one away.

        Raises:
            ConfigError: there is none of that name.
        """
        self.get(name)
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def all(self) -> Iterator[dict[str, Any]]:
        """Every one, by name."""
        for name in self.names():
            yield self.get(name)


class ExpectationStores:
    """The stores of a project."""

    def __init__(self, state_folder: Path) -> None:
        root = state_folder / "expectations"
        self.suites = Store(root / "suites", "suite")
        self.checkpoints = Store(root / "checkpoints", "checkpoint")
        self.validations = Store(root / "validations", "validation")
        self.reports_folder = root / "reports"
