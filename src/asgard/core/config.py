"""The base of everything that users write in YAML, JSON or keyword arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema


class Config(BaseModel):
    """Typed options: unknown names are mistakes, values are not changed after reading.

    A field's `description` becomes its help in the YAML schema, the CLI, the web form and the docs page.
    Secrets have the type `asgard.core.secret.Secret`, files and folders of this machine `LocalPath`. Users'
    older names stay as aliases. What validates is built when it first does: most commands need few models.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, validate_default=True, defer_build=True
    )


FOLDER = "folder"
"""Key of the validation context: the folder of the file that the options are written in."""


def _anchored(path: str, info: ValidationInfo) -> str:
    folder = info.context.get(FOLDER) if isinstance(info.context, dict) else None
    return os.path.join(folder, os.path.expanduser(path)).removesuffix("/.") if folder else path


LocalPath = Annotated[str, AfterValidator(_anchored), WithJsonSchema({"type": "string", "format": "path"})]
"""A file or folder of this machine: what is relative begins at the file that it is written in (asgard.yml),
and at the process's folder where there is none."""

READ_DOCUMENT = "read_document"
"""Key of the validation context: reads the file of a `Document` that is given by its path."""


def read_document(given: Any, info: ValidationInfo) -> Any:
    """What a `Document` is given as, or what the file of that name has, for validators before the fields'.

    Raises:
        ValueError, ConfigError: the file cannot be read.
    """
    if not isinstance(given, str):
        return given
    path = _anchored(given, info)
    read = info.context.get(READ_DOCUMENT) if isinstance(info.context, dict) else None
    if read is not None:
        return read(path)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{given!r} cannot be read as JSON: {error}") from error


Document = Annotated[
    Mapping[str, Any],
    BeforeValidator(read_document),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "path"}, {"type": "object"}]}),
]
"""Keys with values, inline or in a file of their own: YAML for who reads projects, JSON for anybody."""
