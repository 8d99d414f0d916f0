"""Whoever calls the API in a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

PROBLEM_KEYS = {"type", "title", "status", "detail", "error", "what", "hint", "where"}


@dataclass(frozen=True)
class Caller:
    """A client, the folder of the project, and somebody who does the jobs that wait."""

    client: TestClient
    folder: Path
    done: Callable[[], None]

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer of a good GET."""
        return good(self.client.get(path, params=parameters))

    def post(self, path: str, **body: Any) -> Any:
        """The answer of a good POST."""
        return good(self.client.post(path, json=body))

    def refused(self, method: str, path: str, status: int, **body: Any) -> dict[str, Any]:
        """The problem that a call is answered with."""
        return problem(self.client.request(method, path, json=body or None), status)

    def sink(self, path: str = "lake", name: str = "Bronze Layer Sink") -> str:
        """The id of a new local sink."""
        body = {"destination_type": "local", "destination_config": {"path": path}, "name": name}
        return str(self.post("/sink", **body)["id"])

    def datasource(self, name: str = "My Files", **config: Any) -> str:
        """The id of a new source of files."""
        body = {"source_type": "files", "source_config": config or {"path": "files"}, "name": name}
        return str(self.post("/datasource", **body)["id"])

    def ingested(self, source: str, sink: str, **more: Any) -> dict[str, Any]:
        """An ingestion that has ended."""
        begun = self.post(
            "/ingestion", source_id=source, destination_id=sink, connection_name="to bronze", **more
        )
        self.done()
        found: dict[str, Any] = self.get(f"/ingestion/{begun['id']}")
        return found

    def rows(self, table: str, sink: str) -> list[dict[str, Any]]:
        """The rows of a sink's table, without metadata."""
        found = self.get(f"/tables/{table}/preview", destination_id=sink, limit=1000)["rows"]
        hidden = ("extracted_at", "_asgard_run_id")
        return [{key: value for key, value in row.items() if key not in hidden} for row in found]


def good(response: Response) -> Any:
    assert 200 <= response.status_code < 300, response.text
    return response.json()


def problem(response: Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == PROBLEM_KEYS
    assert body["what"]
    return body
