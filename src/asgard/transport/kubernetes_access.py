"""How a cluster of Kubernetes is reached: from inside of a pod, or by a kubeconfig.

The token of a pod is read anew whenever it is asked for: the cluster exchanges it. Of a kubeconfig, tokens,
token files and client certificates are understood; what is not is refused by name.

Reference: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/,
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgard.core.errors import ConfigError

ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """How a cluster is reached, and who asks.

    Attributes:
        namespace: the one that is meant where none is named.
        token: gives the bearer token of this moment; None for who comes with a certificate.
        ca: PEM text of the authority that signed the server's certificate; None for the machine's own.
        certificate: PEM texts of the client's certificate and its key.
        who: the asker, for people.
    """

    url: str
    namespace: str = "default"
    token: Callable[[], str] | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)
    certificate: tuple[str, str] | None = field(default=None, repr=False)
    who: str = "we"


def pod_access(variable: Callable[[str], str | None], account: Path = ACCOUNT_FOLDER) -> Access:
    """The cluster that this process runs in, as its pod's service account.

    Args:
        variable: an environment variable, or None.
        account: the folder with `token`, `ca.crt` and `namespace`.

    Raises:
        ConfigError: this is no pod, or one without a service account.
    """
    host = variable("KUBERNETES_SERVICE_HOST")
    if not host:
        raise ConfigError(
            "the variable KUBERNETES_SERVICE_HOST is not set",
            hint="it is set inside of a pod; transforms take a kubeconfig elsewhere",
        )
    namespace = _of_account(account, "namespace")
    port = variable("KUBERNETES_SERVICE_PORT") or "443"
    return Access(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace,
        lambda: _of_account(account, "token"),
        _of_account(account, "ca.crt"),
        who="the service account",
    )


def kubeconfig_access(config: Mapping[str, Any], folder: Path, context: str | None = None) -> Access:
    """The cluster of a kubeconfig's context.

    Args:
        config: the file, read.
        folder: where it lies: its paths begin here.
        context: by default the current one.

    Raises:
        ConfigError: it has none, or wants what is not done here: plugins, no verification, proxies.
    """
    chosen = context or config.get("current-context")
    at = _named(config, "contexts", "context", chosen)
    cluster = _named(config, "clusters", "cluster", at.get("cluster"))
    user = _named(config, "users", "user", at.get("user")) if at.get("user") else {}
    for part, key, hint in _REFUSED:
        if {"cluster": cluster, "user": user}[part].get(key):
            raise ConfigError(f"{key} of a kubeconfig is not supported", hint=hint)
    chain = _pem(user, "client-certificate", folder)
    private = _pem(user, "client-key", folder)
    if (chain is None) != (private is None):
        raise ConfigError("client-certificate and client-key of a kubeconfig go together")
    return Access(
        str(cluster.get("server") or ""),
        at.get("namespace") or "default",
        _token(user, folder),
        _pem(cluster, "certificate-authority", folder),
        (chain, private) if chain is not None and private is not None else None,
        f"{at.get('user') or 'nobody'} of the context {chosen}",
    )


_REFUSED = (
    ("cluster", "insecure-skip-tls-verify", "give the cluster's authority as certificate-authority-data"),
    ("cluster", "tls-server-name", "name the server as its certificate does"),
    ("cluster", "proxy-url", "set HTTPS_PROXY"),
    ("user", "exec", "put a token into the kubeconfig: kubectl create token ACCOUNT"),
    ("user", "auth-provider", "put a token into the kubeconfig: kubectl create token ACCOUNT"),
    ("user", "username", "clusters take no passwords any more: use a token or a certificate"),
    ("user", "as", "ask as the account itself: impersonation is not supported"),
)


def trust(access: Access) -> ssl.SSLContext:
    """The cluster's authority alone is believed, where it names one."""
    if not access.url.startswith("https://"):
        raise ConfigError(f"the cluster's address {access.url!r} is no https:// one", hint="look at server")
    try:
        context = ssl.create_default_context(cadata=access.ca)
    except ssl.SSLError as error:
        raise ConfigError(f"the cluster's authority is no certificate: {error}") from error
    if access.certificate is not None:
        # The library reads them from files alone: one that only we can read, for that long.
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder, "client.pem")
            both.touch(0o600)
            both.write_text("\n".join(access.certificate))
            try:
                context.load_cert_chain(both)
            except ssl.SSLError as error:
                raise ConfigError(
                    f"the client certificate of {access.who} cannot be used: {error.reason}",
                    hint="client-certificate-data and client-key-data hold PEM in base64",
                ) from error
    return context


def _token(user: Mapping[str, Any], folder: Path) -> Callable[[], str] | None:
    if user.get("tokenFile"):
        file = folder / str(user["tokenFile"])
        return lambda: _read(file).strip()
    if user.get("token"):
        token = str(user["token"])
        return lambda: token
    return None


def _of_account(account: Path, name: str) -> str:
    try:
        return (account / name).read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"the pod has no service account: {name} cannot be read: {error.strerror}",
            hint="set automountServiceAccountToken: true",
        ) from error


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} of the kubeconfig cannot be read: {error}") from error


def _pem(part: Mapping[str, Any], key: str, folder: Path) -> str | None:
    """The text that stands in the kubeconfig itself, or in the file that it names."""
    inline, file = part.get(f"{key}-data"), part.get(key)
    if inline:
        try:
            return base64.b64decode(str(inline), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError(f"{key}-data of the kubeconfig is no base64 of PEM") from None
    return _read(folder / str(file)) if file else None


def _named(config: Mapping[str, Any], many: str, one: str, name: Any) -> Mapping[str, Any]:
    entries = [entry for entry in config.get(many) or () if isinstance(entry, Mapping)]
    for entry in entries:
        if name and entry.get("name") == name and isinstance(entry.get(one), Mapping):
            found: Mapping[str, Any] = entry[one]
            return found
    known = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    raise ConfigError(f"the kubeconfig has no {one} {name!r}", hint=f"it has: {known}")
