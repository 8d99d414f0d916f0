"""A project around other people's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asgard
from asgard.core.errors import AsgardError
from tests.servers.postgres import Server


def project(folder: Path, source: Mapping[str, Any], tables: Sequence[Any], **keys: Any) -> asgard.Project:
    """A project with one source, called `s`; its lake is `lake` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"version": 1, "lake": {"location": "lake"}, **keys}
    document["data_sources"] = {"s": {**source, "tables": list(tables)}}
    file = folder / "asgard.yml"
    file.write_text(json.dumps(document, ensure_ascii=True))
    return asgard.Project(file)


def outcomes(opened: asgard.Project) -> dict[str, AsgardError | None]:
    """Runs everything: step to its error."""
    return {outcome.step: outcome.error for outcome in opened.run(check=False).outcomes}


def postgres(server: Server, database: str) -> dict[str, Any]:
    """The source for a database of a test server."""
    user: dict[str, Any] = {"username": server.user, "password": server.password, "ssl_mode": "disable"}
    if server.ca_file:
        user |= {"ssl_mode": "verify-full", "ssl_root_cert": server.ca_file}
    where = {"host": server.host, "port": server.port, "database": database}
    return {"type": "postgres", "connection": {**where, **user}}
