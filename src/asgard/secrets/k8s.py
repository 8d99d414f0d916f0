"""`${k8s:secret/key}`: secrets of the Kubernetes cluster that we run in, by the pod's own service account.

`${k8s:namespace/secret/key}` names another namespace than the pod's. The token is read anew for each secret:
the cluster exchanges it every hour.

Reference: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from asgard.core.errors import AuthenticationError, ConfigError, Refused
from asgard.core.secret import Secret
from asgard.secrets.surroundings import RETRIES, TIMEOUT_SECONDS, Surroundings
from asgard.transport.http import HttpClient, HttpSettings, Request

ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FORM = "k8s:secret/key"


class KubernetesSecrets:
    """The API server of the cluster around us.

    Args:
        account: the folder with `token`, `ca.crt` and `namespace`.
    """

    def __init__(self, surroundings: Surroundings, account: Path = ACCOUNT_FOLDER) -> None:
        self._surroundings = surroundings
        self._account = account
        self._found: dict[tuple[str, str], dict[str, Any]] = {}

    def where(self, name: str) -> str:
        """The secret as people write it."""
        return f"kubernetes secret {name}"

    def read(self, name: str) -> Secret:
        """One key of a secret."""
        parts = name.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ConfigError(
                "the reference names no secret", hint=f"write ${{{FORM}}} or ${{k8s:namespace/secret/key}}"
            )
        namespace = parts[0] if len(parts) == 3 else self._of_account("namespace").strip()
        secret, key = parts[-2:]
        told = f"the secret {namespace}/{secret}"
        if (namespace, secret) not in self._found:
            self._found[namespace, secret] = self._data(namespace, secret, told)
        data = self._found[namespace, secret]
        if key not in data:
            raise ConfigError(
                f"{told} has no key {key!r}", hint=f"it has: {', '.join(sorted(data)) or 'none'}"
            )
        try:
            return Secret(base64.b64decode(data[key]).decode())
        except ValueError:
            raise ConfigError(f"{key!r} of {told} is no text", hint="only text can be referred to") from None

    def _data(self, namespace: str, secret: str, told: str) -> dict[str, Any]:
        answer = self._send(f"/api/v1/namespaces/{namespace}/secrets/{secret}")
        if answer.status == 401:
            raise AuthenticationError(
                "the cluster does not take the token of the service account",
                hint="is the pod's account still there?",
            )
        if answer.status == 403:
            raise Refused(
                f"the service account may not read {told}",
                hint=f"give it a Role in {namespace} with `get` on secrets, resourceNames: [{secret}]",
            )
        if answer.status == 404:
            raise ConfigError(
                f"there is no {told.removeprefix('the ')}", hint=f"kubectl -n {namespace} get secrets"
            )
        return json.loads(answer.content).get("data") or {}

    def _send(self, path: str) -> Any:
        hint = "k8s references work inside of a pod"
        host = self._surroundings.needed("KUBERNETES_SERVICE_HOST", hint)
        port = self._surroundings.variable("KUBERNETES_SERVICE_PORT") or "443"
        address = f"[{host}]" if ":" in host else host
        token = self._of_account("token").strip()
        settings = HttpSettings(
            f"https://{address}:{port}",
            {"Authorization": f"Bearer {token}"},
            secrets=(token,),
            timeout_seconds=TIMEOUT_SECONDS,
            max_retries=RETRIES,
            ca_file=str(self._account / "ca.crt"),
        )
        client = HttpClient(settings, self._surroundings.cancel)
        try:
            return client.send(Request(path), wanted=(401, 403, 404))
        finally:
            client.close()

    def _of_account(self, name: str) -> str:
        try:
            return (self._account / name).read_text()
        except OSError as error:
            raise ConfigError(
                f"the pod has no service account: {name} cannot be read: {error.strerror}",
                hint="set automountServiceAccountToken: true",
            ) from error
