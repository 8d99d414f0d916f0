"""The lake of a project: a folder of this machine, or a prefix of a bucket with the credentials to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field

from asgard.core.cancel import Cancel
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.core.table import Lake
from asgard.lake.lakehouse import DeltaLake

if TYPE_CHECKING:
    from asgard.transport.cloud import CloudConnection

FAR = re.compile(r"(?P<scheme>s3|gs|az)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<prefix>(/[^/]+)*)/?")
STEP = re.compile(r"[A-Za-z0-9._=-]+")


def is_far(location: str) -> bool:
    """Whether it is the URL of a bucket."""
    return "://" in location


def far_connection(location: str, connection: LakeConnection | None) -> CloudConnection:
    """The bucket of a location, and how it is talked to; nothing is asked yet.

    Raises:
        ConfigError: it is no URL of a bucket, or the connection does not fit it.
    """
    found = FAR.fullmatch(location)
    if found is None:
        raise ConfigError(
            f"{location!r} is no place for a lake",
            hint="name a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX",
        )
    steps = [step for step in found["prefix"].split("/") if step]
    wrong = [step for step in steps if not STEP.fullmatch(step) or step in (".", "..")]
    if wrong:
        raise ConfigError(
            f"{location!r} has {wrong[0]!r} in it", hint="letters, digits and . _ = - may be in the prefix"
        )
    given = connection.model_dump(exclude_none=True) if connection else {}
    kind = _kind(found["scheme"])
    if strange := sorted(set(given) - set(kind.model_fields)):
        raise ConfigError(f"{found['scheme']}:// has no {', '.join(strange)}", hint="leave it out")
    return kind(bucket=found["bucket"], prefix="/".join(steps), **given)


def _kind(scheme: str) -> type[CloudConnection]:
    if scheme == "s3":
        from asgard.transport.cloud_s3 import S3Connection

        return S3Connection
    if scheme == "gs":
        from asgard.transport.cloud_gcs import GCSConnection

        return GCSConnection
    from asgard.transport.cloud_azure import AzureConnection

    return AzureConnection


def open_lake(location: str, connection: LakeConnection | None, folder: Path) -> Lake:
    """The lake at a location; nothing is asked yet.

    Args:
        folder: what a path is relative to.

    Raises:
        ConfigError: as `far_connection`; a library is missing.
    """
    if not is_far(location):
        return DeltaLake(folder / location)
    from asgard.lake.bucket import bucket_folder

    return DeltaLake(bucket_folder(far_connection(location, connection), Cancel()))


class LakeConnection(Config):
    """How the bucket of a lake is talked to. What is left out, the environment, a profile or the machine's
    role has."""

    endpoint_url: str | None = Field(
        default=None, description="The store's own URL, where it is not the cloud's: MinIO, Ceph, R2."
    )
    region: str | None = Field(
        default=None, description="S3: where the bucket is; AWS_REGION, the profile's, or us-east-1."
    )
    access_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("access_key", "access_key_id", "aws_access_key_id"),
        description="S3: the access key.",
    )
    secret_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("secret_key", "secret_access_key", "aws_secret_access_key"),
        description="S3: the access key's secret.",
    )
    session_token: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("session_token", "aws_session_token"),
        description="S3: the token of temporary keys.",
    )
    profile: str | None = Field(default=None, description="S3: a profile of ~/.aws/config.")
    role_arn: str | None = Field(default=None, description="S3: a role that is assumed with the keys.")
    external_id: str | None = Field(default=None, description="S3: what the role's owner wants to hear.")
    sts_endpoint_url: str | None = Field(default=None, description="S3: STS elsewhere.")
    path_style: bool | None = Field(
        default=None, description="S3: false puts the bucket into the host's name."
    )
    service_account_key: Secret | None = Field(
        default=None, description="Google: the key of a service account, as JSON."
    )
    account: str | None = Field(default=None, description="Azure: the storage account.")
    account_key: Secret | None = Field(default=None, description="Azure: one of the account's keys.")
    sas_token: Secret | None = Field(default=None, description="Azure: a shared access signature.")
    tenant_id: str | None = Field(default=None, description="Azure: the service principal's tenant.")
    client_id: str | None = Field(default=None, description="Azure: the service principal.")
    client_secret: Secret | None = Field(default=None, description="Azure: the service principal's secret.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="How long the store may send nothing; 30 by default."
    )
    allow_metadata_addresses: bool | None = Field(default=None, description="Also asks link-local addresses.")
