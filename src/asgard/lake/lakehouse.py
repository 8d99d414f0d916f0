"""The lake: a folder in which every table has its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from asgard.core.errors import ConfigError
from asgard.core.names import folder, from_folder
from asgard.core.table import Table, TableName
from asgard.lake.delta import LakeTable
from asgard.lake.disk import translated
from asgard.lake.parquet import Limits

LATER_VERSION = re.compile(r"(?!0{20})[0-9]{20}\.(json|checkpoint\.)")


class DeltaLake:
    """Delta tables below a folder of this machine.

    Args:
        location: the folder; made when the first table is.
        limits: sizes of row groups and files.

    Raises:
        ConfigError: Delta's reader cannot open the path.
    """

    def __init__(self, location: Path, limits: Limits | None = None) -> None:
        self._location = location.absolute()
        self._limits = limits
        if {"%", "\\"} & set(str(self._location)):
            # Delta's kernel decodes local paths as if they were URLs, and then looks in another folder.
            raise ConfigError(
                f"the lake cannot lie at {self._location}: its path has a % or a backslash",
                hint="choose another location",
            )

    def table(self, name: TableName) -> Table:
        """The table of that name, whether it exists or not."""
        return LakeTable(name, self._location / _on_disk(name), self._limits)

    def tables(self) -> Iterator[TableName]:
        """The names of all tables that exist, sorted."""
        with translated({"lake": str(self._location)}):
            logs = [*self._location.glob("*/*/_delta_log"), *self._location.glob("*/*/*/_delta_log")]
            loaded = [_has_later_version(log) for log in logs]
        names = [from_folder(_from_disk(log.parent.relative_to(self._location))) for log in logs]
        # To open every log would take two milliseconds each: only what may be a first version is asked.
        there = zip(names, loaded, strict=True)
        yield from sorted(name for name, later in there if later or self.table(name).exists())


def _has_later_version(log: Path) -> bool:
    """Whether a table was written to after it was made, by the names of its log's files alone."""
    with os.scandir(log) as files:
        return any(LATER_VERSION.match(file.name) for file in files)


def _on_disk(name: TableName) -> str:
    # A % in a path is one of the things that Delta's kernel cannot read; ~ is a letter like others.
    return folder(name).replace("~", "%7E").replace("%", "~")


def _from_disk(path: Path) -> str:
    return path.as_posix().replace("~", "%")
