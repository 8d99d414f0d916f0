"""Connectors that only these tests have: a database with queries, an API without, and one of a user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import AliasChoices, Field, field_validator

from asgard.app.config.project import Project, load_project
from asgard.core import registry
from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError
from asgard.core.position import Position, Token
from asgard.core.secret import Secret
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Stream


class _Silent(Source):
    """Reads nothing: these tests never connect."""

    def check(self) -> None: ...

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        yield from ()

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        return Plan([])


class WarehouseConfig(Config):
    host: str = Field(description="The server's name or address.")
    port: int = Field(default=5439, ge=1, le=65535)
    database: str = Field(validation_alias=AliasChoices("database", "dbname"))
    username: str | None = None
    password: Secret | None = None
    ssl_mode: Literal["disable", "require", "verify-full"] = "require"
    timeout_seconds: float = Field(
        default=30, validation_alias=AliasChoices("timeout_seconds", "connection_timeout")
    )
    certificate: LocalPath = "certificates/root.pem"
    headers: dict[str, str] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @field_validator("username")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and " " in value:
            raise ValueError(f"{value!r} has a blank in it; leave it out")
        return value


class WarehouseOptions(Config):
    columns: dict[str, str] = Field(default_factory=dict)
    batch_rows: int | None = Field(default=None, gt=0)


class Warehouse(_Silent):
    type = "rowstore"
    features = Feature.QUERY | Feature.CURSOR
    Config = WarehouseConfig
    StreamOptions = WarehouseOptions


class Bearer(Config):
    kind: Literal["bearer"]
    token: Secret


class Basic(Config):
    kind: Literal["basic"]
    user: str
    password: Secret


class HubConfig(Config):
    base_url: str = "https://hub.example"
    api_key: Secret | None = None
    rate_limit: int | None = None
    auth: Bearer | Basic | None = Field(default=None, discriminator="kind")
    auth_type: Literal["bearer", "basic", "api_key"] | None = None
    auth_token: Secret | None = None


class HubOptions(Config):
    path: str
    method: str = "GET"
    params: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    pagination: dict[str, Any] | None = None
    format: str | None = None


class Hub(_Silent):
    type = "hub_api"
    Config = HubConfig
    StreamOptions = HubOptions


class RefusingConfig(Config):
    dsn: Secret

    @field_validator("dsn")
    @classmethod
    def _told(cls, value: Secret) -> Secret:
        raise ConfigError(f"cannot read {value.get_secret_value()}", hint="write it anew")


class Refusing(_Silent):
    type = "refusing"
    Config = RefusingConfig


OWN: dict[str, Any] = {"rowstore": Warehouse, "hub_api": Hub, "refusing": Refusing}


class Folder:
    """A folder with project files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "asgard.yml") -> Path:
        file = self.path / name
        file.write_text(text)
        return file

    def load(self, text: str, env: str | None = None, **given: Any) -> Project:
        self.write(text)
        return load_project(self.path, env, **given)

    def mistakes(self, text: str, env: str | None = None) -> list[str]:
        """What is told about a project file, a line each; fails when nothing is."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, env)
        return caught.value.what.splitlines()


def use_own_connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the connectors for one test."""
    for name, connector in OWN.items():
        monkeypatch.setitem(registry._registered, name, connector)
