"""Documents in files of the project: YAML and JSON read as they are, texts written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.yaml_text import read_yaml
from asgard.core.errors import ConfigError, Refused


def document_of(path: Path, called: str) -> Any:
    """What a file of YAML or JSON says; dates stay texts.

    Raises:
        ConfigError: there is none, or it is no YAML.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {called}", hint="paths begin at the project file's folder")
    mistakes = Mistakes()
    node = read_yaml(path, called, mistakes)
    mistakes.raise_if_any()
    return None if node is None else node.plain()


def yaml_of(document: Any) -> str:
    """A document as YAML, its keys in their order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def write_file(path: Path, text: str, *, replace: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        ConfigError: it is there already, and may not be replaced.
        Refused: it cannot be written.
    """
    if path.exists() and not replace:
        raise ConfigError(f"{path} is there already", hint="--force replaces it")
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
