"""Before anything reads a request: how much of a body is taken, and what every answer says to browsers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgard.api.problems import problem
from asgard.core.errors import ConfigError

MOST_BODY_BYTES = 16 << 20
"""An ingestion of 10,000 tables has 2 MB. What is posted is held in memory several times while it is read."""


MOST_NESTED = 50
"""What is deeper than that is no config of anything, and would exhaust whoever walks it."""


def shallow(value: Any) -> Any:
    """The value, if it is nested no deeper than it can be walked.

    Raises:
        ValueError: it is.
    """
    level = [value]
    for _ in range(MOST_NESTED):
        level = [child for one in level for child in _children(one)]
        if not level:
            return value
    raise ValueError(f"is nested deeper than {MOST_NESTED}")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


Options = Annotated[dict[str, Any], AfterValidator(shallow)]
"""The options of a connector as they are posted."""


class Bodies:
    """Answers 413 to a body that is larger than anything that can be meant, before it is held (Promise 5)."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BODY_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def careful_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self._most_bytes:
            await self._refuse(scope, receive, careful_send)
            return
        body: list[bytes] = []
        size = 0
        more = scope["method"] not in ("GET", "HEAD")
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # whoever asked has gone
            body.append(message.get("body", b""))
            size += len(body[-1])
            if size > self._most_bytes:
                await self._refuse(scope, receive, careful_send)
                return
            more = message.get("more_body", False)
        whole: list[Message] = []
        if scope["method"] not in ("GET", "HEAD"):
            whole.append({"type": "http.request", "body": b"".join(body), "more_body": False})

        async def read_before() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, read_before, careful_send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = ConfigError(
            f"the body has more than {self._most_bytes:,} bytes", hint="post it in several requests"
        )
        # The rest is not read: the connection cannot be used for another request.
        await problem(413, error, {"Connection": "close"})(scope, receive, send)
