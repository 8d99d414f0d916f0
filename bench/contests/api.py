"""JSON records of an API to the lake: 1,000 pages of 100, beside a bare client and dlt.

Asgard runs a real project to a committed Delta table, its types proved over every record. The bare client
fetches and forgets; by hand is what a script would do; dlt writes Parquet.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.carriers import counted
from bench.contest import Bar, Contender, Contest
from bench.environments import QUIET, REPOSITORY, asgard, environment
from bench.measure import Command
from bench.setting import Setting

SERVER = REPOSITORY / "bench" / "workers" / "api_server.py"
BARE = "bare client"
PAGE_ROWS = 100
MOST_CPU_SECONDS = 1.6


def contests(setting: Setting) -> Iterator[Contest]:
    """One contest."""
    pages = setting.sized(1000, 100)
    rows = pages * PAGE_ROWS
    folder = setting.folder / "api"
    with _server(pages) as (url, pid):
        hand = environment("httpx")
        bare, parquet = (folder / "bare_client" / "out", folder / "by_hand" / "out")
        contenders = [
            _peer(folder, BARE, "httpx: every page fetched, nothing done with it", hand.failure,
                  hand.script("httpx_parquet", "bare", url, bare), 0),
            _peer(folder, "by hand", "httpx, orjson, pyarrow to Parquet; types by the first records",
                  hand.failure, hand.script("httpx_parquet", "parquet", url, parquet), rows),
            _asgard(folder / "asgard", url, rows),
            _dlt(folder, url, rows),
        ]  # fmt: skip
        bars = [
            Bar("asgard", "client_cpu_seconds", MOST_CPU_SECONDS),
            Bar("asgard", "client_cpu_seconds", 1.0, "dlt rest_api"),
        ]
        title = f"An API to the lake: {rows:,} JSON records in pages of {PAGE_ROWS}"
        yield Contest("api", title, contenders, bars, rows, BARE, server_pid=pid)


def _peer(folder: Path, name: str, note: str, failure: str, argv: tuple[str, ...], rows: int) -> Contender:
    place = folder / name.replace(" ", "_")
    if failure:
        return Contender(name, note, failure=failure)
    return Contender(
        name,
        note,
        Command(argv, place, QUIET),
        before=lambda: (place / "out").mkdir(parents=True, exist_ok=True),
        judge=(lambda _: counted(place / "out", rows)) if rows else None,
    )


def _dlt(folder: Path, url: str, rows: int) -> Contender:
    env = environment("dlt")
    place = folder / "dlt_rest_api"
    argv = env.script("dlt_rest_api", url, place / "out", place / "scratch")
    return _peer(
        folder, "dlt rest_api", "dlt rest_api to Parquet, nested values as JSON", env.failure, argv, rows
    )


def _asgard(folder: Path, url: str, rows: int) -> Contender:
    base, _, path = url.rpartition("/")
    endpoint = {"name": path, "pagination": {"type": "cursor", "path": "next", "param": "page"}}
    document = {
        "lake": {"location": str(folder / "out")},
        "data_sources": {"api": {"type": "rest", "base_url": base, "endpoints": [endpoint]}},
    }

    def write_project() -> None:
        (folder / "asgard.yml").write_text(json.dumps(document))

    note = "asgard run, types proved over all records, committed Delta, default settings"
    command = Command((asgard(), "run"), folder)
    return Contender("asgard", note, command, write_project, lambda _: counted(folder / "out", rows))


@contextmanager
def _server(pages: int) -> Iterator[tuple[str, int]]:
    """The API's URL, and its process."""
    server = subprocess.Popen([sys.executable, str(SERVER), str(pages)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/items", server.pid
    finally:
        server.kill()
        server.wait()
