"""Who the machine is at AWS: keys that a pod, a container or an instance is lent, without any of our own.

Asked in the order of AWS's own tools: web identity (EKS), the container's agent (ECS, EKS Pod Identity), the
instance's metadata (EC2, by version 2 alone).

Reference: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, Unreachable
from asgard.transport.aws import Identity, Keys
from asgard.transport.http import HttpClient, HttpSettings, Request

CONTAINER_AGENT = "http://169.254.170.2"
INSTANCE = "http://169.254.169.254"
ROLES = "/latest/meta-data/iam/security-credentials/"
TIMEOUT_SECONDS = 2.0


def machine_keys(identity: Identity, cancel: Cancel) -> Keys | None:
    """The keys that the machine is lent now; None where it is lent none.

    Raises:
        AuthenticationError: it is told to be somebody, and is not believed.
        Unreachable: whoever lends the keys does not answer.
    """
    environ = os.environ
    if (file := environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")) and (role := environ.get("AWS_ROLE_ARN")):
        return _of_web_identity(Path(file), role, identity, cancel)
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    full = f"{CONTAINER_AGENT}{relative}" if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if full:
        return _of_container(full, cancel)
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    return _of_instance(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE, cancel)


def _of_web_identity(file: Path, role: str, identity: Identity, cancel: Cancel) -> Keys:
    region = identity.region_or_default()
    endpoint = identity.sts_endpoint_url or os.environ.get("AWS_ENDPOINT_URL_STS")
    token = _text(file)
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": os.environ.get("AWS_ROLE_SESSION_NAME") or "asgard",
        "WebIdentityToken": token,
    }
    settings = HttpSettings(
        endpoint or f"https://sts.{region}.amazonaws.com", secrets=(token, urlencode({"": token})[1:])
    )
    client = HttpClient(settings, cancel)
    try:
        answer = client.send(Request("/", "POST", form=form, repeatable=True), wanted=(400, 403))
    finally:
        client.close()
    if answer.status != 200:
        raise AuthenticationError(
            f"STS does not lend {role} to this pod: status {answer.status}",
            hint="look at the role's trust policy and at the service account's annotation",
        )
    document = ElementTree.fromstring(answer.content)
    values = {element.tag.rpartition("}")[2]: element.text or "" for element in document.iter()}
    return _keys(
        {
            "AccessKeyId": values.get("AccessKeyId", ""),
            "SecretAccessKey": values.get("SecretAccessKey", ""),
            "Token": values.get("SessionToken", ""),
            "Expiration": values.get("Expiration", ""),
        },
        "STS",
    )


def _of_container(url: str, cancel: Cancel) -> Keys:
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = _text(Path(file))
    parts = urlsplit(url)
    base, path = f"{parts.scheme}://{parts.netloc}", parts._replace(scheme="", netloc="").geturl()
    content = _asked(base, Request(path), {"Authorization": token} if token else {}, cancel)
    return _keys(json.loads(content), "the container's agent")


def _of_instance(base: str, cancel: Cancel) -> Keys | None:
    request = Request("/latest/api/token", "PUT", repeatable=True)
    try:
        token = _asked(base, request, {"X-aws-ec2-metadata-token-ttl-seconds": "300"}, cancel)
    except Unreachable:
        return None  # no instance of EC2
    headers = {"X-aws-ec2-metadata-token": token}
    role = _asked(base, Request(ROLES), headers, cancel).split("\n")[0].strip()
    if not role:
        return None
    return _keys(json.loads(_asked(base, Request(f"{ROLES}{role}"), headers, cancel)), "the instance")


def _asked(base: str, request: Request, headers: Mapping[str, str], cancel: Cancel) -> str:
    settings = HttpSettings(
        base,
        headers,
        secrets=tuple(headers.values()),
        timeout_seconds=TIMEOUT_SECONDS,
        max_retries=1,
        allow_metadata_addresses=True,
    )
    client = HttpClient(settings, cancel)
    try:
        answer = client.send(request, wanted=(404,))
        return answer.content.decode() if answer.status != 404 else ""
    finally:
        client.close()


def _keys(told: Mapping[str, str], who: str) -> Keys:
    try:
        expires = datetime.fromisoformat(told["Expiration"])
        return Keys(told["AccessKeyId"], told["SecretAccessKey"], told["Token"], expires)
    except (KeyError, ValueError):
        raise AuthenticationError(
            f"{who} lends no keys", hint="is a role attached, and may it be used here?"
        ) from None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise AuthenticationError(
            f"the machine's token {file} cannot be read: {error.strerror}", hint="is it mounted?"
        ) from error
