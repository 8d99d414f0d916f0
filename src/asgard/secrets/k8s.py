"""`${k8s:secret/key}`: secrets of the Kubernetes cluster that we run in, by the pod's own service account.

`${k8s:namespace/secret/key}` names another namespace than the pod's.

Reference: https://kubernetes.io/docs/concepts/configuration/secret/
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.secrets.surroundings import Surroundings
from asgard.transport.kubernetes import SECRETS, KubernetesClient
from asgard.transport.kubernetes_access import ACCOUNT_FOLDER, Access, pod_access

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
        access = pod_access(self._surroundings.variable, self._account)
        namespace = parts[0] if len(parts) == 3 else access.namespace
        secret, key = parts[-2:]
        told = f"the secret {namespace}/{secret}"
        if (namespace, secret) not in self._found:
            self._found[namespace, secret] = self._data(access, namespace, secret)
        data = self._found[namespace, secret]
        if key not in data:
            raise ConfigError(
                f"{told} has no key {key!r}", hint=f"it has: {', '.join(sorted(data)) or 'none'}"
            )
        try:
            return Secret(base64.b64decode(data[key]).decode())
        except ValueError:
            raise ConfigError(f"{key!r} of {told} is no text", hint="only text can be referred to") from None

    def _data(self, access: Access, namespace: str, secret: str) -> dict[str, Any]:
        client = KubernetesClient(access, self._surroundings.cancel)
        try:
            found = client.get(SECRETS, namespace, secret)
        finally:
            client.close()
        if found is None:
            raise ConfigError(
                f"there is no secret {namespace}/{secret}", hint=f"kubectl -n {namespace} get secrets"
            )
        return found.get("data") or {}
