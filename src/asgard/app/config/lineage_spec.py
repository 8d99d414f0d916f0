"""`lineage:` of the project file: who is told what was made of what."""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import Field, model_validator

from asgard.core.config import Config
from asgard.core.events import Event
from asgard.core.secret import Secret


class Listener(Protocol):
    """Takes events, and is closed at the end of the run."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Nobody:
    """Listens to nothing."""

    def __call__(self, event: Event) -> None:
        """Lets it pass."""

    def close(self) -> None:
        """Nothing is open."""


class OpenLineageSpec(Config):
    """Where a run's OpenLineage events go: to a server, or into a file."""

    url: str | None = Field(
        default=None, description="The server, such as http://localhost:5000 for Marquez."
    )
    endpoint: str = Field(default="api/v1/lineage", description="The path of the server's lineage endpoint.")
    file: str | None = Field(default=None, description="A file, one event a line; relative to the project.")
    namespace: str = Field(default="asgard", min_length=1, description="Whose jobs they are.")
    api_key: Secret | None = Field(default=None, description="Sent as bearer token.")
    timeout_seconds: float = Field(
        default=5.0, gt=0, description="How long the server may take for one event."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.file is None):
            raise ValueError("needs either url or file")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url begins with http:// or https://")
        return self


class LineageSpec(Config):
    """Who is told what was made of what."""

    openlineage: OpenLineageSpec | None = Field(default=None, description="OpenLineage events of runs.")
