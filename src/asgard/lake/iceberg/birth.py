"""A table's birth: what its first commit has besides rows and a position.

There is no empty table before it: name, columns, rows and position come at once, under the condition that
nobody has the name yet.

Reference: https://iceberg.apache.org/rest-catalog-spec/ (assert-create)
"""

from __future__ import annotations

from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import StagedTable
from pyiceberg.table import update as u
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from asgard.core.errors import Bug
from asgard.lake.iceberg.place import Place
from asgard.lake.iceberg.snapshot import MARK

TABLE_PROPERTIES = {
    MARK: "1",
    # Old metadata files go with new commits; those that are kept tell what happened to the table.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}


def make_namespace(catalog: Catalog, namespace: tuple[str, ...]) -> None:
    """Makes a namespace, if nobody else does at the same time."""
    if catalog.namespace_exists(namespace):
        return
    try:
        catalog.create_namespace(namespace)
    except Exception:  # each catalog has a class of its own for what another process made meanwhile
        if not catalog.namespace_exists(namespace):
            raise


def unborn(place: Place, schema: Schema) -> StagedTable:
    """A table that nobody has yet, with the columns of its first load."""
    catalog = place.catalogue.opened(create=True)
    if catalog is None:
        raise Bug("a catalog that is made is there")
    location = str(place.folder)
    metadata = new_table_metadata(
        schema=schema,
        partition_spec=UNPARTITIONED_PARTITION_SPEC,
        sort_order=UNSORTED_SORT_ORDER,
        location=location,
        properties=dict(TABLE_PROPERTIES),
    )
    if metadata.schema().fields != schema.fields:
        raise Bug("a new table's columns are not numbered as its files are")
    io: FileIO = load_file_io(properties=catalog.properties, location=location)
    return StagedTable(
        identifier=place.identifier, metadata=metadata, metadata_location="", io=io, catalog=catalog
    )


def birth(metadata: TableMetadata) -> list[u.TableUpdate]:
    """The updates that make an empty table."""
    return [
        u.AssignUUIDUpdate(uuid=metadata.table_uuid),
        u.UpgradeFormatVersionUpdate.model_validate({"format-version": 2}),
        u.AddSchemaUpdate(schema=metadata.schema()),
        u.SetCurrentSchemaUpdate.model_validate({"schema-id": -1}),
        u.AddPartitionSpecUpdate(spec=UNPARTITIONED_PARTITION_SPEC),
        u.SetDefaultSpecUpdate.model_validate({"spec-id": -1}),
        u.AddSortOrderUpdate.model_validate({"sort-order": UNSORTED_SORT_ORDER}),
        u.SetDefaultSortOrderUpdate.model_validate({"sort-order-id": -1}),
        u.SetLocationUpdate(location=metadata.location),
        u.SetPropertiesUpdate(updates=dict(metadata.properties)),
    ]
