"""`${gcp:name}`: Google Secret Manager, by a service account's key file or the machine's own account.

`name` is a secret of GOOGLE_CLOUD_PROJECT, or `projects/p/secrets/s/versions/v`; the newest version is taken
where none is named. GOOGLE_APPLICATION_CREDENTIALS names the key file; without it the metadata server is
asked.

Reference: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access,
https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asgard.core.errors import AuthenticationError, ConfigError, Refused
from asgard.core.secret import Secret
from asgard.secrets.document import name_and_key, picked
from asgard.secrets.surroundings import RETRIES, TIMEOUT_SECONDS, Surroundings
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request

FORM = "gcp:name"
SERVICE = "https://secretmanager.googleapis.com"
MACHINE = "http://metadata.google.internal"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class SecretManager:
    """The secrets of our projects.

    Args:
        service, machine: where secrets and the machine's tokens are asked for.
    """

    def __init__(self, surroundings: Surroundings, service: str = SERVICE, machine: str = MACHINE) -> None:
        self._surroundings = surroundings
        self._service = service
        self._machine = machine
        self._token: str | None = None

    def where(self, name: str) -> str:
        """The secret as people write it."""
        return f"google secret {name}"

    def read(self, name: str) -> Secret:
        """The text of a version; `#key` picks a key of a JSON object."""
        path, key = name_and_key(name, FORM)
        full = self._full_name(path)
        answer = self._send(f"/v1/{quote(full)}:access")
        if answer.status == 401:
            raise AuthenticationError(
                "Google does not take our token", hint="is the account's key still valid?"
            )
        if answer.status == 403:
            raise Refused(
                f"Google does not let us read {full}",
                hint="give the account the role Secret Manager Secret Accessor",
            )
        if answer.status in (400, 404):
            raise ConfigError(
                f"Google has no {full}, or that version is not enabled",
                hint="look at the name and GOOGLE_CLOUD_PROJECT",
            )
        try:
            text = base64.b64decode(json.loads(answer.content)["payload"]["data"]).decode()
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{full} is no text", hint="only text can be referred to") from None
        return picked(text, key, full)

    def _full_name(self, path: str) -> str:
        if not path.startswith("projects/"):
            project = self._surroundings.needed(
                "GOOGLE_CLOUD_PROJECT", f"or write ${{{FORM}}} as projects/p/secrets/s"
            )
            path = f"projects/{project}/secrets/{path}"
        return path if "/versions/" in path else f"{path}/versions/latest"

    def _send(self, path: str) -> Answer:
        if self._token is None:
            self._token = self._signed_in()
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._asked(self._service, Request(path), headers, (self._token,), (400, 401, 403, 404))

    def _asked(
        self,
        base: str,
        request: Request,
        headers: dict[str, str],
        secrets: tuple[str, ...],
        wanted: tuple[int, ...],
    ) -> Answer:
        settings = HttpSettings(
            base, headers, secrets=secrets, timeout_seconds=TIMEOUT_SECONDS, max_retries=RETRIES,
            allow_metadata_addresses=base == self._machine,
        )  # fmt: skip
        client = HttpClient(settings, self._surroundings.cancel)
        try:
            return client.send(request, wanted=wanted)
        finally:
            client.close()

    def _signed_in(self) -> str:
        file = self._surroundings.variable("GOOGLE_APPLICATION_CREDENTIALS")
        if file:
            account = _account(Path(file).expanduser())
            form = {"grant_type": GRANT, "assertion": _assertion(account, time.time())}
            request = Request("", "POST", form=form, repeatable=True)
            answer = self._asked(account["token_uri"], request, {}, (form["assertion"],), (400, 401, 403))
        else:
            request = Request("/computeMetadata/v1/instance/service-accounts/default/token")
            answer = self._asked(self._machine, request, {"Metadata-Flavor": "Google"}, (), (403, 404))
        if answer.status != 200:
            raise AuthenticationError(
                f"Google gives no token: status {answer.status}",
                hint="is the key of GOOGLE_APPLICATION_CREDENTIALS still valid?"
                if file
                else "give the machine an account",
            )
        return str(json.loads(answer.content)["access_token"])


def _account(file: Path) -> dict[str, Any]:
    try:
        account: dict[str, Any] = json.loads(file.read_text())
        {account[key] for key in ("client_email", "private_key", "token_uri")}
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"GOOGLE_APPLICATION_CREDENTIALS is no key file of a service account: {file}",
            hint="gcloud iam service-accounts keys create",
        ) from None  # the cause quotes the file
    return account


def _assertion(account: dict[str, Any], now: float) -> str:
    """Our claim to be the account, signed by its key: good for an hour."""
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError as error:
        raise ConfigError(
            "cryptography is not installed", hint="pip install 'asgard-platform[secrets]'"
        ) from error
    claims = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": int(now),
        "exp": int(now) + 3600,
    }
    said = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    try:
        key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(
            "the key file's private_key is no RSA key", hint="gcloud iam service-accounts keys create"
        )
    return f"{said}.{_encoded(key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
