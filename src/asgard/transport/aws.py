"""Who we are at AWS: keys from a configuration, the environment, a profile or a role, and what they sign.

Knows version 4 signatures, the two files of profiles, and how STS lends a role.
Web identity, containers and instances give their keys to the object store's own client (`objects`); to others
by `aws_machine`.

Reference: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, ConfigError
from asgard.transport.http import Answer, HttpClient, HttpSettings, Request

DEFAULT_REGION = "us-east-1"
SESSION_SECONDS = 3600
RENEWED_BEFORE = timedelta(minutes=5)
SIGNED_SECONDS = 900
RETRIES = 2
ALGORITHM = "AWS4-HMAC-SHA256"
STAMP, DAY = "%Y%m%dT%H%M%SZ", "%Y%m%d"


@dataclass(frozen=True)
class Keys:
    """An access key; of a role it ends at `expires_at`, and counts with its token alone."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    @property
    def secrets(self) -> list[str]:
        """What no text may show."""
        return [self.secret_key, *([self.session_token] if self.session_token else [])]


@dataclass(frozen=True)
class Profile:
    """A section of the profiles' files: its values, and where they were looked for."""

    name: str
    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def named(cls, name: str) -> Profile | None:
        """The profile as both files have it together; None when neither has."""
        values: dict[str, str] = {}
        found = False
        for variable, file, section in (
            ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
        ):
            path = Path(os.environ.get(variable) or Path.home() / ".aws" / file).expanduser()
            parser = configparser.RawConfigParser(default_section="", strict=False)
            try:
                parser.read(path, "utf-8")
            except (configparser.Error, OSError, UnicodeError) as error:
                raise ConfigError(
                    f"{path} cannot be read: {type(error).__name__}", hint="it is written as an ini file"
                ) from None  # the error's text quotes the line, which may be a secret
            if parser.has_section(section):
                found = True
                values |= dict(parser.items(section))
        return cls(name, values) if found else None

    @property
    def keys(self) -> Keys | None:
        """The keys that stand in it."""
        access, secret = self.values.get("aws_access_key_id"), self.values.get("aws_secret_access_key")
        return Keys(access, secret, self.values.get("aws_session_token")) if access and secret else None


@dataclass(frozen=True)
class Identity:
    """Who a configuration wants us to be.

    Attributes:
        keys: from the configuration.
        profile: name of one; then neither the environment nor the default profile counts.
        role: ARN of a role that is assumed with the keys found.
        sts_endpoint_url: for STS elsewhere; AWS's own by default.
    """

    keys: Keys | None = None
    profile: str | None = None
    role: str | None = None
    external_id: str | None = None
    region: str | None = None
    sts_endpoint_url: str | None = None

    def chosen_profile(self) -> Profile | None:
        """The profile that counts, if there is one.

        Raises:
            ConfigError: the one that is named is not there.
        """
        name = self.profile or os.environ.get("AWS_PROFILE")
        found = Profile.named(name or "default")
        if found is None and name:
            raise ConfigError(
                f"there is no AWS profile {name!r}",
                hint="look at ~/.aws/config and ~/.aws/credentials, or at AWS_CONFIG_FILE",
            )
        return found

    def region_or_default(self) -> str:
        """From the configuration, the environment, or the profile."""
        profile = self.chosen_profile()
        told = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return self.region or told or (profile.values.get("region") if profile else None) or DEFAULT_REGION


def found_keys(identity: Identity, cancel: Cancel) -> Keys | None:
    """The keys to sign with now; None where only the machine's own role is left.

    Raises:
        ConfigError: a profile is not there, or has its keys in a way that is not known here.
        AuthenticationError: STS does not lend the role.
    """
    base, role, external_id = _before_role(identity)
    if role is None or base is None:
        return base
    return _assumed(base, role, external_id, identity, cancel)


def _before_role(identity: Identity) -> tuple[Keys | None, str | None, str | None]:
    role, external_id = identity.role, identity.external_id
    if identity.keys is not None:
        return identity.keys, role, external_id
    environment = _of_environment()
    if environment is not None and identity.profile is None:
        return environment, role, external_id
    profile = identity.chosen_profile()
    if profile is None:
        return None, role, external_id
    source = profile.values.get("source_profile")
    if profile.keys is None and source and "role_arn" in profile.values:
        role, external_id = role or profile.values["role_arn"], profile.values.get("external_id", external_id)
        lender = Profile.named(source)
        if lender is None or lender.keys is None:
            raise ConfigError(
                f"profile {profile.name!r} takes its keys from {source!r}, which has none",
                hint="give that profile aws_access_key_id and aws_secret_access_key",
            )
        return lender.keys, role, external_id
    elsewhere = [
        name for name in ("sso_session", "sso_start_url", "credential_process") if name in profile.values
    ]
    if profile.keys is None and elsewhere:
        raise ConfigError(
            f"profile {profile.name!r} has no keys, but {elsewhere[0]}",
            hint=f"`aws configure export-credentials --profile {profile.name} --format env` gives keys "
            "for the environment",
        )
    return profile.keys, role, external_id


def _of_environment() -> Keys | None:
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return Keys(access, secret, os.environ.get("AWS_SESSION_TOKEN")) if access and secret else None


def _assumed(base: Keys, role: str, external_id: str | None, identity: Identity, cancel: Cancel) -> Keys:
    region = identity.region_or_default()
    endpoint = identity.sts_endpoint_url or f"https://sts.{region}.amazonaws.com"
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role,
              "RoleSessionName": "asgard", "DurationSeconds": str(SESSION_SECONDS)}  # fmt: skip
    if external_id:
        form["ExternalId"] = external_id
    document = ElementTree.fromstring(signed_post(endpoint, form, (base, region, "sts"), cancel))
    values = {element.tag.rpartition("}")[2]: element.text or "" for element in document.iter()}
    try:
        expires = datetime.fromisoformat(values["Expiration"])
        return Keys(values["AccessKeyId"], values["SecretAccessKey"], values["SessionToken"], expires)
    except (KeyError, ValueError) as error:
        raise AuthenticationError(
            f"STS lends {role}, but without keys", hint="look at sts_endpoint_url"
        ) from error


class RoleKeys:
    """Keys that are asked for anew before they end; used from any thread.

    Attributes:
        failure: what the last asking failed of; None when it did not. The object store's client, which asks
            in threads of its own, tells no more than that it did.
    """

    def __init__(self, identity: Identity, first: Keys) -> None:
        self._identity = identity
        self._keys = first
        self._lock = threading.Lock()
        self.failure: Exception | None = None

    def now(self) -> Keys:
        """Keys that last for some minutes."""
        with self._lock:
            ends = self._keys.expires_at
            if ends is not None and datetime.now(UTC) + RENEWED_BEFORE > ends:
                try:
                    self._keys = found_keys(self._identity, Cancel()) or self._keys
                except Exception as error:
                    self.failure = error
                    raise
            return self._keys


Signer = tuple[Keys, str, str]
"""Keys, region and service of a request."""


def signed_get(endpoint: str, path: str, params: Mapping[str, str], by: Signer, cancel: Cancel) -> bytes:
    """The body of an answer to a signed request.

    Raises:
        AuthenticationError, Refused, Unreachable, QueryError: as `HttpClient.send`.
    """
    split = urlsplit(endpoint)
    # The signature is part of the URL: no text may show it, nor what it was made of.
    whole = signed_params("GET", f"{endpoint.rstrip('/')}{path}", params, by, datetime.now(UTC))
    hidden = (*by[0].secrets, whole["X-Amz-Signature"])
    settings = HttpSettings(f"{split.scheme}://{split.netloc}", secrets=hidden)
    client = HttpClient(settings, cancel)
    try:
        return client.send(Request(f"{split.path.rstrip('/')}{path}", params=whole)).content
    finally:
        client.close()


def signed_post(endpoint: str, form: Mapping[str, str], by: Signer, cancel: Cancel) -> bytes:
    """The body of an answer to a signed form.

    Raises:
        AuthenticationError, Refused, Unreachable, QueryError: as `HttpClient.send`.
    """
    headers = signed_headers(endpoint, urlencode(form).encode(), by, datetime.now(UTC))
    hidden = (*by[0].secrets, headers["Authorization"])
    settings = HttpSettings(endpoint, headers=headers, secrets=hidden, max_retries=RETRIES)
    client = HttpClient(settings, cancel)
    try:
        return client.send(Request("/", "POST", form=form, repeatable=True)).content
    finally:
        client.close()


def signed_call(endpoint: str, target: str, body: Mapping[str, str], by: Signer, cancel: Cancel) -> Answer:
    """The answer of a service that speaks JSON 1.1, its refusals too.

    Args:
        target: the operation, `secretsmanager.GetSecretValue`.

    Raises:
        Unreachable, DataError: as `HttpClient.send`.
    """
    text = json.dumps(body)
    more = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    headers = signed_headers(endpoint, text.encode(), by, datetime.now(UTC), more)
    hidden = (*by[0].secrets, headers["Authorization"])
    client = HttpClient(HttpSettings(endpoint, headers=headers, secrets=hidden, max_retries=RETRIES), cancel)
    try:
        return client.send(Request("/", "POST", body=text, repeatable=True), wanted=(400, 401, 403, 404))
    finally:
        client.close()


def signed_headers(
    endpoint: str, body: bytes, by: Signer, at: datetime, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a POST to the endpoint's root has to have in its headers.

    Args:
        more: further headers, that are signed as well.
    """
    keys = by[0]
    headers = {"Host": urlsplit(endpoint).netloc, "X-Amz-Date": at.strftime(STAMP), **(more or {})}
    if keys.session_token:
        headers["X-Amz-Security-Token"] = keys.session_token
    ordered = sorted(headers, key=str.lower)
    names = ";".join(name.lower() for name in ordered)
    lines = [f"{name.lower()}:{headers[name]}" for name in ordered]
    canonical = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    credential = f"Credential={keys.access_key}/{_scope(by, at)}"
    signature = f"Signature={_signature(canonical, by, at)}"
    headers["Authorization"] = f"{ALGORITHM} {credential}, SignedHeaders={names}, {signature}"
    return headers


def signed_params(
    method: str, url: str, params: Mapping[str, str], by: Signer, at: datetime
) -> dict[str, str]:
    """The parameters of a request without a body, with those that sign them."""
    keys, _, service = by
    split = urlsplit(url)
    whole = {
        **params,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{_scope(by, at)}",
        "X-Amz-Date": at.strftime(STAMP),
        "X-Amz-Expires": str(SIGNED_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.session_token:
        whole["X-Amz-Security-Token"] = keys.session_token
    query = "&".join(f"{_quoted(name)}={_quoted(whole[name])}" for name in sorted(whole))
    body = "UNSIGNED-PAYLOAD" if service == "s3" else hashlib.sha256(b"").hexdigest()
    canonical = "\n".join([method, split.path or "/", query, f"host:{split.netloc}", "", "host", body])
    return {**whole, "X-Amz-Signature": _signature(canonical, by, at)}


def _scope(by: Signer, at: datetime) -> str:
    return f"{at.strftime(DAY)}/{by[1]}/{by[2]}/aws4_request"


def _signature(canonical: str, by: Signer, at: datetime) -> str:
    scope = _scope(by, at)
    text = "\n".join([ALGORITHM, at.strftime(STAMP), scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{by[0].secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
