"""Airbyte for Python scripts: hand an ingestion over, run it, wait for it, call it off.

    with Airbyte() as airbyte:
        airbyte.hand_over(Ingestion("orders", "postgres", {...}, "s3", {...}))
        airbyte.sync("orders")

The server is that of AIRBYTE_BASE_URL, AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET, or of the arguments.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from asgard.app.airbyte.jobs import cancel_job, job_as_dict, job_error, run_job
from asgard.app.airbyte.server import (
    Ingestion,
    check_airbyte,
    connection_as_dict,
    find_connection,
    given_settings,
    hand_over,
    open_airbyte,
)
from asgard.core.cancel import Cancel
from asgard.core.events import Emit

__all__ = ["Airbyte", "Ingestion"]


class Airbyte:
    """One server, signed in when the first thing is asked.

    Args:
        base_url, client_id, client_secret: None for those of the environment.
        cancel: ends whatever is waited for, and the job with it.
    """

    def __init__(
        self,
        base_url: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        cancel: Cancel | None = None,
    ) -> None:
        self._stack = ExitStack()
        settings = given_settings(base_url, client_id, client_secret) if base_url else None
        self._client = self._stack.enter_context(open_airbyte(cancel, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._stack.close()

    def check(self) -> dict[str, Any]:
        """The address of the API, and the workspaces that can be seen."""
        return check_airbyte(self._client)

    def hand_over(self, ingestion: Ingestion) -> dict[str, Any]:
        """Puts the ingestion's source, sink and connection in place; nothing is moved yet.

        Returns:
            The connection: `connection`, `name`, `source`, `destination`, `workspace`, `status`.
        """
        return connection_as_dict(hand_over(self._client, ingestion))

    def sync(self, name: str, *, workspace: str | None = None, emit: Emit | None = None) -> dict[str, Any]:
        """Runs a connection and waits for its end.

        Args:
            emit: hears how it goes.

        Raises:
            ConnectionError: the job failed.
            Cancelled: somebody cancelled it, here or there.
        """
        connection = find_connection(self._client, name, workspace)
        job = run_job(self._client, connection, emit or (lambda event: None))
        error = job_error(job, connection.name)
        if error is not None:
            raise error
        return job_as_dict(job)

    def cancel(self, job_id: int) -> dict[str, Any]:
        """Ends a job, and waits until it has ended."""
        return job_as_dict(cancel_job(self._client, job_id))
