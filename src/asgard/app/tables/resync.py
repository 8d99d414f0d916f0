"""The wish to end doubt about a table's position, or to read it anew."""

from __future__ import annotations

from asgard.app.project.workspace import Workspace
from asgard.app.sources.streams import OpenSources, expand
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, PositionLost
from asgard.core.table import Table, TableName
from asgard.flow.building import STREAM


def resync(workspace: Workspace, name: str, *, accept: bool = False) -> list[str]:
    """Lets the next run read a table from the beginning and replace its rows; they stay until then.

    Args:
        name: the table, as `Workspace.table` takes it.
        accept: instead, trusts the table and the position that it last had.

    Returns:
        The streams whose position was reset or accepted.

    Raises:
        ConfigError: there is no such table, or nothing in the project loads it.
        AsgardError: the source had to be asked for the stream, and failed.
    """
    table = _table(workspace, name)
    streams = _streams(workspace, table.name)
    for stream in streams:
        table.accept(stream, resync=not accept)
    return streams


def _table(workspace: Workspace, name: str) -> Table:
    """A table that exists, or one whose log was taken away from its positions: nothing else ends that."""
    try:
        return workspace.table(name)
    except ConfigError:
        layer, _, rest = name.partition(".")
        source, _, own = rest.partition(".")
        table = workspace.lake.table(TableName(layer, source, own) if own else TableName(layer, "", source))
        try:
            table.position(STREAM)
        except PositionLost:
            return table
        raise


def _streams(workspace: Workspace, table: TableName) -> list[str]:
    if table.layer != "bronze":
        return [STREAM]
    spec = workspace.project.sources.get(table.source)
    with OpenSources(workspace, Cancel()) as sources:
        wanted = expand(sources, table.source, spec) if spec else []
        found = [
            sources.get(one.source).describe(one.stream, one.spec.options, one.spec.query).id
            for one in wanted
            if one.table == table
        ]
    if not found:
        raise ConfigError(
            f"nothing in {workspace.project.file.name} loads {table}",
            hint="only the source that loads a table knows its position",
        )
    return found
