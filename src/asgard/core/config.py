"""The base of everything that users write in YAML, JSON or keyword arguments."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, WithJsonSchema


class Config(BaseModel):
    """Typed options: unknown names are mistakes, values are not changed after reading.

    A field's `description` becomes its help in the YAML schema, the CLI, the web form and the docs page.
    Secrets have the type `asgard.core.secret.Secret`, files and folders of this machine `LocalPath`. Users'
    older names stay as aliases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, validate_default=True)


FOLDER = "folder"
"""Key of the validation context: the folder of the file that the options are written in."""


def _anchored(path: str, info: ValidationInfo) -> str:
    folder = info.context.get(FOLDER) if isinstance(info.context, dict) else None
    return os.path.join(folder, os.path.expanduser(path)).removesuffix("/.") if folder else path


LocalPath = Annotated[str, AfterValidator(_anchored), WithJsonSchema({"type": "string", "format": "path"})]
"""A file or folder of this machine: what is relative begins at the file that it is written in (asgard.yml),
and at the process's folder where there is none."""
