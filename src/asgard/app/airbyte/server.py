"""Wishes to an Airbyte server: put a source, a sink, a connection there; hand a whole ingestion over to it.

Names are what people know, so every wish is by name, and asking twice makes one thing: what is there under
the name is brought to what is wished. The server is asked only where AIRBYTE_BASE_URL is set. Jobs are in
`airbyte_jobs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from asgard.app.airbyte.words import sink_words, source_words
from asgard.app.config.project_file import find_project
from asgard.app.config.references import References
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError, Unreachable
from asgard.transport.airbyte import AirbyteClient, AirbyteSettings
from asgard.transport.airbyte_answers import Connection, Kind, Named

DEFAULT_WORKSPACE = "default"
AGAIN_SECONDS = (1.0, 5.0, 15.0)
"""How long to wait before something that may have been made is looked for, and made if it was not."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
Made = TypeVar("Made")


@dataclass(frozen=True)
class Ingestion:
    """What Airbyte is to move.

    Attributes:
        name: of the connection. Its source and sink are called `NAME source` and `NAME sink`.
        source_type, sink_type: as Asgard or Airbyte calls the connector.
        source_config, sink_config: see `airbyte_words`.
        workspace: name or id of Airbyte's workspace.
        streams: which, and how, as Airbyte's `StreamConfiguration` has it; a text is a stream's name. None
            for all that the source has, as its connector would.
        cron: when it runs by itself, in Quartz's words as Airbyte takes them; None for when it is asked to.
    """

    name: str
    source_type: str
    source_config: Mapping[str, Any] = field(repr=False)
    sink_type: str
    sink_config: Mapping[str, Any] = field(repr=False)
    workspace: str = DEFAULT_WORKSPACE
    streams: Sequence[str | Mapping[str, Any]] | None = None
    cron: str | None = None


def airbyte_settings(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> AirbyteSettings:
    """The server of AIRBYTE_BASE_URL, AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET.

    Args:
        folder: whose `.env` counts; None for the project's at or above the process's folder, or for that.
        environ: goes before `.env`; None for the process's.

    Raises:
        ConfigError: AIRBYTE_BASE_URL is not set.
    """
    references = References(folder or _folder(), environ)
    found = {
        name: references.variable(f"AIRBYTE_{name}") for name in ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET")
    }
    if not found["BASE_URL"]:
        raise ConfigError(
            "AIRBYTE_BASE_URL is not set: Asgard knows no Airbyte server",
            hint="export AIRBYTE_BASE_URL=http://HOST:8000, or put it into .env; "
            "AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET are those of an application there",
        )
    return AirbyteSettings(found["BASE_URL"], found["CLIENT_ID"] or None, found["CLIENT_SECRET"] or None)


def given_settings(base_url: str, client_id: str | None, client_secret: str | None) -> AirbyteSettings:
    """The server of a caller's own words.

    Raises:
        ConfigError: only one of id and secret is given.
    """
    return AirbyteSettings(base_url, client_id, client_secret)


def _folder() -> Path:
    try:
        return find_project(Path()).parent
    except ConfigError:  # Airbyte can be asked from anywhere
        return Path()


@contextmanager
def open_airbyte(
    cancel: Cancel | None = None, settings: AirbyteSettings | None = None
) -> Iterator[AirbyteClient]:
    """The server of the settings, by default that of `airbyte_settings`; nothing is asked yet."""
    with AirbyteClient(settings or airbyte_settings(), cancel or Cancel()) as client:
        yield client


def check_airbyte(airbyte: AirbyteClient) -> dict[str, Any]:
    """Signs in and looks around: the API's address and the workspaces that can be seen.

    Raises:
        AuthenticationError, Refused, Unreachable, ConfigError: as the server answers, or does not.
    """
    return {
        "url": airbyte.base_url,
        "workspaces": [{"id": one.id, "name": one.name} for one in airbyte.workspaces()],
    }


def workspace_id(airbyte: AirbyteClient, workspace: str) -> str:
    """The id of a workspace. `default` is also the only one that there is, whatever its name.

    Raises:
        ConfigError: there is none of that name, or more than one.
    """
    if _UUID.fullmatch(workspace):
        return workspace
    known = list(airbyte.workspaces())
    same = [one for one in known if one.name == workspace]
    same = same or [one for one in known if one.name.casefold() == workspace.casefold()]
    if not same and workspace == DEFAULT_WORKSPACE and len(known) == 1:
        same = known
    if len(same) == 1:
        return same[0].id
    if same:
        raise _ambiguous("workspace", workspace, same)
    names = ", ".join(repr(one.name) for one in known) or "none at all"
    raise ConfigError(f"Airbyte has no workspace {workspace!r}", hint=f"it shows us {names}")


def put_source(
    airbyte: AirbyteClient, workspace: str, name: str, source_type: str, config: Mapping[str, Any]
) -> Named:
    """Makes a source, or gives the one of that name this configuration.

    Raises:
        ConfigError: the configuration is not taken, or there is one of that name and another type.
    """
    return _put(
        airbyte, Kind.SOURCE, workspace_id(airbyte, workspace), name, source_words(source_type, config)
    )


def put_sink(
    airbyte: AirbyteClient, workspace: str, name: str, sink_type: str, config: Mapping[str, Any]
) -> Named:
    """Makes a destination, or gives the one of that name this configuration.

    Raises:
        ConfigError: the configuration is not taken, or there is one of that name and another type.
    """
    return _put(
        airbyte, Kind.DESTINATION, workspace_id(airbyte, workspace), name, sink_words(sink_type, config)
    )


def put_connection(
    airbyte: AirbyteClient,
    workspace: str,
    name: str,
    source_id: str,
    sink_id: str,
    options: Mapping[str, Any] | None = None,
) -> Connection:
    """Makes a connection, or gives the one of that name these options.

    Args:
        options: as Airbyte's `ConnectionCreateRequest` has them; None leaves what is there.

    Raises:
        ConfigError: the connection of that name joins others.
    """
    within = workspace_id(airbyte, workspace)

    def there() -> Connection | None:
        same = [one for one in airbyte.connections(within) if one.name == name]
        if len(same) > 1:
            raise _ambiguous("connection", name, same)
        if same and (same[0].source_id, same[0].destination_id) != (source_id, sink_id):
            raise ConfigError(
                f"Airbyte's connection {name!r} joins another source and destination",
                hint="take another name, or delete that one",
            )
        return same[0] if same else None

    def make() -> Connection:
        return airbyte.create_connection(source_id, sink_id, name=name, **(options or {}))

    made, was_there = _once(there, make, airbyte)
    return airbyte.patch_connection(made.id, **options) if was_there and options else made


def hand_over(airbyte: AirbyteClient, ingestion: Ingestion) -> Connection:
    """Puts source, sink and connection of an ingestion in place; nothing is moved yet.

    What fails leaves what was made before it; asking again goes on from there.

    Raises:
        ConfigError: something of it is not taken.
        Refused, Unreachable: as the server answers, or does not.
    """
    source = source_words(ingestion.source_type, ingestion.source_config)
    sink = sink_words(ingestion.sink_type, ingestion.sink_config)
    options = _options(ingestion)
    workspace = workspace_id(airbyte, ingestion.workspace)
    source_end = _put(airbyte, Kind.SOURCE, workspace, f"{ingestion.name} source", source)
    sink_end = _put(airbyte, Kind.DESTINATION, workspace, f"{ingestion.name} sink", sink)
    return put_connection(airbyte, workspace, ingestion.name, source_end.id, sink_end.id, options)


def list_connections(airbyte: AirbyteClient, workspace: str | None = None) -> list[Connection]:
    """The connections of a workspace; None for all that can be seen."""
    return list(airbyte.connections(None if workspace is None else workspace_id(airbyte, workspace)))


def find_connection(airbyte: AirbyteClient, name: str, workspace: str | None = None) -> Connection:
    """The connection of a name or an id.

    Args:
        workspace: where to look; None for all that can be seen.

    Raises:
        ConfigError: there is none, or more than one.
        QueryError: there is none of that id.
    """
    if _UUID.fullmatch(name):
        return airbyte.connection(name)
    known = list_connections(airbyte, workspace)
    same = [one for one in known if one.name == name]
    if len(same) > 1:
        raise _ambiguous("connection", name, same)
    if not same:
        names = ", ".join(repr(one.name) for one in known[:10]) or "none"
        raise ConfigError(f"Airbyte has no connection {name!r}", hint=f"it shows us {names}")
    return same[0]


def connection_as_dict(connection: Connection) -> dict[str, Any]:
    """A connection as JSON."""
    return {
        "connection": connection.id,
        "name": connection.name,
        "source": connection.source_id,
        "destination": connection.destination_id,
        "workspace": connection.workspace_id,
        "status": connection.status,
    }


def _options(ingestion: Ingestion) -> dict[str, Any]:
    schedule = {"scheduleType": "manual"}
    if ingestion.cron is not None:
        schedule = {"scheduleType": "cron", "cronExpression": ingestion.cron}
    if ingestion.streams is None:
        return {"schedule": schedule}
    streams = [{"name": one} if isinstance(one, str) else dict(one) for one in ingestion.streams]
    return {"schedule": schedule, "configurations": {"streams": streams}}


def _put(
    airbyte: AirbyteClient, kind: Kind, workspace: str, name: str, configuration: Mapping[str, Any]
) -> Named:
    def there() -> Named | None:
        same = [one for one in airbyte.actors(kind, workspace) if one.name == name]
        if len(same) > 1:
            raise _ambiguous(kind, name, same)
        if same and same[0].type != configuration[f"{kind}Type"]:
            raise ConfigError(
                f"Airbyte's {kind} {name!r} is of type {same[0].type}, not {configuration[f'{kind}Type']}",
                hint="take another name, or delete that one",
            )
        return same[0] if same else None

    def make() -> Named:
        return airbyte.create_actor(kind, workspace, name, configuration)

    made, was_there = _once(there, make, airbyte)
    return airbyte.replace_actor(kind, made.id, name, configuration) if was_there else made


def _once(
    there: Callable[[], Made | None], make: Callable[[], Made], airbyte: AirbyteClient
) -> tuple[Made, bool]:
    """What is there, or what is made, and whether it was there before the first attempt.

    A server that breaks off may have made it: it is looked for again before anything is made again.
    """
    waits = iter(AGAIN_SECONDS)
    found = there()
    if found is not None:
        return found, True
    while True:
        try:
            return make(), False
        except Unreachable as error:
            wait_seconds = next(waits, None)
            if wait_seconds is None or not error.retryable:
                raise
            airbyte.sleep(wait_seconds)
        found = there()
        if found is not None:
            return found, False


def _ambiguous(what: str, name: str, same: Iterable[Named | Connection]) -> ConfigError:
    ids = ", ".join(one.id for one in same)
    return ConfigError(f"Airbyte has several of {what} {name!r}", hint=f"rename them, or say which: {ids}")
