"""What checks measured at each load of a table, in the project's state: a listener writes it, checks read it.

One file a table, one load a line: which checks passed, how many rows failed, which figures were seen, and
whether the load was committed. Losing it loses history, not data.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asgard.core.events import Event, Kind

FORMAT = 1
MOST_LOADS = 2_000
"""Loads of a table that are kept; when twice as many are there, the older half is forgotten."""
LONGEST_NAME = 120


class Measurements:
    """The measurements of a project.

    As a listener, it writes a load's measurements when it is known what became of it. It never stops a run:
    what cannot be written is not known later.

    Args:
        folder: where the files lie; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], list[Mapping[str, Any]]] = {}

    def __call__(self, event: Event) -> None:
        """Takes note of an event."""
        key = (event.run, event.step)
        with self._lock:
            if event.kind is Kind.CHECKED:
                self._pending[key] = event.data.get("results", [])
            elif event.kind in (Kind.STEP_COMMITTED, Kind.STEP_FINISHED) and key in self._pending:
                committed = event.kind is Kind.STEP_COMMITTED
                with suppress(OSError):
                    self._write(event, self._pending.pop(key), committed=committed)

    def _write(self, event: Event, results: list[Mapping[str, Any]], *, committed: bool) -> None:
        kept = ("check", "kind", "passed", "severity", "on_fail", "rows", "failed_rows", "observed")
        line: dict[str, Any] = {
            "format": FORMAT,
            "at": event.at.isoformat(timespec="milliseconds"),
            "run": event.run,
            "committed": committed,
            "results": [{name: one[name] for name in kept if name in one} for one in results],
        }
        for name in ("rows_added", "quarantined", "version"):
            if committed and name in event.data:
                line[name] = event.data[name]
        path = self._file(event.step)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) >= 2 * MOST_LOADS:
            beside = path.with_suffix(f".{os.getpid()}.new")
            beside.write_text("".join(lines[-MOST_LOADS:]), encoding="utf-8")
            beside.replace(path)

    def _file(self, table: str) -> Path:
        short = quote(table, safe="")[:LONGEST_NAME]
        return self._folder / f"{short}-{hashlib.sha256(table.encode()).hexdigest()[:12]}.jsonl"

    def loads(self, table: str) -> Iterator[dict[str, Any]]:
        """The measured loads of a table, the oldest first; lines of a newer version are left out."""
        try:
            stream = self._file(table).open(encoding="utf-8")
        except FileNotFoundError:
            return
        with stream:
            for line in stream:
                with suppress(ValueError):  # the last line of a process that was killed
                    load = json.loads(line)
                    if load.get("format") == FORMAT:
                        yield load

    def past(self, table: str, check: str) -> list[tuple[datetime, float]]:
        """What a check measured at committed loads, the oldest first."""
        found = []
        for load in self.loads(table):
            for result in load["results"] if load["committed"] else ():
                value = result.get("observed") if result["check"] == check else None
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found.append((datetime.fromisoformat(load["at"]), float(value)))
        return found


def open_measurements(state_folder: Path) -> Measurements:
    """Those of a project."""
    return Measurements(state_folder / "measurements")
