"""The base of everything that users write in YAML, JSON or keyword arguments."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Typed options: unknown names are mistakes, values are not changed after reading.

    A field's `description` becomes its help in the YAML schema, the CLI, the web form and the docs page.
    Secrets have the type `asgard.core.secret.Secret`. Users' older names stay as aliases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, validate_default=True)
