"""The lake: a folder in which every table has its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from asgard.core.errors import ConfigError
from asgard.core.names import folder, from_folder
from asgard.core.table import Table, TableName
from asgard.lake.delta.commits import LOG
from asgard.lake.delta.orphans import swept
from asgard.lake.delta.records import TableRecords
from asgard.lake.delta.table import LakeTable
from asgard.lake.disk import translated
from asgard.lake.folder import Folder
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits

LATER_VERSION = re.compile(r"(?!0{20})[0-9]{20}\.(json|checkpoint\.)")
FIRST_VERSION = f"{0:020d}.json"


class DeltaLake:
    """Delta tables below a folder.

    Args:
        location: the folder, of this machine or in a bucket; made when the first table is.
        limits: sizes of row groups and files.

    Raises:
        ConfigError: Delta's reader cannot open the path.
    """

    def __init__(self, location: Path | Folder, limits: Limits | None = None) -> None:
        self._limits = limits
        self._root = LocalFolder(location.absolute()) if isinstance(location, Path) else location
        if isinstance(location, Path) and {"%", "\\"} & set(str(self._root)):
            # Delta's kernel decodes local paths as if they were URLs, and then looks in another folder.
            raise ConfigError(
                f"the lake cannot lie at {self._root}: its path has a % or a backslash",
                hint="choose another location",
            )

    def table(self, name: TableName) -> Table:
        """The table of that name, whether it exists or not."""
        return LakeTable(name, self._place(name), self._limits)

    def records(self, name: TableName) -> TableRecords:
        """What lies beside the log of the table of that name."""
        return TableRecords(self._place(name), {"table": str(name)})

    def _place(self, name: TableName) -> Folder:
        # A % in a path is one of the things that Delta's kernel cannot read.
        return self._root / folder(name).replace("~", "%7E").replace("%", self._root.escape)

    def tables(self) -> Iterator[TableName]:
        """The names of all tables that exist, sorted."""
        with (
            translated({"lake": str(self._root)}),
            ThreadPoolExecutor(self._root.asked_at_once, "tables") as pool,
        ):
            layers = self._root.folders()
            below = [path for found in pool.map(self._inside, layers) for path in found]
            places = [path for found in pool.map(self._tables_at, below) for path in found]
            names = [from_folder(place.replace(self._root.escape, "%")) for place in places]
            there = list(pool.map(self._exists, places, names))
        yield from sorted(name for name, exists in zip(names, there, strict=True) if exists)

    def sweep(self, before: datetime, dry_run: bool = False) -> list[str]:
        """Deletes what killed first loads left where no table is."""
        with translated({"lake": str(self._root)}):
            layers = self._root.folders()
            below = [f"{layer}/{name}" for layer in layers for name in (self._root / layer).folders()]
            return [path for place in below for path in swept(self._root, place, before, dry_run)]

    def _inside(self, place: str) -> list[str]:
        return [f"{place}/{name}" for name in (self._root / place).folders()]

    def _tables_at(self, place: str) -> list[str]:
        """The place itself, if it is a table's, else those of the tables in it."""
        inside = self._inside(place)
        return [place] if f"{place}/{LOG}" in inside else inside

    def _exists(self, place: str, name: TableName) -> bool:
        # To open every log would take two milliseconds each: only what may be a first version is asked.
        later = (self._root / place / LOG).first_after(FIRST_VERSION)
        return bool(later and LATER_VERSION.match(later)) or self.table(name).exists()
