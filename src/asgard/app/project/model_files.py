"""The project's models, read from their files with every mistake placed."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from asgard.app.checks.contract_files import read_contract_file
from asgard.app.config.contract_specs import SchemaContract
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.validation import Entries, read_model
from asgard.app.config.yaml_text import Node, parse_yaml
from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.quality.spec import CheckSpec, checks_of, uniquely_named
from asgard.transform.models import FrontSaid, Model, ModelFile, ModelSpec, load_models


class ModelFront(ModelSpec):
    """Everything that a model's front comment takes."""

    checks: tuple[CheckSpec, ...] = Field((), description="What the rows must be up to before they appear.")
    contract: str | None = Field(
        default=None,
        min_length=1,
        description="The file of a data contract (ODCS) that the table keeps to: contracts/orders.odcs.yaml; "
        "behind a # what it calls the table.",
    )
    schema_contract: SchemaContract | None = Field(
        default=None,
        description="What becomes of columns and types that are others than the table's: evolve, freeze, "
        "discard_row or discard_value.",
    )


def read_models(project: Project) -> tuple[Model, ...]:
    """The models in the order of their dependencies.

    Raises:
        ConfigError: with everything that is wrong in all of their files, one mistake a line.
    """
    return tuple(load_models(project.models_folder, partial(_read_front, project)))


def _read_front(project: Project, file: ModelFile) -> FrontSaid:
    mistakes = Mistakes()
    node = parse_yaml(file.front.yaml, file.file, mistakes)
    if node is not None and node.value is not None and not isinstance(node.value, dict):
        mistakes.add("the front comment must be keys with values", hint="mode: append", place=node.where)
    mistakes.raise_if_any()
    nodes = node.value if node is not None and isinstance(node.value, dict) else {}
    front = read_model(ModelFront, Entries(nodes, "", node.place if node else None, {}), mistakes)
    mistakes.raise_if_any()
    assert front is not None
    spec = ModelSpec(**{name: getattr(front, name) for name in ModelSpec.model_fields})
    checks = checks_of(front.checks)
    promises = _promises(project, file, front.contract)
    named = uniquely_named((*checks, *promises))
    drift = _drift(front, nodes.get("schema_contract"), mistakes)
    mistakes.raise_if_any()
    return FrontSaid(spec, named[: len(checks)], named[len(checks) :], drift, front.contract or "")


def _promises(project: Project, file: ModelFile, contract: str | None) -> tuple[Check, ...]:
    """What the data contract asks that the front comment names; its file lies by the project's folder."""
    if contract is None:
        return ()
    try:
        return read_contract_file(project.folder, contract, file.name.name).checks
    except ConfigError as error:
        where = {"file": f"{file.file}: contract: {contract}"}
        raise ConfigError(error.what, hint=error.hint, where=where) from error


def _drift(front: ModelFront, node: Node | None, mistakes: Mistakes) -> dict[str, str]:
    said = front.schema_contract
    if said is None or node is None:
        return {}
    if isinstance(node.value, dict) and "tables" in node.value:
        what, hint = "tables are for sources: a model makes one table", "say columns and types"
        mistakes.add(what, path="schema_contract", hint=hint, place=node.where)
    if front.mode is Mode.HISTORY and said.contract.sets_aside:
        what = "discard_row sets rows aside, and a history that is built whole would end their keys"
        mistakes.add(what, path="schema_contract", hint="discard_value, or freeze", place=node.where)
    parts = {"columns": said.columns, "types": said.types}
    return {part: str(word) for part, word in parts.items() if word is not None}
