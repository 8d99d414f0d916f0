"""Sinks that programs hand in over the API: places where the tables of ingestions and transforms lie."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field
from pydantic.aliases import AliasChoices

from asgard.app.config.lakes import LakeConnection, far_connection
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import LakeSpec, Project
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.validation import Entries, read_model
from asgard.app.config.yaml_text import tree_of
from asgard.app.documents.documents import (
    Hiding,
    created,
    found,
    keep,
    open_documents,
    page_of,
    refuse_references,
    removed,
    shown,
)
from asgard.app.jobs.jobs import Page
from asgard.app.project.workspace import Workspace
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.state.documents import Document

KIND = "sink"
CONFIG = "destination_config"
LOCAL = ("local", "file")
LAYER = "bronze"


class LocalSink(Config):
    """A folder of the project."""

    path: str = Field(
        min_length=1,
        validation_alias=AliasChoices("path", "location", "destination_path"),
        description="The folder of the lake, relative to the project's; bronze/ at its end is left out.",
    )


class S3Sink(Config):
    """A bucket. Without keys those of the environment or of the machine's role count."""

    s3_bucket_name: str = Field(
        min_length=1,
        validation_alias=AliasChoices("s3_bucket_name", "bucket_name"),
        description="The bucket.",
    )
    s3_bucket_path: str = Field(default="", description="Where in it; bronze/ at its end is left out.")
    s3_bucket_region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("s3_bucket_region", "region"),
        description="The bucket's region.",
    )
    s3_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("s3_endpoint", "endpoint_url"),
        description="The address of a store that is not Amazon's.",
    )
    aws_access_key_id: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("aws_access_key_id", "access_key_id"),
        description="The key's id.",
    )
    aws_secret_access_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("aws_secret_access_key", "secret_access_key"),
        description="The key.",
    )

    @property
    def lake(self) -> LakeSpec:
        """The lake in it.

        Raises:
            ConfigError: none can lie there.
        """
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ConfigError(
                f"{CONFIG}: aws_access_key_id and aws_secret_access_key come in pairs",
                hint="give both, or none: then the environment or the machine's role has them",
            )
        path = PurePosixPath("/", self.s3_bucket_path)
        path = path.parent if path.name == LAYER else path
        location = f"s3://{self.s3_bucket_name}{'' if str(path) == '/' else path}"
        connection = LakeConnection(
            endpoint_url=self.s3_endpoint,
            region=self.s3_bucket_region,
            access_key=self.aws_access_key_id,
            secret_key=self.aws_secret_access_key,
        )
        far_connection(location, connection).client_options()  # which refuses addresses that are never asked
        return LakeSpec(location=location, connection=connection)


@dataclass(frozen=True)
class NewSink:
    """A sink as it is posted."""

    type: str
    name: str
    workspace_name: str
    config: Mapping[str, Any]


def add_sink(project: Project, new: NewSink) -> dict[str, Any]:
    """Reads a sink, and keeps it. Nothing is written to it yet.

    Raises:
        ConfigError: with everything that is wrong with it, or no lake can lie there.
        Refused: the store of secrets cannot be used.
    """
    mistakes = Mistakes()
    refuse_references(new.config, CONFIG, mistakes)
    if new.type not in (*LOCAL, "s3"):
        mistakes.add(
            f"there is no destination_type {new.type!r}", path="destination_type", hint="there are: s3, local"
        )
    mistakes.raise_if_any()
    entries = Entries(tree_of(new.config).value, CONFIG, None, {})
    config: LocalSink | S3Sink | None
    if new.type in LOCAL:
        config = read_model(LocalSink, entries, mistakes)
    else:
        config = read_model(S3Sink, entries, mistakes)
    mistakes.raise_if_any()
    assert config is not None
    location = config.lake.location if isinstance(config, S3Sink) else _folder(project, config.path)
    id = str(uuid.uuid4())
    hiding = Hiding(f"{KIND}/{id}", config)
    body = {
        "label": new.name,
        "destination_type": new.type,
        "workspace_name": new.workspace_name,
        "config": hiding.of(new.config),
        "location": location,
    }
    keep(project, hiding.taken)
    with open_documents(project) as store:
        store.add(Document(KIND, id, id, body))
        stored = store.get(KIND, id)
    assert stored is not None
    return described(stored)


def sinks(project: Project, after: str | None, limit: int) -> Page:
    """Those that there are, the oldest first."""
    listed, behind = page_of(project, KIND, after, limit)
    return Page([described(document) for document in listed], behind)


def sink(project: Project, id: str) -> dict[str, Any]:
    """One by its id.

    Raises:
        ConfigError: there is none.
    """
    return described(found(project, KIND, id))


def delete_sink(project: Project, id: str) -> dict[str, Any]:
    """Takes one away, with its secrets; its tables stay where they lie.

    Raises:
        ConfigError: there is none.
    """
    return described(removed(project, KIND, id))


def described(document: Document) -> dict[str, Any]:
    """As anybody may see it."""
    body = document.body
    return {
        "id": document.id,
        "destination_id": document.id,
        "name": body["label"],
        "destination_type": body["destination_type"],
        "workspace_name": body["workspace_name"],
        CONFIG: shown(body["config"]),
        "location": body["location"],
        "created_at": created(document),
    }


def lake_of(project: Project, id: str | None) -> LakeSpec:
    """Where the tables of a sink lie; of the project's own lake for None.

    Raises:
        ConfigError: there is no such sink.
        Refused, Unreachable: the store of secrets does not give its keys.
    """
    if id is None:
        return project.lake
    body = found(project, KIND, id).body
    if body["destination_type"] != "s3":
        return LakeSpec(location=body["location"])
    mistakes = Mistakes()
    tree = resolve_tree(tree_of(body["config"]), References(project.folder), mistakes)
    mistakes.raise_if_any()
    config = read_model(S3Sink, Entries(tree.value, CONFIG, None, {}), mistakes)
    mistakes.raise_if_any()
    assert config is not None
    return config.lake


def sink_workspace(project: Project, id: str | None) -> Workspace:
    """The tables of a sink, or of the project's own lake for None; without sources.

    Raises:
        ConfigError: there is no such sink.
    """
    return Workspace(replace(project, lake=lake_of(project, id), sources={}, files=None))


def first_sink(project: Project) -> str | None:
    """The id of the sink that transforms read and write: the first one, of S3 where there is any.

    None where there is none at all: then it is the project's own lake.
    """
    with open_documents(project) as store:
        listed = store.page(KIND, limit=1000)
    in_s3 = [one for one in listed if one.body["destination_type"] == "s3"]
    return next((one.id for one in (*in_s3, *listed)), None)


def _folder(project: Project, path: str) -> str:
    """The lake's folder, relative to the project's: nobody writes elsewhere by way of a sink."""
    inside = project.folder.resolve()
    whole = (inside / path).resolve()
    whole = whole.parent if whole.name == LAYER else whole
    if whole == inside or not whole.is_relative_to(inside):
        raise ConfigError(
            f"{CONFIG}.path: {path} is no folder inside of the project's",
            hint="name one below it, such as data/lake; asgard.yml may have the lake elsewhere",
        )
    return Path(whole).relative_to(inside).as_posix()
