"""A manifest: an API as data. What a source and its streams are by default; asgard.yml says what differs.

Shipped ones are JSON, which YAML reads too: copied beside a project, one is a user's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, ValidationError

from asgard.connectors._api.options import ApiStreamOptions
from asgard.core.config import Config
from asgard.core.errors import ConfigError

FOLDER = "manifests"
_MERGED = ("columns", "params")
"""Options whose keys are put together, where both have some."""


class Manifest(Config):
    """An API as data."""

    format: Literal[1] = Field(default=1, description="Of the manifest.")
    description: str = Field(default="", description="What the API is, for people.")
    source: dict[str, Any] = Field(
        default_factory=dict, description="Options of the source: base_url, rate_limit, auth_type, ..."
    )
    check: str = Field(default="", description="A path that answers whoever may read anything.")
    policies: dict[str, dict[str, float | None]] = Field(
        default_factory=dict,
        description="What a 429 says, name and value, to how many seconds to wait for each attempt so far; "
        "null where waiting does not help: {policyName: {SECONDLY: 1, DAILY: null}}.",
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="Options of every stream.")
    streams: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Name to options.")

    def names(self, pattern: str) -> list[str]:
        """The streams whose name fits."""
        return [name for name in self.streams if fnmatchcase(name, pattern)]

    def options(self, name: str, given: ApiStreamOptions | None, model: type[ApiStreamOptions]) -> Any:
        """The options of a stream: what is given goes before the manifest's stream, that before its defaults.

        Raises:
            ConfigError: the manifest's are wrong.
        """
        own = {**_written(self.defaults), **_written(self.streams.get(name, {}))}
        for key in (*_MERGED, "incremental"):
            both = {**self.defaults.get(key, {}), **self.streams.get(name, {}).get(key, {})}
            if both:
                own[key] = both
        options = _validated(own, model, name)
        if given is None:
            return options
        said = {key: getattr(given, key) for key in given.model_fields_set}
        for key in _MERGED:
            if key in said:
                said[key] = {**getattr(options, key), **said[key]}
        return options.model_copy(update=said)


def _written(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under their own names: an alias of one must not stand beside it."""
    return {"path" if key == "endpoint" else key: value for key, value in options.items()}


def _validated(options: Mapping[str, Any], model: type[ApiStreamOptions], name: str) -> Any:
    try:
        return model.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"the manifest's stream {name} is wrong: {place}: {first['msg']}", hint="mend the manifest"
        ) from error


@cache
def shipped(name: str) -> Manifest:
    """A manifest of the package."""
    text = files("asgard.connectors").joinpath(FOLDER, f"{name}.json").read_text(encoding="utf-8")
    return Manifest.model_validate(json.loads(text))
