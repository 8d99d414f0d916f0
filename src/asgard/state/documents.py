"""Documents that programs hand in: sources, sinks, ingestions, transforms. Each has an id, a kind and a name.

Knows nothing of what a document says, but that it holds no secret: whoever stores one has taken them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgard.core.errors import ConfigError
from asgard.state.database import Database

SCHEMA_VERSION = 1
FORMAT = 1
NAME = "asgard_documents"
SCHEMA = """
CREATE TABLE asgard_documents (
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (workspace, kind, id)
);
CREATE INDEX asgard_documents_by_age ON asgard_documents (workspace, kind, created_at, id);
CREATE UNIQUE INDEX asgard_documents_by_name ON asgard_documents (workspace, kind, name)
"""


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        id: its own among those of its kind, for ever.
        name: its own among those of its kind, while it is there.
        body: JSON values.
        created_at: seconds since 1970 by the database's clock; 0 before it is stored.
    """

    kind: str
    id: str
    name: str
    body: Mapping[str, Any] = field(repr=False)
    created_at: float = 0.0


class DocumentStore:
    """The documents of one workspace. Safe to use from any thread.

    Args:
        database: where they lie; its tables are made by `migrate(SCHEMA, SCHEMA_VERSION)`.

    Raises:
        Unreachable: by every method: the database does not answer, or was not fast enough.
    """

    def __init__(self, database: Database, workspace: str = "default") -> None:
        self._database = database
        self._workspace = workspace

    def add(self, document: Document) -> bool:
        """Puts one in; False when there is one of its id or its name already: then nothing has changed."""
        with self._database.writing() as rows:
            added = rows(
                "INSERT INTO asgard_documents (workspace, kind, id, name, document, created_at)"
                f" VALUES (?, ?, ?, ?, ?, {self._database.now}) ON CONFLICT DO NOTHING RETURNING id",
                (self._workspace, document.kind, document.id, document.name,
                 json.dumps({"format": FORMAT, **document.body})),
            )  # fmt: skip
        return bool(added)

    def get(self, kind: str, id: str) -> Document | None:
        """One by its id."""
        return next(iter(self._found("kind = ? AND id = ?", (kind, id))), None)

    def page(self, kind: str, after: tuple[float, str] | None = None, limit: int = 50) -> list[Document]:
        """The oldest first.

        Args:
            after: `created_at` and id of a document, which may be gone: only those that came later; how a
                next page is asked for.
        """
        where, given = "kind = ?", (kind,)
        if after is not None:
            where += " AND (created_at, id) > (?, ?)"
        return self._found(f"{where} ORDER BY created_at, id LIMIT ?", (*given, *(after or ()), limit))

    def delete(self, kind: str, id: str) -> bool:
        """Takes one away; False when there is none."""
        with self._database.writing() as rows:
            gone = rows(
                "DELETE FROM asgard_documents WHERE workspace = ? AND kind = ? AND id = ? RETURNING id",
                (self._workspace, kind, id),
            )
        return bool(gone)

    def forget(self, kind: str, keep_days: float) -> None:
        """Takes away those of a kind that came longer ago."""
        with self._database.writing() as rows:
            rows(
                "DELETE FROM asgard_documents WHERE workspace = ? AND kind = ?"
                f" AND created_at < {self._database.now} - ? RETURNING id",
                (self._workspace, kind, keep_days * 86400),
            )

    def _found(self, where: str, given: tuple[Any, ...]) -> list[Document]:
        with self._database.reading() as rows:
            found = rows(
                "SELECT kind, id, name, document, created_at FROM asgard_documents"
                f" WHERE workspace = ? AND {where}",
                (self._workspace, *given),
            )
        return [_document(*row) for row in found]


def _document(kind: str, id: str, name: str, text: str, created_at: float) -> Document:
    body = json.loads(text)
    # Promise 10: what a newer version wrote is refused by name.
    if body.pop("format") != FORMAT:
        raise ConfigError(
            f"{kind} {id} was written by a newer version", hint="pip install --upgrade asgard-platform"
        )
    return Document(kind, id, name, body, created_at)
