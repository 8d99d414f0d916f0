"""UNLOAD: the rows of a query as Parquet in a bucket, and the files gone again afterwards.

Each plan writes below a folder of its own, named by its time. It is removed when the plan is closed; what a
killed run left is removed by a later plan, once it is older than `keep_hours`. What the manifest, the files
and the server say of the number of rows must be one number (Promise 2).

Reference: https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from asgard.connectors._redshift.types import Reading, literal
from asgard.core.errors import AsgardError, ConfigError, DataError, QueryError, Refused
from asgard.transport.objects import Bucket
from asgard.transport.postgres import Connection

FOLDER = "asgard-unload"
"""Below the prefix of the configuration; nothing else is ever removed."""
STAMP = "%Y%m%dT%H%M%SZ"
MANIFEST = "manifest"
FILE_MEBIBYTES = 256
"""Files of this size are read by different workers, and hold few row groups."""
GROUP_MEBIBYTES = 32
"""The smallest row group that UNLOAD writes: what a reader has to hold."""


@dataclass(frozen=True)
class UnloadSettings:
    """How files are written.

    Attributes:
        iam_role: the role that the server writes as: its ARN, or `default`.
        kms_key: id of the key that encrypts; None for the bucket's own encryption.
        region: the bucket's, where it is not the server's.
    """

    iam_role: str
    kms_key: str | None = None
    region: str | None = None
    keep_hours: float = 24.0


@dataclass(frozen=True)
class UnloadedFile:
    """A file as the manifest has it; `name` is relative to the bucket's prefix."""

    name: str
    rows: int
    size_bytes: int


@dataclass
class Unloading:
    """The folder of one plan."""

    bucket: Bucket
    settings: UnloadSettings
    folder: str = field(
        default_factory=lambda: f"{FOLDER}/{datetime.now(UTC):{STAMP}}-{uuid.uuid4().hex[:12]}"
    )
    _number: int = 0

    def unload(self, connection: Connection, reading: Reading, rest: str) -> list[UnloadedFile]:
        """The rows of a statement as files, their columns named c0, c1, ...: no name is folded that way.

        Args:
            rest: the statement behind its columns, from FROM on.

        Raises:
            Refused: the role is none that the server may take, or may not write there.
            ConfigError: there is no such bucket.
            DataError: files, manifest and server do not say the same.
        """
        self._number += 1
        folder = f"{self.folder}/{self._number}"
        named = ", ".join(f"{column.unloaded} AS c{n}" for n, column in enumerate(reading.columns))
        with _explained(self.settings.iam_role):
            connection.rows(
                self._statement(f"SELECT {named} {rest}", f"{self.bucket.url}/{self._key(folder)}/")
            )
            [(reported,)] = connection.rows("SELECT pg_last_unload_count()")
        files = self._listed(folder, int(reported))
        if sum(file.rows for file in files) != int(reported):
            raise _differ(f"the server unloaded {reported} rows, its manifest has other files")
        return files

    def _key(self, name: str) -> str:
        return self.bucket.key(name)

    def _statement(self, select: str, url: str) -> str:
        settings = self.settings
        role = "default" if settings.iam_role == "default" else literal(settings.iam_role)
        parts = [
            f"UNLOAD ({literal(select)}) TO {literal(url)} IAM_ROLE {role}",
            "FORMAT AS PARQUET MANIFEST VERBOSE",
            f"MAXFILESIZE {FILE_MEBIBYTES} MB ROWGROUPSIZE {GROUP_MEBIBYTES} MB",
        ]
        if settings.kms_key:
            parts.append(f"KMS_KEY_ID {literal(settings.kms_key)} ENCRYPTED")
        if settings.region:
            parts.append(f"REGION {literal(settings.region)}")
        return " ".join(parts)

    def _listed(self, folder: str, reported: int) -> list[UnloadedFile]:
        found = self.bucket.find(f"{folder}/{MANIFEST}")
        if not found:
            if reported == 0:
                return []
            raise _differ(f"the server unloaded {reported} rows, and there is no manifest in {folder}")
        with self.bucket.content(found[0]) as content:
            text = content.read()
        try:
            document = json.loads(text)
            files = [self._file(folder, entry) for entry in document["entries"]]
            whole = int(document["meta"]["record_count"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the manifest in {folder} cannot be read: {error!r}",
                hint="MANIFEST VERBOSE is what was asked",
            ) from error
        if whole != reported or whole != sum(file.rows for file in files):
            raise _differ(f"the server unloaded {reported} rows, the manifest says {whole}")
        return [file for file in files if file.rows]

    def _file(self, folder: str, entry: dict[str, object]) -> UnloadedFile:
        url, about = str(entry["url"]), entry["meta"]
        start = f"{self.bucket.url}/{self._key(folder)}/"
        if not url.startswith(start) or not isinstance(about, dict):
            raise ValueError(f"{url} is not below {start}")
        name = f"{folder}/{url.removeprefix(start)}"
        return UnloadedFile(name, int(about["record_count"]), int(about["content_length"]))

    def sweep(self) -> list[str]:
        """Removes what earlier runs left; a warning where that is not possible."""
        oldest = datetime.now(UTC) - timedelta(hours=self.settings.keep_hours)
        try:
            for name in self.bucket.folders(FOLDER):
                stamp = re.match(r"\d{8}T\d{6}Z", name)
                if stamp and datetime.strptime(stamp[0], STAMP).replace(tzinfo=UTC) < oldest:
                    self.bucket.remove_folder(f"{FOLDER}/{name}")
        except AsgardError as error:
            return [f"what earlier runs unloaded below {self.bucket.location} stays: {error.what}"]
        return []

    def clear(self) -> None:
        """Removes the plan's files.

        Raises:
            as `Bucket.remove_folder`.
        """
        if self._number:
            self.bucket.remove_folder(self.folder)


def _differ(what: str) -> DataError:
    return DataError(what, hint="run again; if it stays so, load the table with `read: direct`")


@contextmanager
def _explained(role: str) -> Iterator[None]:
    """UNLOAD's own failures come as texts under a general code."""
    try:
        yield
    except (DataError, QueryError, Refused) as error:
        text = error.what
        if re.search(r"assume (IAM )?role|IAM[ _]role|credentials", text, re.IGNORECASE):
            hint = "attach the role to the cluster, and let the cluster's user take it; see iam_role"
            raise Refused(f"UNLOAD as {role}: {text}", hint=hint) from error
        if re.search(r"Access ?Denied|Forbidden", text):
            hint = (
                "the role needs s3:PutObject below the prefix of `unload`, and the key's use with kms_key_id"
            )
            raise Refused(f"UNLOAD as {role}: {text}", hint=hint) from error
        if re.search(r"NoSuchBucket|bucket does not exist", text):
            raise ConfigError(f"UNLOAD: {text}", hint="look at the bucket in `unload`") from error
        if re.search(r"PermanentRedirect|specified endpoint", text):
            raise ConfigError(f"UNLOAD: {text}", hint="unload_region: where the bucket is") from error
        raise
