"""`${aws:name#key}`: AWS Secrets Manager. Without `#key` the whole text, with it one key of a JSON object.

Who we are is found as AWS's own tools find it: the environment, a profile, a role that a profile names, what
the pod, the container or the instance is lent.
AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL name a service elsewhere.

Reference: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import base64
import json

from asgard.core.errors import AsgardError, AuthenticationError, ConfigError, Refused, Unreachable
from asgard.core.secret import Secret
from asgard.secrets.document import name_and_key, picked
from asgard.secrets.surroundings import Surroundings
from asgard.transport.aws import Identity, found_keys, signed_call
from asgard.transport.aws_machine import machine_keys
from asgard.transport.http import Answer

FORM = "aws:name#key"
TARGET = "secretsmanager.GetSecretValue"
MISSING = {
    "ResourceNotFoundException",
    "InvalidRequestException",
    "ValidationException",
    "InvalidParameterException",
}
DENIED = {"AccessDeniedException", "DecryptionFailure", "AccessDenied"}


class SecretsManager:
    """The Secrets Manager of our account and region."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._found: dict[str, str] = {}

    def where(self, name: str) -> str:
        """The secret, and in which region."""
        return f"aws secret {name}"

    def read(self, name: str) -> Secret:
        """The text, or one key of it."""
        path, key = name_and_key(name, FORM)
        if path not in self._found:
            self._found[path] = self._text(path)
        return picked(self._found[path], key, f"the secret {path}")

    def _text(self, path: str) -> str:
        identity, cancel = Identity(region=_region_of(path)), self._surroundings.cancel
        region = identity.region_or_default()
        keys = found_keys(identity, cancel) or machine_keys(identity, cancel)
        if keys is None:
            raise ConfigError(
                "there are no AWS keys, and the machine is lent none",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )
        answer = signed_call(
            self._endpoint(region), TARGET, {"SecretId": path}, (keys, region, "secretsmanager"), cancel
        )
        if answer.status != 200:
            raise _refusal(answer, path, region)
        told = json.loads(answer.content)
        if "SecretString" in told:
            return str(told["SecretString"])
        try:
            return base64.b64decode(told["SecretBinary"]).decode()
        except (KeyError, ValueError):
            raise ConfigError(f"the secret {path} is no text", hint="only text can be referred to") from None

    def _endpoint(self, region: str) -> str:
        variable = self._surroundings.variable
        given = variable("AWS_ENDPOINT_URL_SECRETS_MANAGER") or variable("AWS_ENDPOINT_URL")
        suffix = ".cn" if region.startswith("cn-") else ""
        return given or f"https://secretsmanager.{region}.amazonaws.com{suffix}"


def _region_of(path: str) -> str | None:
    """The region that an ARN names; a plain name names none."""
    parts = path.split(":")
    return parts[3] if len(parts) > 6 and parts[0] == "arn" else None


def _refusal(answer: Answer, path: str, region: str) -> AsgardError:
    try:
        told = json.loads(answer.content)
    except ValueError:
        told = {}
    kind = str(told.get("__type", "")).rpartition("#")[2]
    where = {"region": region}
    if kind in MISSING:
        return ConfigError(
            f"AWS has no secret {path}, or it is marked for deletion ({kind})",
            hint="look at the name and the region: AWS_REGION",
            where=where,
        )
    if kind in DENIED:
        return Refused(
            f"AWS does not let us read the secret {path} ({kind})",
            hint="allow secretsmanager:GetSecretValue on it, and kms:Decrypt on its key",
            where=where,
        )
    if answer.status in (400, 401, 403) and ("Token" in kind or "Signature" in kind or "Client" in kind):
        return AuthenticationError(
            f"AWS does not take our keys ({kind})",
            hint="they are wrong or expired: get new ones",
            where=where,
        )
    return Unreachable(
        f"AWS did not give the secret {path}: {kind or answer.status}", hint="try later", where=where
    )
