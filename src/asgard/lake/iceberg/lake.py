"""The lake: a catalog that knows the tables, and a folder in which each has its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError

from asgard.core.names import folder
from asgard.core.table import Table, TableName
from asgard.lake.disk import translated
from asgard.lake.iceberg.catalog import (
    FILE,
    RestAccess,
    check_folder,
    open_rest,
    open_sqlite,
    translated_catalog,
)
from asgard.lake.iceberg.durable import DurableFileIO
from asgard.lake.iceberg.orphans import swept
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.table import IcebergTable
from asgard.lake.local import LocalFolder
from asgard.lake.parquet import Limits

_FILE_IO = f"{DurableFileIO.__module__}.{DurableFileIO.__name__}"


class IcebergLake:
    """Iceberg tables below a folder.

    Args:
        location: the folder, of this machine; made when the first table is.
        limits: sizes of row groups and files.
        access: the server that is the catalog; None: a SQLite file in the folder.

    Raises:
        ConfigError: readers of Iceberg cannot open the path.
    """

    def __init__(
        self, location: Path, limits: Limits | None = None, access: RestAccess | None = None
    ) -> None:
        self._limits = limits
        self._root = location.absolute()
        check_folder(self._root)
        self._catalogue = OpenedCatalog(self._root, access)

    def table(self, name: TableName) -> Table:
        """The table of that name, whether it exists or not."""
        found = Place(self._catalogue, name.parts, LocalFolder(self._root / _place(name)))
        return IcebergTable(name, found, self._limits)

    def tables(self) -> Iterator[TableName]:
        """The names of all tables that exist, sorted."""
        with translated_catalog(self._catalogue.told, self._catalogue.secrets):
            catalog = self._catalogue.opened()
            names = [] if catalog is None else list(_names(catalog))
        yield from sorted(names)

    def sweep(self, before: datetime, dry_run: bool = False) -> list[str]:
        """Deletes what killed first loads left where no table is."""
        tables = {_place(name) for name in self.tables()}
        with translated({"lake": str(self._root)}):
            return list(swept(self._root, tables, before, dry_run))


def _place(name: TableName) -> str:
    # A % in a path is decoded by some of Iceberg's readers.
    return folder(name).replace("~", "%7E").replace("%", "~")


def _names(catalog: Catalog) -> Iterator[TableName]:
    for layer in catalog.list_namespaces():
        with suppress(NoSuchNamespaceError):  # dropped meanwhile
            for identifier in catalog.list_tables(layer):
                yield TableName(layer[0], "", identifier[-1])
            for namespace in catalog.list_namespaces(layer):
                for identifier in catalog.list_tables(namespace):
                    yield TableName(layer[0], namespace[-1], identifier[-1])


class OpenedCatalog:
    """The lake's catalog, opened when it is first asked.

    Args:
        folder: the lake's.
        access: the server; None: a SQLite file in the folder.
    """

    def __init__(self, folder: Path, access: RestAccess | None) -> None:
        self._folder = folder
        self._access = access
        self._catalog: Catalog | None = None
        self._lock = threading.Lock()
        self.told = access.uri if access else str(folder / FILE)
        self.secrets = access.secrets if access else []

    def opened(self, create: bool = False) -> Catalog | None:
        """The catalog; None when there is none yet, and it is not to be made."""
        with self._lock:
            if self._catalog is None:
                options = {"py-io-impl": _FILE_IO}
                if self._access is not None:
                    self._catalog = open_rest(self._access, **options)
                else:
                    self._catalog = open_sqlite(self._folder, create, **options)
            return self._catalog
