"""`${store:name}`: our own store, one encrypted file beside the project.

Values are locked by Fernet (AES-128-CBC with HMAC-SHA256) together with their names, so that nobody can put
one in another's place; names and dates are in the clear. Writers take turns by a lock and replace the file as
a whole, durably: a kill at any instant leaves the old one or the new one. Readers need no lock.

ASGARD_SECRET_STORE names another file than `.asgard/secrets.json` beside the project file.

Reference: https://github.com/fernet/spec/blob/master/Spec.md
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asgard.core.errors import ConfigError, Refused
from asgard.core.secret import Secret
from asgard.secrets.key import KeyRing, found_ring, new_key, write_ring
from asgard.secrets.private_file import write_privately
from asgard.secrets.surroundings import Surroundings

FORMAT = 1
VARIABLE = "ASGARD_SECRET_STORE"
FILE = ".asgard/secrets.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MOST_BYTES = 1 << 20
"""Of one secret: what is larger is no secret, but a file."""

Entries = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Entry:
    """What may be told of a secret."""

    name: str
    set_at: str

    def as_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"name": self.name, "set_at": self.set_at}


class EncryptedStore:
    """The store of one project."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.file = surroundings.folder / Path(surroundings.variable(VARIABLE) or FILE).expanduser()

    def where(self, name: str) -> str:
        """The file, and the name in it."""
        return f"store {self.file} {name}"

    def read(self, name: str) -> Secret:
        """The secret of a name; Refused where the key at hand does not open it."""
        document = self._document()
        entries: Entries = document["secrets"]
        if name not in entries:
            if not NAME.fullmatch(name):
                raise ConfigError("the reference names no secret", hint="write ${store:name}")
            raise ConfigError(f"the store has no secret {name!r}", hint=f"asgard secrets set {name}")
        return Secret(_opened(self._ring(document), name, entries[name]["value"]))

    def entries(self) -> list[Entry]:
        """What there is, by name; opens nothing."""
        return [Entry(name, entry["set_at"]) for name, entry in sorted(self._document()["secrets"].items())]

    def set(self, name: str, value: str) -> str:
        """Puts a secret in, or in the place of an older one. The first one of all makes the key.

        Returns:
            Where the key rests.
        """
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be a secret's name", hint="use letters, digits, and . _ / - between them"
            )
        if not value:
            raise ConfigError("the secret is empty", hint="asgard secrets delete takes one away")
        if len(value.encode("utf-8", "replace")) > MOST_BYTES:
            raise ConfigError(
                f"the secret has more than {MOST_BYTES:,} bytes", hint="refer to a file: ${file:path}"
            )
        with self._locked():
            document = self._document()
            ring = self._ring_to_lock_with(document)
            # Whoever cannot open what is there has another key: a store with two keys would be half lost.
            for other, entry in document["secrets"].items():
                _opened(ring, other, entry["value"])
            document["secrets"][name] = {"value": _locked_up(ring, name, value), "set_at": _now()}
            self._write(document)
        return ring.place

    def delete(self, name: str) -> None:
        """Takes a secret away."""
        with self._locked():
            document = self._document()
            if name not in document["secrets"]:
                raise ConfigError(f"the store has no secret {name!r}", hint="asgard secrets list")
            del document["secrets"][name]
            self._write(document)

    def rotate(self) -> tuple[int, str]:
        """Locks every secret anew: with a new key where the keys rest in a file, else with the first one.

        The new key is in its file before any secret is locked with it, and the old one is dropped, from a
        file that serves this store alone, after the last: at every instant all secrets can be opened.

        Returns:
            How many secrets, and where the key rests.
        """
        with self._locked():
            document = self._document()
            entries: Entries = document["secrets"]
            if not entries:
                raise ConfigError("the store has no secrets", hint="asgard secrets set NAME puts one in")
            ring = self._ring(document)
            values = {name: _opened(ring, name, entry["value"]) for name, entry in entries.items()}
            if ring.file is not None:
                ring = replace(ring, keys=(new_key(), *ring.keys))
                self._keep(ring)
            for name, value in values.items():
                entries[name]["value"] = _locked_up(ring, name, value)
            self._write(document)
            if ring.own:
                self._keep(replace(ring, keys=ring.keys[:1]))
        return len(values), ring.place

    def content(self) -> bytes | None:
        """The whole store as it lies in its file, every value locked; None where there is none.

        Raises:
            Refused: it cannot be read.
        """
        try:
            return self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(
                f"the store {self.file} cannot be read: {error.strerror}", hint="look at its owner"
            ) from error

    def put_back(self, content: bytes) -> None:
        """Puts a whole store, as `content` gave it, in the place of the one that is there; needs no key.

        Raises:
            ConfigError: it is no store, or a newer version wrote it.
            Refused: it cannot be written.
        """
        self.parsed(content)
        with self._locked():
            write_privately(self.file, content)

    def key_at_hand(self) -> str | None:
        """Where the key that opens the secrets rests; None when it is not at hand."""
        document = self._document()
        try:
            ring = self._ring(document)
            for name, entry in document["secrets"].items():
                _opened(ring, name, entry["value"])
        except (ConfigError, Refused):
            return None
        return ring.place

    def _ring(self, document: dict[str, Any]) -> KeyRing:
        return found_ring(self._surroundings, document["id"])

    def _ring_to_lock_with(self, document: dict[str, Any]) -> KeyRing:
        ring = self._ring(document)
        if ring.keys or document["secrets"] or ring.file is None:
            return ring
        ring = replace(ring, keys=(new_key(),))
        self._keep(ring)
        return ring

    def _keep(self, ring: KeyRing) -> None:
        if ring.file is not None:
            write_ring(ring.file, ring.keys)

    def _document(self) -> dict[str, Any]:
        content = self.content()
        return (
            {"format": FORMAT, "id": uuid.uuid4().hex, "secrets": {}}
            if content is None
            else self.parsed(content)
        )

    def parsed(self, content: bytes) -> dict[str, Any]:
        """What a store's file says: its `id`, and `secrets` by name, each locked.

        Raises:
            ConfigError: it is no store, or a newer version wrote it.
        """
        try:
            document: dict[str, Any] = json.loads(content)
            known = document["format"] == FORMAT
            entries = document["secrets"].values() if known else ()
            whole = not known or isinstance(document["id"], str)
            whole = whole and all({"value", "set_at"} <= entry.keys() for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError):
            known = whole = False
            document = {}
        if not whole:
            raise ConfigError(f"{self.file} is no store of secrets", hint="bring it back from a backup")
        if not known:
            raise ConfigError(
                f"the store {self.file} has format {document['format']!r}, this version reads {FORMAT}",
                hint="pip install --upgrade asgard-platform",
            )
        return document

    def _write(self, document: dict[str, Any]) -> None:
        write_privately(self.file, json.dumps(document, indent=1, sort_keys=True).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.file.with_name(f".{self.file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            raise Refused(
                f"the store {self.file} cannot be written: {error}", hint="look at its owner"
            ) from error


def _locked_up(ring: KeyRing, name: str, value: str) -> str:
    token: bytes = ring.fernet().encrypt(json.dumps([name, value]).encode())
    return token.decode()


def _opened(ring: KeyRing, name: str, token: str) -> str:
    fernet = ring.fernet()
    from cryptography.fernet import InvalidToken

    try:
        inner, value = json.loads(fernet.decrypt(token.encode()))
    except InvalidToken:
        raise Refused(
            f"the key in {ring.place} does not open the secret {name!r}", hint="bring the key that locked it"
        ) from None
    if inner != name:
        raise Refused(f"the secret {name!r} is that of {inner!r}: somebody moved it", hint="set it anew")
    return str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
