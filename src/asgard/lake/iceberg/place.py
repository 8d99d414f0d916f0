"""Where a table is: the catalog that knows its newest metadata, its name there, and its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table

from asgard.lake.local import LocalFolder


class Catalogue(Protocol):
    """The lake's catalog, opened when it is first asked.

    Attributes:
        told: what errors call it.
        secrets: what they may not show.
    """

    told: str
    secrets: list[str]

    def opened(self, create: bool = False) -> Catalog | None:
        """The catalog; None when there is none yet, and it is not to be made."""
        ...


@dataclass(frozen=True)
class Place:
    """A table's place, whether it exists or not.

    Attributes:
        catalogue: of the lake.
        identifier: the table's name in the catalog: layer, source if any, name.
        folder: the table's, in which lie `data`, `metadata` and what is only ours, `_asgard`.
    """

    catalogue: Catalogue = field(repr=False)
    identifier: tuple[str, ...]
    folder: LocalFolder

    @property
    def data(self) -> LocalFolder:
        """The folder of the data files."""
        return self.folder / "data"

    def handle(self) -> Table | None:
        """The table as it is now, by a handle of its own; None when there is none."""
        catalog = self.catalogue.opened()
        if catalog is None:
            return None
        try:
            return catalog.load_table(self.identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
