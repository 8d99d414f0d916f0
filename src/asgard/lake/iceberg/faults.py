"""What pyiceberg, its catalogs, Arrow and the disk raise, as our errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import ValidationError as MalformedError
from pyiceberg.exceptions import ValidationException

from asgard.core.errors import DataError
from asgard.lake import disk
from asgard.lake.iceberg.catalog import translated_catalog
from asgard.lake.iceberg.place import Place


@contextmanager
def translated(place: Place, where: Mapping[str, str]) -> Iterator[None]:
    """Turns exceptions about a table into ours, most specific first."""
    try:
        with disk.translated(where), translated_catalog(place.catalogue.told, place.catalogue.secrets):
            yield
    except MalformedError as error:
        what = f"the table's metadata is damaged: {str(error).splitlines()[0]}"
        raise DataError(what, hint="put its newest metadata file back", where=where) from error
    except ValidationException as error:
        raise DataError(str(error).splitlines()[0], where=where) from error
