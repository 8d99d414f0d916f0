"""Sources and sinks that programs post, put at an Airbyte server too, where AIRBYTE_BASE_URL is set.

The server makes or refuses them while they are posted; under their names it has one of each, whoever made it.
What is kept here is what is kept without Airbyte, and the server's id. So transforms find an S3 sink here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import SecretStr

from asgard.app.airbyte.server import airbyte_settings, open_airbyte, put_sink, put_source
from asgard.app.airbyte.words import sink_words
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.references import References
from asgard.app.documents import datasources, sinks
from asgard.app.documents.datasources import NewSource
from asgard.app.documents.documents import (
    Hiding,
    found,
    keep,
    open_documents,
    refuse_references,
    revealed,
)
from asgard.app.documents.sinks import NewSink
from asgard.core.errors import ConfigError, Conflict
from asgard.state.documents import Document
from asgard.transport.airbyte import AirbyteClient
from asgard.transport.airbyte_answers import Kind, hidden_in

AIRBYTE_ID = "airbyte_id"
PAGE_ROWS = 500
ENDS = {Kind.SOURCE: (datasources.KIND, "source_type"), Kind.DESTINATION: (sinks.KIND, "destination_type")}
"""By Airbyte's kind: ours, and which field of a document has the connector."""


def hands_over(project: Project) -> bool:
    """Whether there is an Airbyte server that moves what programs post."""
    return bool(References(project.folder).variable("AIRBYTE_BASE_URL"))


def add_datasource(project: Project, new: NewSource) -> dict[str, Any]:
    """Makes a source at the server, and keeps it here.

    Raises:
        ConfigError: Airbyte does not take it, or a text of it is a reference.
        Conflict: one of that name was posted already.
        Refused, Unreachable: the server does not let us, or does not answer; nothing is kept.
    """
    _refuse(project, datasources.KIND, new, datasources.CONFIG)
    with open_airbyte(settings=airbyte_settings(project.folder)) as airbyte:
        made = put_source(airbyte, new.workspace_name, new.name, new.type, new.config)
    id = str(uuid.uuid4())
    hiding = Hiding(f"{datasources.KIND}/{id}", datasources.config_of(project, new) or _hidden(new.config))
    body = {
        "label": new.name,
        "source_type": new.type,
        "workspace_name": new.workspace_name,
        "config": hiding.of(new.config),
        AIRBYTE_ID: made.id,
    }
    keep(project, hiding.taken)
    return datasources.described(datasources.stored(project, id, new.name, body))


def add_sink(project: Project, new: NewSink) -> dict[str, Any]:
    """Makes a destination at the server, and keeps it here.

    Raises:
        ConfigError: it is not in S3, Airbyte does not take it, or a text of it is a reference.
        Conflict: one of that name was posted already.
        Refused, Unreachable: the server does not let us, or does not answer; nothing is kept.
    """
    if new.type != "s3":
        raise ConfigError(
            f"destination_type: Airbyte is not given sinks of the type {new.type!r}",
            hint="use s3, or unset AIRBYTE_BASE_URL to load with Asgard's own connectors",
        )
    _refuse(project, sinks.KIND, new, sinks.CONFIG)
    words = sink_words(new.type, new.config)
    path = PurePosixPath("/", str(words["s3_bucket_path"]))
    path = path.parent if path.name == sinks.LAYER else path
    with open_airbyte(settings=airbyte_settings(project.folder)) as airbyte:
        made = put_sink(airbyte, new.workspace_name, new.name, new.type, new.config)
    id = str(uuid.uuid4())
    hiding = Hiding(f"{sinks.KIND}/{id}", _hidden(new.config))
    body = {
        "label": new.name,
        "destination_type": new.type,
        "workspace_name": new.workspace_name,
        "config": hiding.of(new.config),
        "location": f"s3://{words['s3_bucket_name']}{'' if str(path) == '/' else path}",
        AIRBYTE_ID: made.id,
    }
    keep(project, hiding.taken)
    with open_documents(project) as store:
        store.add(Document(sinks.KIND, id, id, body))
    return sinks.described(found(project, sinks.KIND, id)) | {AIRBYTE_ID: made.id}


def id_at_airbyte(project: Project, airbyte: AirbyteClient, kind: Kind, id: str) -> str:
    """The server's id of a posted source or sink; one that was posted before there was a server is made now.

    Raises:
        ConfigError: there is none, or Airbyte does not take it.
        Refused, Unreachable: the server, or the store of secrets, does not let us or does not answer.
    """
    ours, type_field = ENDS[kind]
    body = found(project, ours, id).body
    if AIRBYTE_ID in body:
        return str(body[AIRBYTE_ID])
    put = put_source if kind is Kind.SOURCE else put_sink
    config = revealed(project, body["config"])
    return put(airbyte, body["workspace_name"], body["label"], body[type_field], config).id


def delete_at_airbyte(project: Project, kind: str, id: str) -> None:
    """Takes a posted source or sink away at the server, before it is taken away here.

    Args:
        kind: ours: datasource or sink.

    Raises:
        ConfigError: there is none.
        Refused, Unreachable: the server does not let us, or does not answer; it is there as before.
    """
    body = found(project, kind, id).body
    if AIRBYTE_ID in body and hands_over(project):
        at_airbyte = Kind.SOURCE if kind == datasources.KIND else Kind.DESTINATION
        with open_airbyte(settings=airbyte_settings(project.folder)) as airbyte:
            airbyte.delete_actor(at_airbyte, body[AIRBYTE_ID])


def _refuse(project: Project, kind: str, new: NewSource | NewSink, path: str) -> None:
    mistakes = Mistakes()
    refuse_references(new.config, path, mistakes)
    mistakes.raise_if_any()
    after: tuple[float, str] | None = None
    with open_documents(project) as store:
        while page := store.page(kind, after, PAGE_ROWS):
            after = page[-1].created_at, page[-1].id
            for one in page:
                same = (one.body["label"], one.body["workspace_name"]) == (new.name, new.workspace_name)
                if same and AIRBYTE_ID in one.body:
                    # Airbyte has one of each name: the second would change what the first one is.
                    raise Conflict(
                        f"there is a {kind} {new.name!r} in the workspace {new.workspace_name!r}",
                        hint=f"its id is {one.id}; delete it, or take another name",
                    )


def _hidden(config: Mapping[str, Any]) -> list[SecretStr]:
    """Every text of a configuration in Airbyte's words that may be a secret."""
    return [SecretStr(text) for text in hidden_in(_texts(config))]


def _texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _texts(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_texts(child) for child in value]
    return value if isinstance(value, str) else None
