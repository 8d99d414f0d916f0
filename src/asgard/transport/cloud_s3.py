"""Buckets of S3, and of stores that speak like it: MinIO, Ceph, R2.

Keys come from the configuration, the environment, a profile, or a role that they may assume; where there are
none, obstore asks the web identity, the container and the instance that it runs in.

Reference: https://docs.aws.amazon.com/AmazonS3/latest/API/, https://docs.aws.amazon.com/sdkref/latest/guide/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from pydantic import AliasChoices, Field

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret, reveal
from asgard.transport.aws import Identity, Keys, RoleKeys, found_keys, signed_get
from asgard.transport.cloud import RETRIES, CloudConnection, insist_on_obstore
from asgard.transport.objects import Bucket


class S3Connection(CloudConnection):
    """A bucket of S3, or of a store that speaks like it."""

    region: str | None = Field(
        default=None,
        description="Where the bucket is; AWS_REGION, the profile's, or us-east-1 when left out.",
    )
    access_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("access_key", "access_key_id", "aws_access_key_id"),
        description="Access key; left out, the environment, a profile or the machine's role gives one.",
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
    profile: str | None = Field(
        default=None, description="A profile of ~/.aws/config and ~/.aws/credentials."
    )
    role_arn: str | None = Field(default=None, description="A role that is assumed with the keys.")
    external_id: str | None = Field(default=None, description="What the role's owner wants to hear.")
    sts_endpoint_url: str | None = Field(
        default=None, description="STS elsewhere, for assuming the role; AWS's own when left out."
    )
    path_style: bool = Field(
        default=True, description="Buckets in the path of URLs; false puts them into the host's name."
    )
    requester_pays: bool = Field(default=False, description="We pay for what is read.")

    @property
    def identity(self) -> Identity:
        """Who we are to be.

        Raises:
            ConfigError: half a key.
        """
        access, secret = reveal(self.access_key), reveal(self.secret_key)
        if bool(access) != bool(secret):
            missing = "secret_key" if access else "access_key"
            raise ConfigError(f"{missing} is missing", hint="keys come in pairs")
        keys = Keys(access, secret, reveal(self.session_token)) if access and secret else None
        return Identity(
            keys, self.profile, self.role_arn, self.external_id, self.region, self.sts_endpoint_url
        )

    def open(self, cancel: Cancel, *, versions: bool = False) -> Bucket:
        """As CloudConnection; a role is assumed here."""
        insist_on_obstore("s3")
        from obstore.store import S3Store

        keys = None if self.anonymous else found_keys(self.identity, cancel)
        role = RoleKeys(self.identity, keys) if keys else None
        config: dict[str, Any] = {
            "region": self.identity.region_or_default(),
            "skip_signature": self.anonymous,
            "virtual_hosted_style_request": not self.path_style,
        }
        if self.endpoint:
            # Both: the environment's AWS_ENDPOINT_URL_S3 would go before the first.
            config["endpoint"] = config["aws_endpoint_url_s3"] = self._bucket_endpoint()
        if self.requester_pays:
            config["request_payer"] = True
        store = S3Store(
            self.bucket,
            config=config,  # type: ignore[arg-type] # built key by key
            client_options=self.client_options(),  # type: ignore[arg-type]
            retry_config=RETRIES,  # type: ignore[arg-type]
            credential_provider=_provider(role) if role else None,
        )
        return Bucket(
            store,
            f"s3://{self.bucket}",
            self.folder,
            secrets=lambda: role.now().secrets if role else (),
            failure=lambda: role.failure if role else None,
            versions=(lambda prefix: self._versions(prefix, role, cancel)) if versions else None,
        )

    def storage_options(self, cancel: Cancel) -> dict[str, str]:
        """As CloudConnection; a role's keys end after an hour."""
        return self._options(None if self.anonymous else found_keys(self.identity, cancel))

    def lasting_options(self, cancel: Cancel) -> Callable[[], dict[str, str]]:
        """As CloudConnection; a role is assumed here, and again before its keys end."""
        first = None if self.anonymous else found_keys(self.identity, cancel)
        role = RoleKeys(self.identity, first) if first else None
        return lambda: self._options(role.now() if role else None)

    def _options(self, keys: Keys | None) -> dict[str, str]:
        told = {
            "AWS_REGION": self.identity.region_or_default(),
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(not self.path_style).lower(),
            "AWS_SKIP_SIGNATURE": str(self.anonymous).lower(),
        }
        if keys:
            told |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        if keys and keys.session_token:
            told["AWS_SESSION_TOKEN"] = keys.session_token
        if self.endpoint:
            told["AWS_ENDPOINT_URL"] = told["AWS_ENDPOINT_URL_S3"] = self._bucket_endpoint()
            told["AWS_ALLOW_HTTP"] = str(self.is_plain_http).lower()
        return told

    @property
    def endpoint(self) -> str | None:
        """From the configuration, the environment, or the profile."""
        if self.endpoint_url:
            return self.endpoint_url
        told = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        profile = None if told else self.identity.chosen_profile()
        return told or (profile.values.get("endpoint_url") if profile else None)

    def _bucket_endpoint(self) -> str:
        """As the client wants it: with the bucket in the host's name, if that is where it belongs."""
        endpoint = (self.endpoint or "").rstrip("/")
        if self.path_style:
            return endpoint
        split = urlsplit(endpoint)
        return split._replace(netloc=f"{self.bucket}.{split.netloc}").geturl()

    def _versions(self, prefix: str, role: RoleKeys | None, cancel: Cancel) -> Iterator[dict[str, Any]]:
        """What `obstore.list` tells, for every version: its own listing knows the newest ones alone.

        Reference: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
        """
        if role is None:
            raise ConfigError("versions are listed with keys", hint="give access_key and secret_key")
        region = self.identity.region_or_default()
        endpoint = self.endpoint or f"https://s3.{region}.amazonaws.com"
        params = {"versions": "", "prefix": prefix}
        while True:
            body = signed_get(endpoint, f"/{self.bucket}", params, (role.now(), region, "s3"), cancel)
            document = ElementTree.fromstring(body)
            space = document.tag.partition("}")[0] + "}" if "}" in document.tag else ""
            for version in document.iter(f"{space}Version"):
                told = {part.tag.removeprefix(space): part.text or "" for part in version}
                yield {
                    "path": told["Key"],
                    "size": int(told["Size"]),
                    "last_modified": datetime.fromisoformat(told["LastModified"]),
                    "e_tag": told["ETag"],
                    "version": told["VersionId"],
                }
            if document.findtext(f"{space}IsTruncated") != "true":
                return
            for marker in ("KeyMarker", "VersionIdMarker"):
                name = "key-marker" if marker == "KeyMarker" else "version-id-marker"
                params[name] = document.findtext(f"{space}Next{marker}") or ""


def _provider(role: RoleKeys) -> Any:
    def credential() -> dict[str, Any]:
        keys = role.now()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.session_token,
            "expires_at": keys.expires_at,
        }

    return credential
