"""`${azure:vault/name}`: Azure Key Vault, by a service principal or the machine's managed identity.

AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET name a service principal; without them the identity
of the machine is asked for, AZURE_CLIENT_ID then says which one. AZURE_AUTHORITY_HOST names another cloud's
sign-in, AZURE_KEYVAULT_DNS_SUFFIX its vaults.

Reference: https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
"""

from __future__ import annotations

import json
from typing import Any

from asgard.core.errors import AuthenticationError, ConfigError, Refused
from asgard.core.secret import Secret
from asgard.secrets.document import name_and_key, picked
from asgard.secrets.surroundings import RETRIES, TIMEOUT_SECONDS, Surroundings
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.oauth import OAuthSettings, OAuthTokens

FORM = "azure:vault/name"
API_VERSION = "7.4"
MACHINE = "http://169.254.169.254"


class KeyVault:
    """The key vaults that we may read.

    Args:
        machine: where the machine gives tokens of its identity out.
    """

    def __init__(self, surroundings: Surroundings, machine: str = MACHINE) -> None:
        self._surroundings = surroundings
        self._machine = machine
        self._authorization: str | None = None

    def where(self, name: str) -> str:
        """The vault's address and the name."""
        vault, _, secret = name.partition("/")
        return f"azure key vault {self._vault_url(vault)} {secret}"

    def read(self, name: str) -> Secret:
        """The newest version of a secret; `#key` picks a key of a JSON object."""
        path, key = name_and_key(name, FORM)
        vault, _, secret = path.partition("/")
        if not vault or not secret:
            raise ConfigError("the reference names no secret", hint=f"write ${{{FORM}}}")
        told = f"the secret {secret} of {vault}"
        answer = self._send(vault, secret)
        if answer.status == 401:
            raise AuthenticationError("Azure does not take our token", hint="is the vault of another tenant?")
        if answer.status == 403:
            raise Refused(
                f"Azure does not let us read {told}", hint="give the identity the role Key Vault Secrets User"
            )
        if answer.status == 404:
            raise ConfigError(
                f"{vault} has no secret {secret}", hint="look at the name; disabled ones are not found"
            )
        return picked(str(json.loads(answer.content)["value"]), key, told)

    def _send(self, vault: str, secret: str) -> Any:
        if self._authorization is None:
            self._authorization = self._signed_in()
        settings = HttpSettings(
            self._vault_url(vault),
            {"Authorization": self._authorization},
            secrets=(self._authorization, self._authorization.rpartition(" ")[2]),
            timeout_seconds=TIMEOUT_SECONDS,
            max_retries=RETRIES,
        )
        client = HttpClient(settings, self._surroundings.cancel)
        try:
            request = Request(f"/secrets/{secret}", params={"api-version": API_VERSION})
            return client.send(request, wanted=(401, 403, 404))
        finally:
            client.close()

    def _vault_url(self, vault: str) -> str:
        suffix = self._surroundings.variable("AZURE_KEYVAULT_DNS_SUFFIX") or "vault.azure.net"
        return suffix.replace("{vault}", vault) if "://" in suffix else f"https://{vault}.{suffix}"

    @property
    def _audience(self) -> str:
        suffix = self._surroundings.variable("AZURE_KEYVAULT_DNS_SUFFIX") or ""
        return f"https://{suffix}" if suffix and "://" not in suffix else "https://vault.azure.net"

    def _signed_in(self) -> str:
        variable = self._surroundings.variable
        tenant, client_id = variable("AZURE_TENANT_ID"), variable("AZURE_CLIENT_ID")
        client_secret = variable("AZURE_CLIENT_SECRET")
        if not (tenant and client_id and client_secret):
            return self._of_machine(client_id)
        host = (variable("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com").rstrip("/")
        tokens = OAuthTokens(
            OAuthSettings(
                f"{host}/{tenant}/oauth2/v2.0/token",
                client_id,
                client_secret,
                scope=f"{self._audience}/.default",
                timeout_seconds=TIMEOUT_SECONDS,
                max_retries=RETRIES,
            ),
            self._surroundings.cancel,
        )
        try:
            return tokens.header()
        finally:
            tokens.close()

    def _of_machine(self, client_id: str | None) -> str:
        settings = HttpSettings(
            self._machine,
            {"Metadata": "true"},
            timeout_seconds=3.0,
            max_retries=1,
            allow_metadata_addresses=True,
        )
        params = {"api-version": "2018-02-01", "resource": self._audience}
        if client_id:
            params["client_id"] = client_id
        client = HttpClient(settings, self._surroundings.cancel)
        try:
            answer = client.send(Request("/metadata/identity/oauth2/token", params=params), wanted=(400, 404))
        finally:
            client.close()
        if answer.status != 200:
            raise AuthenticationError(
                "the machine has no managed identity that may sign in",
                hint="assign one, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
            )
        return f"Bearer {json.loads(answer.content)['access_token']}"
