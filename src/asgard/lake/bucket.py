"""Folders in a bucket of S3, or of a store that speaks like it.

Whether a name is taken, the store alone decides (`If-None-Match`): for our documents and for Delta's log.
What was put is durable and seen by everybody at once; there are no folders to make, nothing to synchronize.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema

from asgard.core.cancel import Cancel
from asgard.lake.delta.bucket_loads import BucketLoads, BucketTicket, announce, lost_loads
from asgard.lake.folder import PREFIX, Folder
from asgard.transport.cloud import CONNECT_SECONDS, RETRIES, WHOLE_ANSWER_SECONDS, CloudConnection
from asgard.transport.object_folder import ObjectFolder
from asgard.transport.stored_files import StoredFiles

FEW = 4
"""So many objects are asked for one by one; of more, what lies beside them is listed."""
SAFE = {"AWS_S3_ALLOW_UNSAFE_RENAME": "false", "AWS_CONDITIONAL_PUT": "etag"}
"""Delta's log by conditional puts: whatever the environment says, that others read as well."""
CLIENT = {
    "connect_timeout": f"{CONNECT_SECONDS}s",
    "timeout": f"{WHOLE_ANSWER_SECONDS}s",
    "max_retries": str(RETRIES["max_retries"]),
    "retry_timeout": "60s",
}


def bucket_folder(connection: CloudConnection, cancel: Cancel) -> BucketFolder:
    """The prefix of a connection.

    Raises:
        ConfigError: a library is missing, or credentials are written where they cannot be read.
    """
    bucket = connection.open(cancel)
    options = connection.lasting_options(cancel)
    told = {**CLIENT, **SAFE, **_proxy(connection)}
    return BucketFolder(
        ObjectFolder(bucket, bucket.prefix), lambda: {**options(), **told}, StoredFiles(bucket)
    )


def _proxy(connection: CloudConnection) -> dict[str, str]:
    """Keeps redirects of an endpoint without TLS from going elsewhere, as `cloud` does for its own client."""
    told = connection.client_options()
    return {name: told[name] for name in ("proxy_url", "proxy_excludes") if name in told}


@dataclass(frozen=True)
class BucketFolder(Folder):
    """A prefix of a bucket.

    Attributes:
        objects: what lies below it.
        options: gives the connection in Delta's words, with credentials that last for some minutes.
        filesystem: of the whole bucket.
    """

    objects: ObjectFolder
    options: Callable[[], Mapping[str, str]]
    filesystem: StoredFiles

    escape = "="  # Delta's kernel encodes ~ in URLs, and then looks for another key
    asked_at_once = 16

    def __str__(self) -> str:
        return self.objects.url

    @property
    def name(self) -> str:
        """As Folder."""
        return self.objects.key.rpartition("/")[2]

    def inside(self, name: str) -> Self:
        """As Folder."""
        return type(self)(self.objects.inside(name), self.options, self.filesystem)

    def read(self, name: str) -> bytes:
        """As Folder."""
        return self.objects.read(name)

    def put(self, name: str, content: bytes) -> None:
        """As Folder."""
        self.objects.put(name, content)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """As Folder."""
        return self.objects.put_if_absent(name, content)

    def delete(self, *names: str) -> None:
        """As Folder."""
        self.objects.delete(names)

    def has(self, name: str) -> bool:
        """As Folder."""
        return self.objects.about(name) is not None

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """As Folder."""
        asked = {*names}
        found = {}
        if len(asked) > FEW:
            prefix = PREFIX if all(name.startswith(PREFIX) for name in asked) else ""
            found = {one.name: one.size_bytes for one in self.objects.objects(prefix) if one.name in asked}
            asked = {name for name in asked if "/" in name}
        for name in asked:
            if (about := self.objects.about(name)) is not None:
                found[name] = about.size_bytes
        return found

    def files(self, prefix: str = "") -> list[str]:
        """As Folder."""
        return [one.name for one in self.objects.objects(prefix)]

    def first_after(self, name: str) -> str | None:
        """As Folder."""
        return self.objects.first_after(name)

    def folders(self) -> list[str]:
        """As Folder."""
        return self.objects.folders()

    def tree(self) -> dict[str, datetime]:
        """As Folder."""
        return {one.name: one.stored_at for one in self.objects.tree()}

    def identity(self, name: str) -> tuple[object, ...]:
        """As Folder."""
        about = self.objects.about(name)
        if about is None:
            raise FileNotFoundError(f"{self}/{name}")
        return about.etag, about.size_bytes, about.stored_at

    def make(self) -> None:
        """As Folder: there is none to make."""

    def sync(self, *names: str) -> None:
        """As Folder: what was put is durable."""

    def create(self, name: str) -> Any:
        """As Folder."""
        return self.objects.stream(name)

    def seal(self, file: Any) -> None:
        """As Folder."""
        file.close()

    def absolute(self, path: str) -> str:
        """As Folder."""
        return path if "://" in path else f"{self}/{path}"

    def opened(self, file: str) -> AbstractContextManager[Any]:
        """As Folder."""
        return self.filesystem.opened(file)

    def know(self, sizes: Mapping[str, int]) -> None:
        """As Folder."""
        self.filesystem.know(sizes)

    def delta(self, version: int | None = None) -> DeltaTable:
        """As Folder."""
        return DeltaTable(str(self), version=version, storage_options=dict(self.options()))

    def make_delta(self, schema: DeltaSchema, **options: Any) -> None:
        """As Folder."""
        DeltaTable.create(str(self), schema, storage_options=dict(self.options()), **options)

    def announce(self, version: int) -> BucketTicket:
        """As Folder."""
        return announce(self, version)

    def lost_loads(self) -> BucketLoads:
        """As Folder."""
        return lost_loads(self)
