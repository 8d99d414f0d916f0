"""Buckets of Google Cloud Storage.

Credentials come from the configuration (a service account's key), from GOOGLE_APPLICATION_CREDENTIALS, from
what `gcloud auth application-default login` left, or from the machine's service account.

Reference: https://cloud.google.com/storage/docs/xml-api/overview,
https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from asgard.core.cancel import Cancel
from asgard.core.config import LocalPath
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret, reveal
from asgard.transport.cloud import RETRIES, CloudConnection, insist_on_obstore
from asgard.transport.objects import Bucket


class GCSConnection(CloudConnection):
    """A bucket of Google Cloud Storage."""

    service_account_file: LocalPath | None = Field(
        default=None,
        validation_alias=AliasChoices("service_account_file", "credentials_path", "keyfile"),
        description="The key file of a service account.",
    )
    service_account_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("service_account_key", "credentials_json"),
        description="The same key as JSON text.",
    )
    access_token: Secret | None = Field(default=None, description="A token that somebody else asked for.")

    def open(self, cancel: Cancel, *, versions: bool = False) -> Bucket:
        """As CloudConnection."""
        insist_on_obstore("gcs")
        from obstore.store import GCSStore

        config: dict[str, Any] = {"skip_signature": self.anonymous}
        key = self._key()
        if key:
            config["service_account_key"] = key
        if token := reveal(self.access_token):
            config["bearer_token"] = token
        if self.endpoint:
            config["base_url"] = self.endpoint.rstrip("/")
        secrets = _secrets_of(key, token)
        store = GCSStore(
            self.bucket,
            config=config,  # type: ignore[arg-type] # built key by key
            client_options=self.client_options(),  # type: ignore[arg-type]
            retry_config=RETRIES,  # type: ignore[arg-type]
        )
        return Bucket(store, f"gs://{self.bucket}", self.folder, secrets=lambda: secrets)

    def storage_options(self, cancel: Cancel) -> dict[str, str]:
        """As CloudConnection."""
        told = {"GOOGLE_SKIP_SIGNATURE": str(self.anonymous).lower()}
        if key := self._key():
            told["GOOGLE_SERVICE_ACCOUNT_KEY"] = key
        if token := reveal(self.access_token):
            told["GOOGLE_BEARER_TOKEN"] = token
        if self.endpoint:
            told |= {"GOOGLE_BASE_URL": self.endpoint, "ALLOW_HTTP": str(self.is_plain_http).lower()}
        return told

    def _key(self) -> str | None:
        """The service account's key as JSON text.

        Raises:
            ConfigError: it cannot be read, or is none.
        """
        key = reveal(self.service_account_key)
        if self.service_account_file:
            try:
                key = Path(self.service_account_file).read_text("utf-8")
            except OSError as error:
                raise ConfigError(
                    f"{self.service_account_file} cannot be read: {error.strerror}",
                    hint="service_account_file is the key file of a service account",
                ) from error
        if key and not _parsed(key):
            raise ConfigError(
                "the service account's key is no JSON of a key",
                hint="it is a document with client_email and private_key, as Google gives it",
            )
        return key


def _parsed(key: str) -> dict[str, Any]:
    try:
        document = json.loads(key)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _secrets_of(key: str | None, token: str | None) -> Sequence[str]:
    private = _parsed(key).get("private_key") if key else None
    return [text for text in (key, token, private) if text]
