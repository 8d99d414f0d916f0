"""The wish for a report: what is known of tables and their checks, gathered and written as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from asgard.app.checks.checks import all_checks, answers, fitted
from asgard.app.checks.measurements import open_measurements
from asgard.app.checks.report_page import Report, Rows, TableReport, page
from asgard.app.config.text_files import write_file
from asgard.app.project.workspace import Workspace
from asgard.app.tables.rows import text_rows
from asgard.core.check import Check, CheckResult
from asgard.core.stream import Mode
from asgard.core.table import Mount, Table
from asgard.quality.audit import AuditContext
from asgard.quality.quarantine import REASON
from asgard.quality.samples import failing_rows

MOST_LOADS = 60
MOST_RUNS = 30
SHOWN_ROWS = 5


@dataclass(frozen=True)
class Written:
    """A report that was written, and how many checks passed and failed."""

    file: Path
    passed: int
    failed: int


def write_report(
    workspace: Workspace, names: Sequence[str], file: Path | None = None, shown_rows: int = SHOWN_ROWS
) -> Written:
    """Writes the report about tables as they are now.

    Args:
        names: tables; all that have checks when empty.
        file: where to; by default a file of its instant in the project's state folder.
        shown_rows: rows that are shown of each failed check; 0 shows none, nor any of the quarantine.

    Raises:
        ConfigError: there is no table of a name, or a check does not fit its table.
        Refused: the file cannot be written.
    """
    report = gathered(workspace, names, shown_rows)
    if file is None:
        file = workspace.project.state_folder / "reports" / f"{report.made_at:%Y%m%dT%H%M%S%f}.html"
    write_file(file, page(report), replace=True)
    return Written(file, report.passed, report.failed)


def gathered(workspace: Workspace, names: Sequence[str], shown_rows: int = SHOWN_ROWS) -> Report:
    """What a report says, asked now."""
    chosen = {workspace.table(name).name for name in names}
    tables = []
    for name, checks in all_checks(workspace):
        table = workspace.lake.table(name)
        if (not chosen or name in chosen) and checks and table.exists():
            tables.append(_of_table(workspace, table, checks, shown_rows))
    runs = tuple(workspace.journal.runs(MOST_RUNS))
    return Report(workspace.project.name, datetime.now(UTC), tuple(tables), runs)


def _of_table(workspace: Workspace, table: Table, checks: Sequence[Check], shown_rows: int) -> TableReport:
    results = answers(workspace, table.name, checks)
    loads = list(open_measurements(workspace.project.state_folder).loads(str(table.name)))
    aside = table.quarantined()
    return TableReport(
        str(table.name),
        table.mount().rows,
        results,
        dict(_samples(workspace, table, results, shown_rows)) if shown_rows else {},
        tuple(loads[-MOST_LOADS:]),
        None if aside is None else _count(workspace, aside),
        _quarantined(workspace, aside, shown_rows) if aside is not None and shown_rows else None,
    )


def _samples(
    workspace: Workspace, table: Table, results: Sequence[CheckResult], shown_rows: int
) -> Iterator[tuple[str, Rows]]:
    mount = table.mount()
    context = AuditContext(Mode.REPLACE, None, datetime.now(UTC), workspace.mount, table.name)
    for result in results:
        there = {name.casefold() for name in mount.schema.names}
        (check,) = fitted(table, [result.check])
        if result.passed or not {name.casefold() for name in check.columns} <= there:
            continue
        with (
            workspace.open_engine(workspace.budget.engine_bytes) as engine,
            failing_rows(engine, check, mount, context, shown_rows) as found,
        ):
            if found is not None:
                yield result.check.name, _rows(found, f"; {shown_rows} at most are shown")


def _count(workspace: Workspace, aside: Mount) -> int:
    if aside.rows is not None:
        return aside.rows
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        engine.attach("quarantine", aside)
        with engine.query("SELECT count(*) AS n FROM quarantine") as found:
            return int(found.read_all().column("n")[0].as_py())


def _quarantined(workspace: Workspace, aside: Mount, shown_rows: int) -> Rows:
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        engine.attach("quarantine", aside)
        first = f"SELECT {REASON}, * EXCLUDE ({REASON}) FROM quarantine LIMIT {int(shown_rows)}"
        with engine.query(first) as found:
            return _rows(found, f"; {shown_rows} at most are shown")


def _rows(reader: pa.RecordBatchReader, note: str) -> Rows:
    names = ["reason" if name == REASON else name for name in reader.schema.names]
    rows = tuple(tuple(row) for row in text_rows(reader))
    return Rows(tuple(names), rows, note)
