"""The wish to know whether rows that a source deletes go from a table."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase

from asgard.app.config.project import Project, TableSpec, load_project
from asgard.app.project.workspace import Workspace
from asgard.app.sources.streams import deletes_seen
from asgard.core.errors import AsgardError
from asgard.core.table import TableName


def deletes_in(workspace: Workspace, name: TableName) -> str | None:
    """`seen`, `marked` by the source, or `not seen`, as the project has the table loaded.

    None for tables that no source loads, and where the sources cannot be read here: it is not known.
    """
    if name.layer != "bronze":
        return None
    project = workspace.project
    if not project.sources and project.files is not None:
        with suppress(AsgardError):
            project = load_project(project.file, project.environment)
    spec = _spec(project, name)
    return deletes_seen(spec) if spec is not None else None


def _spec(project: Project, name: TableName) -> TableSpec | None:
    """What the project says of a table: by its name first, then by a name with wildcards."""
    source = project.sources.get(name.source)
    specs = [one for one in source.tables if one.enabled] if source else []
    for spec in specs:
        plain = spec.table or spec.name.rpartition(".")[2]
        if not spec.is_pattern and plain.casefold() == name.name.casefold():
            return spec
    for spec in specs:
        if spec.is_pattern and fnmatchcase(name.name.casefold(), spec.name.rpartition(".")[2].casefold()):
            return spec
    return None
