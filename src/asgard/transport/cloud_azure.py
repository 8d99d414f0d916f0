"""Containers of Azure Blob Storage.

Credentials come from the configuration (an account key, a shared access signature, a connection string, a
service principal), from the AZURE_... variables of the environment, or from the machine's managed identity.

Reference: https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-rest-api,
https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import AliasChoices, Field

from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret, reveal
from asgard.transport.cloud import RETRIES, CloudConnection, insist_on_obstore
from asgard.transport.objects import Bucket


class AzureConnection(CloudConnection):
    """A container of a storage account."""

    account: str | None = Field(
        default=None,
        validation_alias=AliasChoices("account", "account_name", "storage_account"),
        description="The storage account; AZURE_STORAGE_ACCOUNT_NAME when left out.",
    )
    account_key: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("account_key", "access_key"),
        description="One of the account's keys.",
    )
    sas_token: Secret | None = Field(default=None, description="A shared access signature.")
    connection_string: Secret | None = Field(
        default=None, description="Account, key and endpoint as the portal shows them in one line."
    )
    tenant_id: str | None = Field(default=None, description="The service principal's tenant.")
    client_id: str | None = Field(default=None, description="The service principal, or a managed identity.")
    client_secret: Secret | None = Field(default=None, description="The service principal's secret.")

    @property
    def endpoint(self) -> str | None:
        """From the configuration, or the connection string."""
        return self.endpoint_url or self._parts().get("blobendpoint")

    def open(self, cancel: Cancel, *, versions: bool = False) -> Bucket:
        """As CloudConnection."""
        insist_on_obstore("azure")
        from obstore.store import AzureStore

        known = self._credentials()
        config: dict[str, Any] = {**known, "skip_signature": self.anonymous}
        if self.endpoint:
            config["endpoint"] = self.endpoint.rstrip("/")
        secrets = [known[name] for name in ("account_key", "sas_key", "client_secret") if name in known]
        store = AzureStore(
            self.bucket,
            config=config,  # type: ignore[arg-type] # built key by key
            client_options=self.client_options(),  # type: ignore[arg-type]
            retry_config=RETRIES,  # type: ignore[arg-type]
        )
        return Bucket(store, f"az://{self.bucket}", self.folder, secrets=lambda: secrets)

    def storage_options(self, cancel: Cancel) -> dict[str, str]:
        """As CloudConnection."""
        told = {f"AZURE_STORAGE_{name.upper()}": value for name, value in self._credentials().items()}
        told["AZURE_SKIP_SIGNATURE"] = str(self.anonymous).lower()
        if self.endpoint:
            told |= {"AZURE_ENDPOINT": self.endpoint, "ALLOW_HTTP": str(self.is_plain_http).lower()}
        return told

    def _credentials(self) -> dict[str, str]:
        """What is known of them, in obstore's words.

        Raises:
            ConfigError: no account is named anywhere.
        """
        parts = self._parts()
        given = {
            "account_name": self.account or parts.get("accountname"),
            "account_key": reveal(self.account_key) or parts.get("accountkey"),
            "sas_key": (reveal(self.sas_token) or parts.get("sharedaccesssignature") or "").lstrip("?"),
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": reveal(self.client_secret),
        }
        if not given["account_name"] and not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
            raise ConfigError("account is missing", hint="the name of the storage account")
        return {name: value for name, value in given.items() if value}

    def _parts(self) -> dict[str, str]:
        """The connection string's, names in lower case."""
        text = reveal(self.connection_string) or ""
        pairs = (part.partition("=") for part in text.split(";") if part.strip())
        return {name.strip().lower(): value.strip() for name, _, value in pairs}
