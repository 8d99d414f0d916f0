"""Where a secret of the project's own store is used: in its files, and in what programs posted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asgard.app.config.project import Project
from asgard.app.config.validation import dotted
from asgard.app.config.yaml_text import Node
from asgard.app.documents.documents import OURS, open_documents
from asgard.app.secrets.secrets import list_secrets
from asgard.core.errors import ConfigError
from asgard.state.documents import Document, DocumentStore

KINDS = ("datasource", "sink")
PAGE_ROWS = 500


def show_secret(project: Project, name: str) -> dict[str, Any]:
    """When a secret was set, and its uses; never its value (Promise 6). Needs no key.

    Raises:
        ConfigError: there is none of that name.
    """
    for entry in list_secrets(project.file):
        if entry["name"] == name:
            return {**entry, "used_by": [*_in_files(project, name), *_in_documents(project, name)]}
    raise ConfigError(f"the store has no secret {name!r}", hint="GET /secrets lists them")


def _in_files(project: Project, name: str) -> Iterator[dict[str, str]]:
    if project.files is None:
        return
    for path, node in _scalars(project.files.written):
        if name in OURS.findall(node.text):
            yield {"kind": "file", "place": str(node.place or project.file.name), "key": path}


def _scalars(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _scalars(child, dotted(path, key))
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            yield from _scalars(child, dotted(path, number))
    elif isinstance(node.value, str):
        yield path, node


def _in_documents(project: Project, name: str) -> Iterator[dict[str, str]]:
    with open_documents(project) as store:
        for kind in KINDS:
            for document in _all(store, kind):
                if name in OURS.findall(str(document.body["config"])):
                    yield {"kind": kind, "id": document.id, "name": document.body["label"]}


def _all(store: DocumentStore, kind: str) -> Iterator[Document]:
    after: tuple[float, str] | None = None
    while page := store.page(kind, after, PAGE_ROWS):
        yield from page
        after = page[-1].created_at, page[-1].id
