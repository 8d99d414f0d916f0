"""The live view of a run: a listener that draws what the events tell (rows, bytes, rate, phase, memory)."""

from __future__ import annotations

import resource
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from asgard.app.runs.drift_lines import drift_lines
from asgard.cli.output import cell_text, seconds_text, size_text
from asgard.core.events import Event, Kind

if TYPE_CHECKING:
    from rich.live import Live

MARKS = {"done": ("✓", "green"), "unchanged": ("=", "dim"), "failed": ("✗", "red"),
         "skipped": ("-", "yellow"), "cancelled": ("-", "yellow")}  # fmt: skip


class Screen:
    """Draws steps while they run, and leaves one line for each that has ended.

    On anything that is not a terminal it writes the ended steps alone.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._running: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._live = self._drawing()
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        with self._lock:
            if event.kind is Kind.STEP_STARTED:
                self._running[event.step] = {"began": time.monotonic(), "phase": "plan", **event.data}
            elif event.kind in (Kind.STEP_PROGRESS, Kind.STEP_PHASE) and event.step in self._running:
                self._running[event.step].update(event.data)
            elif event.kind is Kind.STEP_FINISHED:
                self._running.pop(event.step, None)
                self._ended(event)
            elif event.kind is Kind.RETRIED:
                what = event.data["error"]["what"]
                again = f"  again in {event.data['after_seconds']} s "
                self._told((again, "yellow"), f"{event.step}: {what}")
            elif event.kind is Kind.WARNING:
                self._told(("  warning ", "yellow"), f"{event.step}: {event.data['what']}")

    def _ended(self, event: Event) -> None:
        mark, colour = MARKS[event.data["status"]]
        self._told((f"{mark} ", colour), (event.step, "bold"), "  ", _figures(event.data))
        for told in drift_lines(event.data.get("schema_changes", {})):
            self._told((f"    {told}", "yellow"))
        for check in event.data.get("checks", []):
            if not check["passed"]:
                self._told((f"    {check['on_fail']}: {check['message']}", "yellow"))
        error = event.data.get("error")
        if error is not None:
            self._told((f"    {error['what']}", "red"))
            # Where it happened, but for the table: that is the step itself.
            where = {name: value for name, value in error["where"].items() if name != "table"}
            if where:
                self._told("    " + ", ".join(f"{name} {value}" for name, value in where.items()))
            if error["hint"]:
                self._told(f"    hint: {error['hint']}")

    def _told(self, *parts: str | tuple[str, str]) -> None:
        """Writes one line of texts, some of which have a style."""
        if self._live is None:
            click.echo("".join(part if isinstance(part, str) else part[0] for part in parts), err=True)
            return
        from rich.text import Text

        self._live.console.print(Text.assemble(*parts))

    def _drawing(self) -> Live:
        from rich.console import Console, Group  # takes as long to import as a small table to load
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        def drawn() -> Group:
            with self._lock:
                grid = Table.grid(padding=(0, 2))
                for step, state in self._running.items():
                    grid.add_row(Text("… ", style="cyan") + Text(step, style="bold"), *_progress(state))
                return Group(grid)

        console = Console(stderr=True, highlight=False)
        return Live(console=console, refresh_per_second=8, get_renderable=drawn)


def _figures(data: Any) -> str:
    parts = []
    if data["status"] == "unchanged":
        return "nothing new"
    if data["rows_read"] or data["status"] == "done":
        parts.append(f"{data['rows_read']:,} rows")
    if data.get("quarantined"):
        parts.append(f"{data['quarantined']:,} set aside")
    if data["status"] == "skipped":
        parts += data["warnings"]
    if data.get("checks"):
        good = sum(check["passed"] for check in data["checks"])
        parts.append(f"{good} of {len(data['checks'])} checks passed")
    if data["seconds"]:
        parts.append(seconds_text(data["seconds"]))
    return ", ".join(parts)


def _progress(state: dict[str, Any]) -> list[str]:
    seconds = max(time.monotonic() - state["began"], 0.001)
    rows = state.get("rows", 0)
    estimate = state.get("estimated_rows")
    of = f" of ~{cell_text(estimate)}" if estimate and estimate >= rows else ""
    return [
        str(state["phase"]),
        f"{rows:,}{of} rows",
        size_text(state.get("bytes", 0)),
        f"{rows / seconds:,.0f} rows/s",
        seconds_text(seconds),
        f"{memory_text()}",
    ]


def memory_text() -> str:
    """The memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return size_text(pages * resource.getpagesize())
    except (OSError, IndexError, ValueError):
        scale = 1 if sys.platform == "darwin" else 1024
        return size_text(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)
