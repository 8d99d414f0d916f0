"""The project's models, read from their files with every mistake placed."""

from __future__ import annotations

from pydantic import Field

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.validation import Entries, read_model
from asgard.app.config.yaml_text import parse_yaml
from asgard.core.check import Check
from asgard.quality.spec import CheckSpec, checks_of
from asgard.transform.models import Model, ModelFile, ModelSpec, load_models


class ModelFront(ModelSpec):
    """Everything that a model's front comment takes."""

    checks: tuple[CheckSpec, ...] = Field((), description="What the rows must be up to before they appear.")


def read_models(project: Project) -> tuple[Model, ...]:
    """The models in the order of their dependencies.

    Raises:
        ConfigError: with everything that is wrong in all of their files, one mistake a line.
    """
    return tuple(load_models(project.models_folder, _read_front))


def _read_front(file: ModelFile) -> tuple[ModelSpec, tuple[Check, ...]]:
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
    return spec, checks_of(front.checks)
