"""The project's own files: its YAML, its models and contracts; never one that has a secret written in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from asgard.app.checks.contract_files import contract_files
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.validation import SECRET_NAME
from asgard.app.config.yaml_text import Node, read_yaml
from asgard.core.errors import ConfigError

FOLDER = "project"
SHORTEST_FOUND = 8
"""A shorter secret is not looked for inside of texts: it would be found where nobody wrote it."""
_WAY_OUT = (
    'asgard secrets set NAME keeps it encrypted; then write "${store:NAME}", or leave --with-project out'
)


def own_files(project: Project) -> list[Path]:
    """The files, relative to the project's folder: the project file, what lies over it, models, contracts."""
    folder = project.folder
    overlays = folder.glob(f"{project.file.stem}.*{project.file.suffix}")
    contracts = (folder / one.file.partition("#")[0] for one in contract_files(project))
    found = {project.file, *overlays, *contracts, *project.models_folder.rglob("*")}
    inside = (path for path in found if path.is_file() and path.resolve().is_relative_to(folder.resolve()))
    names = {path.resolve().relative_to(folder.resolve()) for path in inside}
    return sorted(name for name in names if not any(step.startswith(".") for step in name.parts))


def refuse_written_secrets(project: Project, files: list[Path]) -> None:
    """Promise 6: no secret leaves in plain text.

    Args:
        project: read with its sources, whose secrets are known then.

    Raises:
        ConfigError: one is written out in a file.
    """
    known = {text.encode() for text in plain_secrets(project) if len(text) >= SHORTEST_FOUND}
    for name in files:
        path = project.folder / name
        if path.suffix in (".yml", ".yaml"):
            tree = read_yaml(path, str(name), Mistakes())
            for key, node in _literal_secrets(tree, "") if tree is not None else ():
                where = f"{name}:{node.where.line}" if node.where else str(name)
                raise ConfigError(f"{where}: {key} is written out, and would be in the backup", hint=_WAY_OUT)
        content = path.read_bytes()
        if any(secret in content for secret in known):
            raise ConfigError(f"{name} has a secret of the project in it", hint=_WAY_OUT)


def plain_secrets(value: object) -> Iterator[str]:
    """Every secret within a value that was read from a project."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _, child in value:
            yield from plain_secrets(child)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name != "files":  # what was read, as it is written
                yield from plain_secrets(getattr(value, field.name))
    elif isinstance(value, dict):
        for child in value.values():
            yield from plain_secrets(child)
    elif isinstance(value, list | tuple | set | frozenset):
        for child in value:
            yield from plain_secrets(child)


def _literal_secrets(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    value: Any = node.value
    if isinstance(value, dict):
        for key, child in value.items():
            below = f"{path}.{key}" if path else str(key)
            plain = isinstance(child.value, str | int | float) and not isinstance(child.value, bool)
            if SECRET_NAME.search(str(key)) and plain:
                if child.value != "" and "${" not in str(child.value):
                    yield below, child
            else:
                yield from _literal_secrets(child, below)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _literal_secrets(child, f"{path}[{number}]")
