"""A server that is told to end: what runs is handed back, and done once by the next one."""

from __future__ import annotations

import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_served import SERVE, Server, serving, until
from tests.servers.api import Api, Asked, Reply

ROWS = [{"id": number} for number in range(10)]


class Slow(Api):
    """Answers once it is let; counts who has asked."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        self.let.wait(60)
        return Reply(200, ROWS)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    """A project whose one source does not answer yet."""
    with Slow() as api:
        source = {"type": "rest", "base_url": api.url, "endpoints": [{"name": "orders", "path": "/orders",
                  "mode": "append"}]}  # fmt: skip
        (tmp_path / "asgard.yml").write_text(json.dumps({"version": 1, "data_sources": {"shop": source}}))
        yield api
        api.let.set()


def test_a_run_is_handed_back_and_done_once(slow: Slow, tmp_path: Path) -> None:
    server = Server(tmp_path, SERVE)
    try:
        job = server("/runs", {"selectors": ["shop"]})["job"]
        waiting = server("/runs", {"selectors": ["shop"]})["job"]
        until(lambda: slow.asked)
        run = until(lambda: server(f"/jobs/{job}").get("run"))
        stream = urllib.request.urlopen(f"{server.url}/runs/{run}/events", timeout=60)
        assert stream.readline().startswith(b"id: 1")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) in (0, -signal.SIGTERM)
        assert b"Traceback" not in server.log.read_bytes()
        # Ended, not cut off: the last chunk came, and a browser asks the next server for the rest.
        assert stream.read().count(b"id: ") >= 1
        stream.close()
    finally:
        server.process.kill()
        server.process.wait()
    slow.let.set()
    with serving(tmp_path, SERVE) as again:
        for one in (job, waiting):
            until(lambda one=one: again(f"/jobs/{one}")["status"] == "done")
        assert again(f"/jobs/{job}")["attempt"] == 2
        assert again(f"/jobs/{waiting}")["attempt"] <= 2
        # Appended by each of the two jobs once, whatever was begun before.
        assert again("/tables/bronze.shop.orders")["rows"] == 2 * len(ROWS)
