"""One API, asked by hand: `APIConnector("https://api.example.com", "bearer", token=...).fetch("orders")`.

For scripts and notebooks. A table of an API, with paging, types and increments, is the connector `rest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asgard.app.frames.listening import LOGGER
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.secret import STARS
from asgard.transport import json_text
from asgard.transport.http import HttpClient, HttpSettings, Request

TIMEOUT_SECONDS = 30.0
NEEDED = {"none": (), "bearer": ("token",), "api_key": ("key",), "basic": ("username", "password")}
OPTIONAL = {"key_header"}


class APIConnector:
    """Asks an API, and gives back what it answers as a list.

    Args:
        endpoint: what every path begins with.
        auth_type: none, bearer, api_key or basic.
        auth_params: token of bearer; key of api_key, and key_header (X-API-Key); username and password of
            basic. They go to that one host, and into no error.

    Raises:
        ConfigError: there is no such auth_type, or what it needs is not given.

    >>> APIConnector("https://api.example.com", "api_key", key="k", key_header="X-Key").get_headers()["X-Key"]
    'k'
    """

    def __init__(self, endpoint: str, auth_type: str = "none", **auth_params: Any) -> None:
        if auth_type not in NEEDED:
            raise ConfigError(f"there is no auth_type {auth_type!r}", hint=f"there are: {', '.join(NEEDED)}")
        needed = NEEDED[auth_type]
        if missing := [name for name in needed if not auth_params.get(name)]:
            raise ConfigError(f"auth_type {auth_type} needs {' and '.join(missing)}")
        known = {*needed, *(OPTIONAL if auth_type == "api_key" else ())}
        if strange := sorted(auth_params.keys() - known):
            raise ConfigError(
                f"auth_type {auth_type} takes no {', '.join(strange)}",
                hint=f"it takes {', '.join(sorted(known)) or 'nothing'}",
            )
        self.endpoint = endpoint
        self.auth_type = auth_type
        self._auth = auth_params
        basic = (auth_params["username"], auth_params["password"]) if auth_type == "basic" else None
        secrets = (auth_params.get("token"), auth_params.get("key"), auth_params.get("password"))
        self._client = HttpClient(
            HttpSettings(
                base_url=endpoint,
                headers={name: value for name, value in self.get_headers().items() if name != "Content-Type"},
                basic=basic,
                secrets=tuple(str(secret) for secret in secrets if secret),
                timeout_seconds=TIMEOUT_SECONDS,
            ),
            Cancel(),
        )

    def get_headers(self) -> dict[str, str]:
        """The headers of a request; basic credentials are put in when it is sent."""
        headers = {"Content-Type": "application/json"}
        if self.auth_type == "bearer":
            headers["Authorization"] = f"Bearer {self._auth['token']}"
        elif self.auth_type == "api_key":
            headers[self._auth.get("key_header", "X-API-Key")] = self._auth["key"]
        return headers

    def fetch(self, path: str, params: Mapping[str, Any] | None = None, method: str = "GET") -> list[Any]:
        """What the API answers to one request; an object is a list of one, no content is an empty list.

        Args:
            params: query parameters of a GET; of a POST they are its body, as JSON.

        Raises:
            AuthenticationError, Refused, QueryError: 401, 403, other 4xx.
            Unreachable: no answer within 30 s, or 429 and 5xx after several attempts.
            DataError: the answer is no JSON.
            ConfigError: the method is neither GET nor POST.
        """
        method = method.upper()
        if method not in ("GET", "POST"):
            raise ConfigError(f"the method is {method!r}", hint="it is GET or POST")
        given = dict(params or {})
        posted = method == "POST"
        answer = self._client.send(
            Request(path, method, {} if posted else given, given if posted and params is not None else None)
        )
        LOGGER.info("%s: %d bytes", answer.url, len(answer.content))
        if not answer.content.strip():
            return []
        document = json_text.parse(answer.content, answer.url)
        return document if isinstance(document, list) else [document]

    def batch_fetch(self, path: str, batch_params: Iterable[Mapping[str, Any]]) -> list[Any]:
        """The answers to one GET for each entry of parameters, one behind the other."""
        found: list[Any] = []
        for params in batch_params:
            found += self.fetch(path, params)
        return found

    def close(self) -> None:
        """Gives the connections back."""
        self._client.close()

    def __repr__(self) -> str:
        given = "".join(f", {name}={STARS!r}" for name in self._auth)
        return f"APIConnector({self.endpoint!r}, {self.auth_type!r}{given})"
