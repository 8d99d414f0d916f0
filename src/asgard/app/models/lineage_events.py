"""What a run's steps read and make, for OpenLineage: tables of the lake by where they lie, streams by their
source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from asgard.app.config.lineage_spec import OpenLineageSpec
from asgard.app.models.lineage import model_lineage
from asgard.app.project.workspace import Workspace
from asgard.core.errors import AsgardError
from asgard.core.names import RESERVED_PREFIX, folder
from asgard.core.table import TableName
from asgard.observe.openlineage import Dataset, FileOutlet, HttpOutlet, OpenLineage, Outlet, StepFacts
from asgard.transform.lineage import Origin, Use
from asgard.transform.models import Model
from asgard.transport.http import HttpSettings


def lineage_listener(workspace: Workspace, spec: OpenLineageSpec) -> OpenLineage:
    """Listens to a run, and tells its lineage."""
    facts = _Facts(workspace, spec.namespace)
    return OpenLineage(
        _outlet(spec, workspace.project.folder), spec.namespace, workspace.project.name, facts.of
    )


def _outlet(spec: OpenLineageSpec, home: Path) -> Outlet:
    if spec.file is not None:
        return FileOutlet(home / spec.file)
    key = spec.api_key.get_secret_value() if spec.api_key else ""
    settings = HttpSettings(
        spec.url or "",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        secrets=(key,) if key else (),
        timeout_seconds=spec.timeout_seconds,
        max_retries=0,
    )
    return HttpOutlet(settings, spec.endpoint)


class _Facts:
    """Tells of steps by their names."""

    def __init__(self, workspace: Workspace, namespace: str) -> None:
        self._workspace = workspace
        self._namespace = namespace
        location = workspace.project.lake.location
        scheme, separator, rest = location.partition("://")
        bucket, _, prefix = rest.partition("/")
        self._is_far = bool(separator)
        self._place = f"{scheme}://{bucket}" if separator else "file"
        self._root = (
            prefix.strip("/") if separator else (workspace.project.folder / location).absolute().as_posix()
        )

    def of(self, step: str) -> StepFacts:
        """What a step reads and makes.

        Raises:
            AsgardError: a table cannot be looked at.
        """
        models = {str(model.name): model for model in self._workspace.models}
        if step in models:
            return self._model(models[step])
        parts = step.split(".", 2)
        if len(parts) != 3:
            return StepFacts()
        name = TableName(*parts)
        spec = self._workspace.project.sources.get(name.source)
        kind = getattr(spec, "type", "") or "source"
        source = Dataset(f"{kind}://{name.source}", name.name, {"dataSource": {"name": name.source}})
        return StepFacts((source,), self._dataset(name))

    def _model(self, model: Model) -> StepFacts:
        inputs = {name: self._dataset(name) for name in model.upstream}
        job = {"sql": {"query": model.sql.strip(), "dialect": model.spec.dialect}}
        output = self._dataset(model.name, self._columns(model, inputs))
        return StepFacts(tuple(inputs.values()), output, job)

    def _dataset(self, name: TableName, more: Mapping[str, Any] | None = None) -> Dataset:
        path = "/".join(filter(None, (self._root, folder(name))))
        uri = f"{self._place}/{path}" if self._is_far else Path(path).as_uri()
        symlink = {"namespace": self._namespace, "name": str(name), "type": "TABLE"}
        facets: dict[str, Any] = {
            "dataSource": {"name": f"{self._workspace.project.name} lake", "uri": uri},
            "symlinks": {"identifiers": [symlink]},
        }
        table = self._workspace.lake.table(name)
        if table.exists():
            facets["schema"] = {"fields": [_field(one) for one in table.schema() if _is_own(one.name)]}
            facets["version"] = {"datasetVersion": str(table.versions(1)[0].version)}
        return Dataset(self._place, path, {**facets, **(more or {})})

    def _columns(self, model: Model, inputs: Mapping[TableName, Dataset]) -> dict[str, Any]:
        try:
            lineage = model_lineage(self._workspace, model)
        except AsgardError:
            return {}  # a SELECT that cannot be followed has no such facet: not known is absent (Promise 8)
        by_name = {str(name): dataset for name, dataset in inputs.items()}

        def told(found: Mapping[Origin, frozenset[Use]]) -> list[dict[str, Any]]:
            return [
                {
                    "namespace": by_name[origin.table].namespace,
                    "name": by_name[origin.table].name,
                    "field": origin.column,
                    "transformations": [_transformation(use) for use in sorted(uses)],
                }
                for origin, uses in found.items()
                if origin.table in by_name and origin.column != "*"
            ]

        fields = {
            name: {"inputFields": told(found)} for name, found in lineage.columns.items() if name != "*"
        }
        return {"columnLineage": {"fields": fields, "dataset": told(lineage.rows)}}


def _transformation(use: Use) -> dict[str, Any]:
    kind = "DIRECT" if use.is_direct else "INDIRECT"
    return {"type": kind, "subtype": str(use), "description": "", "masking": False}


def _field(column: pa.Field) -> dict[str, Any]:
    inner = [_field(column.type.field(n)) for n in range(column.type.num_fields)]
    return {"name": column.name, "type": str(column.type), **({"fields": inner} if inner else {})}


def _is_own(name: str) -> bool:
    return not name.startswith(RESERVED_PREFIX)
