"""The lake of a project: its format, and where it lies: in a folder of this machine, or below a prefix of a
bucket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret

if TYPE_CHECKING:
    from asgard.transport.cloud_s3 import S3Connection

FAR = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<prefix>(/[^/]+)*)/?")
STEP = re.compile(r"[A-Za-z0-9._=-]+")


def is_far(location: str) -> bool:
    """Whether it is the URL of a bucket."""
    return "://" in location


def far_place(location: str) -> tuple[str, str]:
    """Bucket and prefix of a URL.

    Raises:
        ConfigError: no lake can lie there.
    """
    found = FAR.fullmatch(location)
    if found is None:
        raise ConfigError(
            f"{location!r} is no place for a lake",
            hint="name a folder, or s3://BUCKET/PREFIX of S3 or a store that speaks like it",
        )
    steps = [step for step in found["prefix"].split("/") if step]
    wrong = [step for step in steps if not STEP.fullmatch(step) or step in (".", "..")]
    if wrong:
        raise ConfigError(
            f"{location!r} has {wrong[0]!r} in it", hint="letters, digits and . _ = - may be in the prefix"
        )
    return found["bucket"], "/".join(steps)


def far_connection(location: str, connection: LakeConnection | None) -> S3Connection:
    """The bucket of a location, and how it is talked to; nothing is asked yet.

    Raises:
        ConfigError: as `far_place`.
    """
    from asgard.transport.cloud_s3 import S3Connection  # which a folder of this machine does not need

    bucket, prefix = far_place(location)
    given = connection.model_dump(exclude_none=True) if connection else {}
    return S3Connection(bucket=bucket, prefix=prefix, **given)


class LakeConnection(Config):
    """How the bucket of a lake is talked to. What is left out, the environment, a profile or the machine's
    role has."""

    endpoint_url: str | None = Field(
        default=None, description="The store's own URL, where it is not the cloud's: MinIO, Ceph, R2."
    )
    region: str | None = Field(
        default=None, description="Where the bucket is; AWS_REGION, the profile's, or us-east-1."
    )
    access_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("access_key", "access_key_id", "aws_access_key_id"),
        description="The access key.",
    )
    secret_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("secret_key", "secret_access_key", "aws_secret_access_key"),
        description="The access key's secret.",
    )
    session_token: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("session_token", "aws_session_token"),
        description="The token of temporary keys.",
    )
    profile: str | None = Field(default=None, description="A profile of ~/.aws/config.")
    role_arn: str | None = Field(default=None, description="A role that is assumed with the keys.")
    external_id: str | None = Field(default=None, description="What the role's owner wants to hear.")
    sts_endpoint_url: str | None = Field(default=None, description="STS elsewhere.")
    path_style: bool | None = Field(default=None, description="False puts the bucket into the host's name.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="How long the store may send nothing; 30 by default."
    )
    allow_metadata_addresses: bool | None = Field(default=None, description="Also asks link-local addresses.")


class CatalogSpec(Config):
    """Who says what the newest version of each Iceberg table is."""

    type: Literal["sqlite", "rest"] = Field(
        default="sqlite",
        description="sqlite: the file catalog.db in the lake's folder; rest: a server that speaks Iceberg's "
        "REST protocol.",
    )
    uri: str | None = Field(
        default=None, pattern=r"^https?://[^/\s]", description="Where the server is, without /v1."
    )
    warehouse: str | None = Field(
        default=None, min_length=1, description="Which of the server's warehouses; the one that it has."
    )
    credential: Secret | None = Field(
        default=None, description="CLIENT:SECRET, for which the server gives a token."
    )
    token: Secret | None = Field(default=None, description="A token that is there already.")
    oauth2_server_uri: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]",
        description="Who gives tokens; the catalog itself by default.",
    )
    scope: str | None = Field(
        default=None, min_length=1, description="What the token is for; `catalog` by default."
    )
    headers: dict[str, Secret] = Field(default_factory=dict, description="Sent with every request.")
    ca_file: LocalPath | None = Field(
        default=None,
        description="The authority of the server's certificate; the machine's by default.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.type == "rest":
            if self.uri is None:
                raise ValueError("type: rest wants a uri: where the server is")
            if self.credential is not None and self.token is not None:
                raise ValueError("credential and token say the same twice; keep one of them")
            return self
        given = [name for name in type(self).model_fields if name != "type" and getattr(self, name)]
        if given:
            raise ValueError(f"a sqlite catalog has no {given[0]}; write type: rest, or leave it out")
        return self


class LakeSpec(Config):
    """Where the tables lie, and in which format."""

    format: Literal["delta", "iceberg"] = Field(default="delta", description="The table format.")
    location: str = Field(
        default="data/lakehouse",
        min_length=1,
        description="The folder of the tables, relative to the project file; or, for delta, "
        "s3://BUCKET/PREFIX.",
    )
    connection: LakeConnection | None = Field(
        default=None, description="Of a bucket: its endpoint and credentials."
    )
    deletion_vectors: bool = Field(
        default=True,
        description="Whether merges mark single rows of large files as deleted, which spares writing them "
        "anew; readers of Delta from before 2023 cannot read such tables.",
    )
    catalog: CatalogSpec | None = Field(
        default=None, description="Of Iceberg's tables: a file in the lake's folder by default."
    )

    @field_validator("location")
    @classmethod
    def _possible_location(cls, value: str) -> str:
        if is_far(value):
            try:
                far_place(value)
            except ConfigError as error:
                raise ValueError(f"{error.what}; {error.hint}") from None
        return value

    @model_validator(mode="after")
    def _fitting_format(self) -> Self:
        if self.format == "iceberg" and is_far(self.location):
            raise ValueError(
                f"Iceberg's tables lie on a disk in this version, not at {self.location}; "
                "name a folder, or use format: delta"
            )
        if self.format == "delta" and self.catalog is not None:
            raise ValueError("Delta's tables need no catalog; leave it out, or use format: iceberg")
        return self

    @model_validator(mode="after")
    def _fitting_connection(self) -> Self:
        if is_far(self.location):
            try:
                far_connection(self.location, self.connection)
            except ConfigError as error:
                raise ValueError(f"{error.what}; {error.hint}") from None
        elif self.connection is not None:
            raise ValueError("a folder of this machine has no connection; leave it out")
        return self


LAKE_GROUPS: dict[str, type[Config]] = {"connection": LakeConnection, "catalog": CatalogSpec}
"""Keys of `lake:` that have keys of their own."""
