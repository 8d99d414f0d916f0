"""What programs hand in over the API: where the documents lie, and how secrets stay out of them.

A secret of a posted config goes to the project's encrypted store under `KIND/ID/KEY`, and the document holds
a reference in its place (Promise 6). No other text of it may be a reference: who may post a source may not
read the server's files, variables and other secrets by way of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project import Project
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.shared_database import Tables, open_database
from asgard.app.config.validation import SECRET_NAME, dotted
from asgard.app.config.yaml_text import tree_of
from asgard.app.secrets.secrets import delete_secret, set_secret
from asgard.core.errors import ConfigError
from asgard.core.secret import STARS
from asgard.state.documents import NAME, SCHEMA, SCHEMA_VERSION, Document, DocumentStore

TABLES = Tables(NAME, "documents.db", "store of documents", SCHEMA, SCHEMA_VERSION)
WHOLE = re.compile(r"\$\{[^{}]*\}")
OURS = re.compile(r"\$\{store:([^{}]+)\}")
SHORTEST_TOLD_APART = 3
"""A secret of fewer characters is not looked for inside of other texts: it would be found everywhere."""


@contextmanager
def open_documents(project: Project) -> Iterator[DocumentStore]:
    """The project's documents.

    Raises:
        Unreachable, AuthenticationError, ConfigError: the database cannot be used.
    """
    database = open_database(project, TABLES)
    try:
        yield DocumentStore(database, project.workspace)
    finally:
        database.close()


def found(project: Project, kind: str, id: str) -> Document:
    """A document by its id.

    Raises:
        ConfigError: there is none.
    """
    with open_documents(project) as store:
        document = store.get(kind, id)
    if document is None:
        raise ConfigError(f"there is no {kind} {id!r}", hint=f"GET /{kind} lists them")
    return document


def removed(project: Project, kind: str, id: str) -> Document:
    """Takes a document away, and the secrets of its config; gives it as it was.

    Raises:
        ConfigError: there is none.
    """
    document = found(project, kind, id)
    with open_documents(project) as store:
        store.delete(kind, id)
    drop(project, document.body["config"])
    return document


def page_of(project: Project, kind: str, after: str | None, limit: int) -> tuple[list[Document], str | None]:
    """Some documents, the oldest first, and the cursor of the page behind them; None for the last.

    The cursor is the last document's own place, so that nothing that comes or goes meanwhile moves a page.

    Raises:
        ConfigError: the cursor is none of ours.
    """
    place = None
    if after is not None:
        instant, _, id = after.partition("_")
        try:
            place = float(instant), id
        except ValueError:
            raise ConfigError(f"{after!r} is no cursor", hint="`next` of the page before is one") from None
    with open_documents(project) as store:
        listed = store.page(kind, place, limit + 1)
    last = listed[limit - 1] if len(listed) > limit else None
    return listed[:limit], f"{last.created_at!r}_{last.id}" if last else None


def created(document: Document) -> str:
    """When it came, as ISO 8601."""
    return datetime.fromtimestamp(document.created_at, UTC).isoformat(timespec="seconds")


# ---- secrets


class Hiding:
    """Takes the secrets out of one posted config.

    Args:
        prefix: what their names in the store begin with: `datasource/ID`.
        config: the config as its connector read it: it knows which values are secrets.
    """

    def __init__(self, prefix: str, config: object) -> None:
        self._prefix = prefix
        self._known = {text for text in _secrets_in(config) if text}
        self.taken: dict[str, str] = {}

    def of(self, value: Any, path: str = "", *, secret: bool = False) -> Any:
        """The same value with references in the place of secrets, which are in `taken` then."""
        if isinstance(value, Mapping):
            return {
                str(key): self.of(child, dotted(path, str(key)), secret=secret or _named(str(key)))
                for key, child in value.items()
            }
        if isinstance(value, list):
            return [self.of(child, dotted(path, number), secret=secret) for number, child in enumerate(value)]
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        if not text or not (secret or self._holds(text)):
            return value
        name = f"{self._prefix}/{len(self.taken)}-{re.sub(r'[^A-Za-z0-9]+', '_', path).strip('_')}"[:200]
        self.taken[name] = text
        return "${store:" + name + "}"

    def _holds(self, text: str) -> bool:
        return text in self._known or any(
            len(secret) >= SHORTEST_TOLD_APART and secret in text for secret in self._known
        )


def keep(project: Project, taken: Mapping[str, str]) -> None:
    """Puts secrets into the encrypted store.

    Raises:
        ConfigError, Refused: the store cannot be used.
    """
    for name, value in taken.items():
        set_secret(project.file, name, value)


def drop(project: Project, value: Any) -> None:
    """Takes the secrets that a document refers to out of the store again."""
    for name in OURS.findall(str(value)):
        with suppress(ConfigError):  # it is gone already
            delete_secret(project.file, name)


def revealed(project: Project, config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config with its secrets.

    Raises:
        ConfigError: one of them is gone.
        Refused: the store of secrets does not give them.
    """
    mistakes = Mistakes()
    tree = resolve_tree(tree_of(config), References(project.folder), mistakes)
    mistakes.raise_if_any()
    return {key: node.plain() for key, node in tree.value.items()}


def shown(value: Any) -> Any:
    """A stored config as anybody may see it: stars for secrets."""
    if isinstance(value, Mapping):
        return {key: shown(child) for key, child in value.items()}
    if isinstance(value, list):
        return [shown(child) for child in value]
    return STARS if isinstance(value, str) and OURS.search(value) else value


def refuse_references(value: Any, path: str, mistakes: Mistakes, *, hidden: bool = False) -> None:
    """Tells every text that would be looked up on the server.

    Args:
        hidden: the value is a secret that `Hiding` takes out: nobody reads it again as a reference, so that a
            password may have the form of one inside of it.
    """
    if isinstance(value, Mapping):
        for key, child in value.items():
            refuse_references(child, dotted(path, str(key)), mistakes, hidden=hidden or _named(str(key)))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            refuse_references(child, dotted(path, number), mistakes, hidden=hidden)
    elif isinstance(value, str) and "${" in value and not (hidden and not WHOLE.fullmatch(value)):
        mistakes.add(
            "is a reference, and what is posted is not looked up",
            path=path,
            hint="post the value; sources with references stand in asgard.yml",
        )


def _named(key: str) -> bool:
    return SECRET_NAME.search(key) is not None


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _, child in value:
            yield from _secrets_in(child)
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from _secrets_in(child)
    elif isinstance(value, list | tuple | set | frozenset):
        for child in value:
            yield from _secrets_in(child)
