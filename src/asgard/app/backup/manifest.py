"""What a backup says about itself: when and of what it was made, and the checksum of everything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from asgard.core.errors import ConfigError, DataError

FORMAT = 1
SQLITE, POSTGRES = "sqlite", "postgres"


@dataclass(frozen=True)
class Member:
    """A file in the archive.

    Attributes:
        sha256: of its content, hexadecimal.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class StoreKept:
    """A database of the state.

    Attributes:
        name: `queue`, as `stores.STORES` call it.
        format: of its tables, when it was copied.
        columns: of each table that was exported, by its member; empty for a SQLite file, which is one member.
    """

    name: str
    format: int
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableKept:
    """A table of the lake, whose records are in the archive; its rows are not.

    Attributes:
        table: `bronze.shop.orders`.
        id: the table's own, which no other has.
        version: the newest one then.
        commit: SHA-256 of what the log says of that version: another history has another one.
        set_aside: whether rows of it had been set aside: the quarantine is data, and not in the archive.
        folder: where it lies in the lake.
        member: with its records.
    """

    table: str
    id: str
    version: int
    commit: str
    set_aside: bool
    folder: str
    member: str


@dataclass(frozen=True)
class SecretsKept:
    """The encrypted store of secrets; its key is not in the archive.

    Attributes:
        key_id: of the key that opens it: the name of its own key file, without `.key`.
        count: how many secrets.
    """

    key_id: str
    count: int


@dataclass(frozen=True)
class Manifest:
    """Everything that the archive says about itself.

    Attributes:
        asgard: the version that made it.
        made_at: by the clock of the machine that made it.
        kind: where the shared state lay: `sqlite` or `postgres`.
        with_project: whether the project's own files are in it.
    """

    asgard: str
    made_at: datetime
    project: str
    workspace: str
    environment: str | None
    lake: str
    kind: str
    with_project: bool
    stores: tuple[StoreKept, ...] = ()
    tables: tuple[TableKept, ...] = ()
    secrets: SecretsKept | None = None
    members: tuple[Member, ...] = ()

    def to_bytes(self) -> bytes:
        """As it is stored."""
        document = {"format": FORMAT, **asdict(self), "made_at": self.made_at.isoformat()}
        return json.dumps(document, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Reads a stored one.

        Raises:
            ConfigError: a newer version of Asgard wrote it.
            DataError: it is damaged.
        """
        try:
            document = json.loads(content)
            found = document.pop("format")
            # Promise 10: what a newer version wrote is refused, with the way out.
            if isinstance(found, int) and found > FORMAT:
                raise ConfigError(
                    f"the backup has format {found}, made by Asgard {document.get('asgard')}; this version "
                    f"reads {FORMAT}",
                    hint="restore it with the version of Asgard that made it, or a newer one",
                )
            if found != FORMAT:
                raise ValueError(f"format {found!r}")
            return cls(**_typed(document))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"the backup's manifest is damaged: {error!r}", hint="take another backup"
            ) from error


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    made_at = datetime.fromisoformat(document["made_at"])
    secrets = document["secrets"]
    return {
        **document,
        "made_at": made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC),
        "stores": tuple(
            StoreKept(one["name"], int(one["format"]),
                      {name: tuple(columns) for name, columns in one["columns"].items()})
            for one in document["stores"]
        ),
        "tables": tuple(TableKept(**one) for one in document["tables"]),
        "secrets": None if secrets is None else SecretsKept(**secrets),
        "members": tuple(Member(**one) for one in document["members"]),
    }  # fmt: skip
