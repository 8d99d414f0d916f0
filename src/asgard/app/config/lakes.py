"""Where the lake of a project lies: in a folder of this machine, or below a prefix of a bucket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field

from asgard.core.config import Config
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
