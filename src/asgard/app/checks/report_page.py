"""The page of a report: one file of HTML with everything in it, for light and dark screens.

Reference: https://www.w3.org/TR/WCAG22/ (contrast, table headers, text beside colour)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import Any

from asgard.app.checks.report_html import Markup, badge, bar_chart, element, joined, line_chart, table
from asgard.app.runs.drift_lines import drift_lines
from asgard.core.check import CheckResult, OnFail

MOST_COLUMNS = 12
"""Columns of rows that are shown."""


ORDER = ("bad", "warn", "good")
"""What people look for comes first."""


@dataclass(frozen=True)
class Rows:
    """A few rows, to be shown.

    Attributes:
        columns: their names.
        rows: values as text; None is missing.
        note: what is to be known of them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class TableReport:
    """What is reported of a table.

    Attributes:
        results: the answers of its checks now.
        samples: rows that failed, by the check's name.
        loads: measured loads, the oldest first; see `app.checks.measurements`.
        set_aside: how many rows lie in quarantine, and some of them.
    """

    name: str
    rows: int | None
    results: tuple[CheckResult, ...]
    samples: Mapping[str, Rows] = field(default_factory=dict)
    loads: tuple[Mapping[str, Any], ...] = ()
    set_aside: int | None = None
    quarantine: Rows | None = None


@dataclass(frozen=True)
class Report:
    """Everything that the page says."""

    project: str
    made_at: datetime
    tables: tuple[TableReport, ...]
    runs: tuple[Mapping[str, Any], ...] = ()

    @property
    def failed(self) -> int:
        """Checks that failed, without those that only warn."""
        return sum(_state(one)[1] == "bad" for one in self._results())

    @property
    def passed(self) -> int:
        """Checks that passed."""
        return sum(one.passed for one in self._results())

    @property
    def warned(self) -> int:
        """Checks that failed, and only warn."""
        return len(self._results()) - self.passed - self.failed

    def _results(self) -> list[CheckResult]:
        return [result for table in self.tables for result in table.results]


def _state(result: CheckResult) -> tuple[str, str]:
    if result.passed:
        return "✓ passed", "good"
    return ("! warning", "warn") if result.check.on_fail is OnFail.WARN else ("✗ failed", "bad")


def page(report: Report) -> str:
    """The HTML of a report."""
    style = files("asgard.app.checks").joinpath("report_pages", "report.css").read_text(encoding="utf-8")
    title = f"Checks of {report.project}"
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        # Nothing is fetched from anywhere, whatever a value may hold.
        Markup(
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">"
        ),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    tables = [_table(one, f"table-{place}") for place, one in enumerate(report.tables)]
    body = element(
        "body",
        _heading(report, title),
        element("main", _overview(report), *tables, _drift(report.runs), _runs(report.runs)),
        element("footer", "Written by Asgard; this file needs nothing but itself."),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _heading(report: Report, title: str) -> Markup:
    made = f"{report.made_at:%Y-%m-%d %H:%M:%S} UTC"
    cards = [("tables", len(report.tables), ""), ("checks passed", report.passed, "good"),
             ("checks failed", report.failed, "bad" if report.failed else ""),
             ("warnings", report.warned, "warn" if report.warned else ""),
             ("rows set aside", sum(one.set_aside or 0 for one in report.tables), "")]  # fmt: skip
    listed = [
        element("li", element("b", f"{count:,}", class_=kind or None), name) for name, count, kind in cards
    ]
    return element(
        "header",
        element("h1", title),
        element("p", f"As the tables were at {made}.", class_="soft"),
        element("ul", *listed, class_="cards"),
        class_="page",
    )


def _overview(report: Report) -> Markup:
    rows = []
    for place, one in enumerate(report.tables):
        kinds = [_state(result)[1] for result in one.results]
        failed, warned = kinds.count("bad"), kinds.count("warn")
        state = badge("✓ good", "good")
        if failed:
            state = badge(f"✗ {failed} failed", "bad")
        elif warned:
            state = badge(f"! {warned} warned", "warn")
        link = element("a", one.name, href=f"#table-{place}")
        rows.append([state, link, one.rows, len(one.results), one.set_aside])
    columns = [
        ("state", ""),
        ("table", "name"),
        ("rows", "number"),
        ("checks", "number"),
        ("set aside", "number"),
    ]
    return element("section", element("header", element("h2", "Tables")), table("All tables", columns, rows))


def _table(one: TableReport, anchor: str) -> Markup:
    return element(
        "section",
        element("header", element("h2", one.name), element("span", _size(one), class_="soft")),
        _checks(one),
        *(_sample(result, one.samples[result.check.name])
          for result in one.results if result.check.name in one.samples),
        _loads(one),
        _quarantine(one),
        id=anchor,
    )  # fmt: skip


def _size(one: TableReport) -> str:
    return "rows are not counted" if one.rows is None else f"{one.rows:,} rows"


def _checks(one: TableReport) -> Markup:
    rows = []
    for result in sorted(one.results, key=lambda result: ORDER.index(_state(result)[1])):
        text, kind = _state(result)
        trend = line_chart(_history(one, result.check.name), f"{result.check.name} over the last loads")
        severity, what = result.check.severity, str(result.check.on_fail)
        rows.append([badge(text, kind), result.check.name, result.message, severity, what, trend])
    columns = [("state", ""), ("check", "name"), ("result", "name"), ("severity", ""), ("on failure", ""),
               ("over loads", "")]  # fmt: skip
    return joined([element("h3", "Checks"), table(f"Checks of {one.name}", columns, rows)])


def _history(one: TableReport, check: str) -> list[float | None]:
    """A figure of each load: what was observed, else how many rows failed."""
    values: list[float | None] = []
    for load in one.loads:
        found: Mapping[str, Any] = next((one for one in load["results"] if one["check"] == check), {})
        value = found.get("observed", found.get("failed_rows"))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        values.append(float(str(value)) if number else None)
    return values


def _sample(result: CheckResult, rows: Rows) -> Markup:
    title = f"Rows that fail {result.check.name}{rows.note}"
    shown = table(title, *_shown(rows))
    return element("details", element("summary", title), shown, open="")


def _shown(rows: Rows) -> tuple[list[tuple[str, str]], list[tuple[str | None, ...]]]:
    columns = [(name, "cell") for name in rows.columns[:MOST_COLUMNS]]
    return columns, [row[:MOST_COLUMNS] for row in rows.rows]


def _loads(one: TableReport) -> Markup:
    if not one.loads:
        return element("p", "No load has been measured yet.", class_="soft")
    bars = []
    rows = []
    for load in one.loads:
        failed = sum(not result["passed"] for result in load["results"])
        added, at = load.get("rows_added"), str(load["at"])[:19].replace("T", " ")
        state = "committed" if load["committed"] else "stopped"
        said = f"{at}: {state}" + ("" if added is None else f", {added:,} rows")
        bars.append((float(added or 0), not load["committed"], said))
        state_badge = badge(f"✓ {state}", "good") if load["committed"] else badge(f"✗ {state}", "bad")
        rows.append([at, state_badge, added, load.get("quarantined"), failed, load["run"]])
    columns = [("at (UTC)", ""), ("load", ""), ("rows added", "number"), ("set aside", "number"),
               ("checks failed", "number"), ("run", "cell")]  # fmt: skip
    listed = table(f"Loads of {one.name}, the newest first", columns, rows[::-1])
    chart = bar_chart(bars, f"Rows added by each of the last {len(bars)} loads of {one.name}")
    return joined(
        [
            element("h3", f"The last {len(bars)} loads: rows added"),
            chart,
            element("details", element("summary", "All of these loads"), listed),
        ]
    )


def _quarantine(one: TableReport) -> Markup:
    if not one.set_aside or one.quarantine is None:
        return Markup("")
    title, caption = f"Set aside: {one.set_aside:,} rows{one.quarantine.note}", f"Quarantine of {one.name}"
    return joined([element("h3", title), table(caption, *_shown(one.quarantine))])


def _drift(runs: Sequence[Mapping[str, Any]]) -> Markup:
    """What the last runs told about columns; nothing where none changed."""
    rows = []
    for run in runs:
        started = str(run["started_at"])[:19].replace("T", " ")
        for step in run.get("steps", ()):
            rows += [[started, step["step"], line] for line in drift_lines(step.get("schema_changes", {}))]
    if not rows:
        return Markup("")
    columns = [("run (UTC)", ""), ("table", "name"), ("what", "name")]
    heading = element("header", element("h2", "What changed about columns"))
    return element("section", heading, table("Drift in the last runs, the newest first", columns, rows))


def _runs(runs: Sequence[Mapping[str, Any]]) -> Markup:
    if not runs:
        return Markup("")
    kinds = {"done": "good", "failed": "bad", "lost": "bad", "cancelled": "warn"}
    rows = []
    for run in runs:
        status = str(run["status"])
        mark = {"done": "✓", "failed": "✗"}.get(status, "!")
        started = str(run["started_at"])[:19].replace("T", " ")
        steps = run.get("steps", ())
        errors = [step["error"]["what"] for step in steps if step.get("error")]
        read = sum(step.get("rows_read") or 0 for step in steps) if steps else None
        of = run["selector"] or "everything"
        state = badge(f"{mark} {status}", kinds.get(status, "warn"))
        rows.append([started, state, read, run.get("seconds"), of, "; ".join(errors) or "–"])
    columns = [("started (UTC)", ""), ("run", ""), ("rows read", "number"), ("seconds", "number"),
               ("of", "name"), ("error", "name")]  # fmt: skip
    heading = element("header", element("h2", "History of runs"))
    return element("section", heading, table("The last runs, the newest first", columns, rows))
