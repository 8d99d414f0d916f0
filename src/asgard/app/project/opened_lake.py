"""The lake of a project, opened by its format: the one place that picks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asgard.app.config.lakes import CatalogSpec, LakeSpec, far_connection, is_far
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.table import Lake
from asgard.lake.delta.lake import DeltaLake
from asgard.lake.parquet import Limits

if TYPE_CHECKING:
    from asgard.lake.iceberg.catalog import RestAccess

EXTRA = "pip install 'asgard-platform[iceberg]'"
ICEBERG_FILE = "catalog.db"
DELTA_LOGS = ("*/*/_delta_log", "*/*/*/_delta_log")


def opened_lake(spec: LakeSpec, folder: Path) -> Lake:
    """The lake, not yet asked for anything.

    Args:
        folder: where its location begins, if that is relative.

    Raises:
        ConfigError: it lies where it cannot, or where tables of the other format are, or Iceberg's library is
            not installed.
    """
    place = folder / spec.location
    if spec.format == "iceberg":
        return _iceberg(spec, place)
    if not is_far(spec.location):
        if (place / ICEBERG_FILE).exists():
            raise _mixed(place, "Iceberg", "iceberg")
        return DeltaLake(place, _limits(spec))
    from asgard.lake.bucket import bucket_folder  # with a client of object stores

    return DeltaLake(bucket_folder(far_connection(spec.location, spec.connection), Cancel()), _limits(spec))


def _limits(spec: LakeSpec) -> Limits | None:
    return None if spec.deletion_vectors else Limits(gone_share=0.0)


def _iceberg(spec: LakeSpec, place: Path) -> Lake:
    try:
        from asgard.lake.iceberg.lake import IcebergLake  # half a second, which Delta's tables do not need
    except ImportError as error:
        raise ConfigError(f"Iceberg's library is not installed: {error}", hint=EXTRA) from error
    if not (place / ICEBERG_FILE).exists() and any(any(place.glob(logs)) for logs in DELTA_LOGS):
        raise _mixed(place, "Delta", "delta")
    return IcebergLake(place, access=_access(spec.catalog))


def _access(catalog: CatalogSpec | None) -> RestAccess | None:
    if catalog is None or catalog.uri is None:
        return None
    from asgard.lake.iceberg.catalog import RestAccess

    return RestAccess(
        uri=catalog.uri,
        warehouse=catalog.warehouse or "",
        credential=catalog.credential,
        token=catalog.token,
        oauth2_server_uri=catalog.oauth2_server_uri or "",
        scope=catalog.scope or "",
        headers=catalog.headers,
        ca_file=catalog.ca_file or "",
    )


def _mixed(place: Path, there: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"the lake at {place} has tables of {there}: they would not be found",
        hint=f"set lake.format: {wanted}, or another lake.location and load anew",
    )
