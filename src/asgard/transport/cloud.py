"""Connections to object stores: what every one of them wants to know, and the bucket that it opens.

A connection is a part of a configuration, for connectors and for whatever else lies in a bucket:
`storage_options` says the same to libraries that have an object store of their own. Where a configuration has
no credentials, the environment has them, then the files of the cloud's own tools, then the machine's role.

Reference: https://developmentseed.org/obstore/latest/, https://docs.rs/object_store
"""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import AliasChoices, Field

from asgard.core.cancel import Cancel
from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError
from asgard.transport.http_rules import metadata_address, metadata_refusal
from asgard.transport.objects import Bucket

CONNECT_SECONDS = 10
WHOLE_ANSWER_SECONDS = 3600
RETRIES = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
}


NOWHERE = "http://127.0.0.1:0"
"""The proxy for every host but the endpoint's. obstore follows redirects, and one to an address at which
clouds give credentials out would make an object of them; port 0 takes no connection. Behind TLS there is no
need: there, obstore goes to no plain HTTP, and those addresses have no other."""


class CloudConnection(Config):
    """What every store wants to know."""

    bucket: str = Field(
        min_length=1,
        validation_alias=AliasChoices("bucket", "container", "bucket_name"),
        description="The bucket; in Azure, the container.",
    )
    prefix: str = Field(
        default="", description="What the tables' paths are relative to, for example raw/shop."
    )
    endpoint_url: str | None = Field(
        default=None,
        description="The store's own URL, where it is not the cloud's: MinIO, a private endpoint.",
    )
    anonymous: bool = Field(default=False, description="Asks without credentials, for public buckets.")
    timeout_seconds: float = Field(
        default=30.0, gt=0, description="How long the store may send nothing in the middle of an answer."
    )
    allow_metadata_addresses: bool = Field(
        default=False,
        description="Also asks link-local addresses, at which clouds give credentials out, and goes where an "
        "endpoint without TLS sends it.",
    )
    ca_file: LocalPath | None = Field(
        default=None, description="PEM file of authorities that are trusted besides the usual ones."
    )

    @abstractmethod
    def open(self, cancel: Cancel, *, versions: bool = False) -> Bucket:
        """The bucket below the prefix; nothing is asked yet.

        Args:
            versions: finds every version that is kept of an object, not the newest alone.

        Raises:
            ConfigError: the library is not installed, or credentials are written where they cannot be read.
        """

    @abstractmethod
    def storage_options(self, cancel: Cancel) -> dict[str, str]:
        """The connection in the words of `object_store`, secrets in the clear; a role's keys end."""

    def lasting_options(self, cancel: Cancel) -> Callable[[], dict[str, str]]:
        """Gives `storage_options` whose credentials last for some minutes, as often as they are asked for."""
        return lambda: self.storage_options(cancel)

    @property
    def folder(self) -> str:
        """The prefix without slashes at its ends."""
        return self.prefix.strip("/")

    @property
    def endpoint(self) -> str | None:
        """The store's own URL, wherever it is written."""
        return self.endpoint_url

    @property
    def is_plain_http(self) -> bool:
        """Whether the endpoint has no TLS."""
        return (self.endpoint or "").lower().startswith("http://")

    def client_options(self) -> dict[str, Any]:
        """How obstore's client talks.

        Raises:
            ConfigError: the endpoint is one at which clouds give credentials out.
        """
        options: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, self.timeout_seconds)),
            "read_timeout": timedelta(seconds=self.timeout_seconds),
            "timeout": timedelta(seconds=WHOLE_ANSWER_SECONDS),
            "user_agent": "asgard",
        }
        if self.endpoint:
            host = urlsplit(self.endpoint).hostname
            if host is None:
                raise ConfigError(f"{self.endpoint!r} is no URL", hint="for example http://minio:9000")
            options["allow_http"] = self.is_plain_http
            if not self.allow_metadata_addresses:
                if (address := metadata_address(host)) is not None:
                    raise metadata_refusal(host, address)
                if self.is_plain_http and not _has_proxy(host):
                    options |= {"proxy_url": NOWHERE, "proxy_excludes": host}
        if self.ca_file:
            options["root_certificate"] = Path(self.ca_file).read_bytes()
        return options


def _has_proxy(host: str) -> bool:
    return bool(getproxies().get("http")) and not proxy_bypass(host)


def insist_on_obstore(extra: str) -> None:
    """Raises:
    ConfigError: the library is not installed.
    """
    if importlib.util.find_spec("obstore") is None:
        raise ConfigError("obstore is not installed", hint=f"pip install 'asgard-platform[{extra}]'")
