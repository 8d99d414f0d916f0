"""A schema registry: schemas by their number and by their subject, and the frame that messages have by it.

Reference: https://docs.confluent.io/platform/current/schema-registry/develop/api.html,
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from asgard.core.cancel import Cancel
from asgard.core.errors import DataError, QueryError
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.json_text import parse

FRAME = struct.Struct(">bI")
"""A byte 0, then the schema's number."""


class NoSchema(Exception):
    """A message that cannot be decoded for want of its schema; the text says why."""


@dataclass(frozen=True)
class Schema:
    """A schema as it was registered.

    Attributes:
        kind: AVRO, PROTOBUF or JSON.
        text: as it was written.
        references: name in the text to the schema that it means, in the order of the registration.
    """

    kind: str
    text: str
    references: Mapping[str, Schema] = field(default_factory=dict)


class Registry:
    """Schemas, each asked for once. Used by one thread."""

    def __init__(self, settings: HttpSettings, cancel: Cancel) -> None:
        self._client = HttpClient(settings, cancel)
        self._known: dict[int, Schema | None] = {}

    def schema(self, number: int) -> Schema:
        """The schema of a message.

        Raises:
            NoSchema: the registry has none of that number.
            Unreachable, AuthenticationError, Refused: the registry did not answer, or not us.
        """
        if number not in self._known:
            answer = self._client.send(Request(f"/schemas/ids/{number}"), wanted=(404,))
            self._known[number] = None if answer.status == 404 else self._read(answer.content)
        found = self._known[number]
        if found is None:
            raise NoSchema(f"the registry has no schema {number}")
        return found

    def latest(self, subject: str) -> Schema:
        """The newest schema of a subject.

        Raises:
            QueryError: the registry does not know the subject.
        """
        answer = self._client.send(
            Request(f"/subjects/{quote(subject, safe='')}/versions/latest"), wanted=(404,)
        )
        if answer.status == 404:
            raise QueryError(
                f"the schema registry has no subject {subject!r}",
                hint="`subject:` names the one of the topic's values",
            )
        return self._read(answer.content)

    def close(self) -> None:
        """Gives the connections back."""
        self._client.close()

    def _read(self, content: bytes) -> Schema:
        document = parse(content, "the schema registry's answer")
        try:
            references = {
                str(one["name"]): self._version(str(one["subject"]), int(one["version"]))
                for one in document.get("references") or ()
            }
            return Schema(str(document.get("schemaType") or "AVRO"), str(document["schema"]), references)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"the schema registry's answer has no {error}", hint="is the URL that of a schema registry?"
            ) from error

    def _version(self, subject: str, version: int) -> Schema:
        url = f"/subjects/{quote(subject, safe='')}/versions/{version}"
        return self._read(self._client.send(Request(url)).content)


def unframed(payload: bytes) -> tuple[int, bytes]:
    """The schema's number, and what follows it.

    Raises:
        NoSchema: the payload has no such frame.
    """
    if len(payload) < FRAME.size or payload[0] != 0:
        raise NoSchema("it does not begin with the number of a schema")
    (_, number) = FRAME.unpack_from(payload)
    return number, payload[FRAME.size :]


def expected(schema: Schema, kind: str, what: Any) -> Schema:
    """The schema, if it is of the kind.

    Raises:
        QueryError: it is of another one.
    """
    if schema.kind != kind:
        raise QueryError(f"the schema of {what} is {schema.kind}", hint=f"format: {schema.kind.lower()}")
    return schema
