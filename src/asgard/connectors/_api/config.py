"""Where an API is, how to sign in, and how often it may be asked: the options that all APIs share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, ValidationInfo, model_validator

from asgard.connectors._api.manifest import Manifest, shipped
from asgard.core.cancel import Cancel
from asgard.core.config import Config, Document, LocalPath, read_document
from asgard.core.secret import Secret, reveal
from asgard.transport.http import HttpClient, HttpSettings
from asgard.transport.http_rules import SECRET_NAME
from asgard.transport.oauth import FileTokenStore, OAuthSettings, OAuthTokens, TokenStore

AuthType = Literal["none", "bearer", "basic", "api_key", "oauth2"]


class ApiConfig(Config):
    """Where the API is, and how to sign in."""

    manifest_name: ClassVar[str] = ""
    """The shipped manifest of the connector; empty when it has none."""
    bearer_key: ClassVar[bool] = False
    """Whether `api_key` is a token, and sent as one."""

    manifest: Document | None = Field(
        default=None,
        repr=False,
        description="What the API is: options of the source and of its streams, inline or as a YAML file.",
    )
    base_url: str = Field(min_length=1, description="What every path begins with: https://api.example.com/v1")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Sent with every request.")
    params: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="Query parameters of every request."
    )
    auth_type: AuthType | None = Field(
        default=None,
        description="How to sign in; found from what is given: auth_token, username, api_key or client_id.",
    )
    auth_token: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("auth_token", "token"),
        description="The token, for bearer.",
    )
    username: str | None = Field(default=None, description="The user, for basic.")
    password: Secret | None = Field(default=None, description="The password, for basic.")
    api_key: Secret | None = Field(default=None, description="The key, for api_key.")
    key_header: str = Field(default="X-API-Key", min_length=1, description="The header that has the key.")
    key_param: str | None = Field(
        default=None, min_length=1, description="The query parameter that has the key, instead of a header."
    )
    token_url: str | None = Field(default=None, min_length=1, description="oauth2: where tokens are given.")
    client_id: str | None = Field(default=None, min_length=1, description="oauth2: the client.")
    client_secret: Secret | None = Field(default=None, description="oauth2: the client's secret.")
    scope: str | None = Field(default=None, description="oauth2: what the token shall allow.")
    refresh_token: Secret | None = Field(
        default=None, description="oauth2: the first refresh token; without one, client credentials."
    )
    token_file: LocalPath | None = Field(
        default=None,
        description="oauth2: where refresh tokens rest that may be used once; its owner alone may read it.",
    )
    timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        validation_alias=AliasChoices("timeout_seconds", "timeout", "connection_timeout"),
        description="How long to wait for an answer.",
    )
    max_retries: int = Field(default=5, ge=0, le=20, description="Further attempts when an answer fails.")
    rate_limit: float | None = Field(
        default=None, gt=0, description="Most requests within rate_seconds, of all tables together."
    )
    rate_seconds: float = Field(default=1.0, gt=0, description="Within how many seconds rate_limit is meant.")
    ca_file: LocalPath | None = Field(
        default=None, description="PEM file of authorities that are trusted besides the usual ones."
    )
    allow_metadata_addresses: bool = Field(
        default=False, description="Also asks link-local addresses, at which clouds give credentials out."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_manifest(cls, given: Any, info: ValidationInfo) -> Any:
        """The manifest's options of the source, where nothing else is said."""
        if not isinstance(given, dict) or given.get("manifest") is None:
            return given
        manifest = Manifest.model_validate(read_document(given["manifest"], info))
        return {**manifest.source, **given, "manifest": manifest.model_dump()}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        kind = self.sign_in
        if kind == "basic" and self.username is None:
            raise ValueError("auth_type basic needs username and password")
        if kind == "bearer" and self.auth_token is None and not (self.bearer_key and self.api_key):
            raise ValueError("auth_type bearer needs auth_token")
        if kind == "api_key" and self.api_key is None and self.auth_token is None:
            raise ValueError("auth_type api_key needs api_key")
        if kind == "oauth2" and (None in (self.token_url, self.client_id, self.client_secret)):
            raise ValueError("auth_type oauth2 needs token_url, client_id and client_secret")
        return self

    @property
    def sign_in(self) -> str:
        """How to sign in: as said, or as what is given suggests."""
        if self.auth_type is not None:
            return self.auth_type
        if self.api_key is not None:
            return "bearer" if self.bearer_key else "api_key"
        if self.username is not None:
            return "basic"
        if self.client_id is not None:
            return "oauth2"
        return "none" if self.auth_token is None else "bearer"

    @property
    def of_manifest(self) -> Manifest:
        """The given manifest, else the shipped one; an empty one where there is none."""
        if self.manifest is not None:
            return Manifest.model_validate(self.manifest)
        return shipped(self.manifest_name) if self.manifest_name else Manifest()


def open_client(config: ApiConfig, cancel: Cancel, store: TokenStore | None = None) -> HttpClient:
    """A client for the API.

    Args:
        store: where refresh tokens rest that may be used once; `token_file` if there is none.
    """
    authorizer = None
    if config.sign_in == "oauth2":
        own = FileTokenStore(config.token_file) if config.token_file else None
        authorizer = OAuthTokens(_oauth_settings(config), cancel, store or own)
    return HttpClient(_http_settings(config), cancel, authorizer)


def _oauth_settings(config: ApiConfig) -> OAuthSettings:
    return OAuthSettings(
        token_url=config.token_url or "",
        client_id=config.client_id or "",
        client_secret=reveal(config.client_secret) or "",
        scope=config.scope,
        refresh_token=reveal(config.refresh_token),
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        ca_file=config.ca_file,
        allow_metadata_addresses=config.allow_metadata_addresses,
    )


def _http_settings(config: ApiConfig) -> HttpSettings:
    """What the transport needs to know, secrets revealed."""
    headers = {name: reveal(value) or "" for name, value in config.headers.items()}
    params = dict(config.params)
    secrets = [value for name, value in headers.items() if SECRET_NAME.search(name)]
    secrets += [str(value) for name, value in params.items() if SECRET_NAME.search(name)]
    basic = None
    key = reveal(config.api_key) or reveal(config.auth_token) or ""
    match config.sign_in:
        case "bearer":
            token = key if config.auth_token is None else reveal(config.auth_token)
            headers["Authorization"] = f"Bearer {token}"
        case "basic":
            basic = (config.username or "", reveal(config.password) or "")
        case "api_key" if config.key_param:
            params[config.key_param] = key
        case "api_key":
            headers[config.key_header] = key
    given = (config.auth_token, config.password, config.api_key, config.client_secret, config.refresh_token)
    secrets += [reveal(secret) or "" for secret in given if secret is not None]
    return HttpSettings(
        base_url=config.base_url,
        headers=headers,
        params=params,
        basic=basic,
        secrets=tuple(filter(None, secrets)),
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
        rate_seconds=config.rate_seconds,
        policies=config.of_manifest.policies,
        ca_file=config.ca_file,
        allow_metadata_addresses=config.allow_metadata_addresses,
    )
