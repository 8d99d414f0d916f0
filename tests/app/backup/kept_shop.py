"""A shop whose project is backed up: loads of some days, and what its tables must hold after them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.console import Console, Said
from tests.upgrade.shop import FIRST_DAY, Day, live_a_day, rows_after, write_project

LOADED = ("shop.orders", "shop.visits", "shop.products")
TABLES = ("bronze.shop.orders", "bronze.shop.visits", "bronze.shop.products")


class KeptShop(Console):
    """The project, and the losses that it suffers."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(folder, monkeypatch, capsys)
        write_project(folder)
        self.backups = folder.parent / f"{folder.name} backups"
        self.live(FIRST_DAY)

    @property
    def state(self) -> Path:
        return self.folder / ".asgard"

    def live(self, day: Day) -> None:
        """A day comes, and is loaded."""
        live_a_day(self.folder, day)
        self.load()

    def load(self) -> None:
        said = self.asgard("run", *LOADED)
        assert said.code == 0, said

    def done(self, *arguments: str) -> Said:
        said = self.asgard(*arguments)
        assert said.code == 0, said
        return said

    def back_up(self, *options: str) -> str:
        """The file of a new backup."""
        return str(self.done("backup", f"{self.backups}/", "--json", *options).json["backup"])

    def lose_state(self) -> None:
        shutil.rmtree(self.state)

    def lose_records(self) -> None:
        for place in self.folder.glob("lake/bronze/shop/*/_asgard"):
            shutil.rmtree(place)

    def holds(self, *days: Day) -> None:
        """Every table has exactly the rows of these days: none is missing, none is there twice."""
        expected = rows_after(*days)
        for table in TABLES:
            found = sorted((tuple(row.values()) for row in self.rows(table)), key=repr)
            assert found == sorted(expected[table], key=repr), table
