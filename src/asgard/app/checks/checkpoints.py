"""Checkpoints: which suites are asked of which batches of a table, and what is done with the answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from asgard.app.checks.checks import fitted
from asgard.app.checks.expectation_store import ExpectationStores
from asgard.app.checks.report_page import Report, TableReport, page
from asgard.app.checks.suites import expectation_name, observed, stored_suite
from asgard.app.config.text_files import write_file
from asgard.app.project.workspace import Workspace
from asgard.core.check import Check, CheckResult
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.core.table import Mount
from asgard.quality.audit import AuditContext, audit
from asgard.quality.predicates import identifier, text
from asgard.quality.tables import rows_of

MOST_BATCHES = 1_000
ALERT_SECONDS = 60


class BatchRequest(Config):
    """Which rows are a batch: all, those of a value of a column, or those of a day; without `value` every one
    that there is, each by itself."""

    column: str | None = Field(default=None, min_length=1)
    by: Literal["value", "day"] = "value"
    value: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.column is None and (self.value is not None or self.by == "day"):
            raise ValueError("needs the column that batches are told apart by")
        return self

    @property
    def sql(self) -> str:
        """What batches are told apart by, as text."""
        column = identifier(self.column or "")
        return f"CAST({f'CAST({column} AS DATE)' if self.by == 'day' else column} AS VARCHAR)"


class Actions(Config):
    """What is done with the answers; they are stored in any case."""

    report: str | None = Field(default=None, description="a file, or `store` for the project's state folder")
    alert: tuple[str, ...] = Field(default=(), description="a command that is run when something failed")


class Checkpoint(Config):
    """A batch request, suites, and actions."""

    name: str
    table: str
    suites: tuple[str, ...] = Field(min_length=1)
    batch: BatchRequest = BatchRequest()
    actions: Actions = Actions()


@dataclass(frozen=True)
class Validation:
    """The answers of one suite about one batch.

    Attributes:
        batch: what the batch is; empty for the whole table.
    """

    suite: str
    batch: str
    results: tuple[CheckResult, ...]

    @property
    def success(self) -> bool:
        """Whether nothing failed but what only warns."""
        return all(one.passed or str(one.check.on_fail) == "warn" for one in self.results)


def put_checkpoint(stores: ExpectationStores, document: Mapping[str, Any]) -> Checkpoint:
    """Keeps a checkpoint.

    Raises:
        ConfigError: it is none, or one of its suites is not there.
    """
    checkpoint = _read(document)
    for suite in checkpoint.suites:
        stores.suites.get(suite)
    stores.checkpoints.put(checkpoint.name, checkpoint.model_dump(mode="json"))
    return checkpoint


def _read(document: Mapping[str, Any]) -> Checkpoint:
    try:
        return Checkpoint.model_validate({key: document[key] for key in document if key != "format"})
    except ValidationError as error:
        lines = error.errors(include_url=False)
        said = "; ".join(f"{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in lines)
        raise ConfigError(f"this is no checkpoint: {said}") from error


def run_checkpoint(
    workspace: Workspace, name: str, parameters: Mapping[str, Any] | None = None
) -> list[Validation]:
    """Asks the suites of a checkpoint of its batches, stores the answers, and does its actions.

    Args:
        parameters: of the suites, by name; what earlier validations observed is known besides.

    Raises:
        ConfigError: there is no such checkpoint, suite or table, an expectation cannot be asked, or there are
            more than 1,000 batches.
    """
    stores = ExpectationStores(workspace.project.state_folder)
    checkpoint = _read(stores.checkpoints.get(name))
    table = workspace.table(checkpoint.table)
    mount, now = table.mount(), datetime.now(UTC)
    known = {**observed(stores), **(parameters or {})}
    validations: list[Validation] = []
    for suite_name in checkpoint.suites:
        suite = stored_suite(stores, suite_name, known)
        if suite.refused:
            raise ConfigError("\n".join(suite.refused), where={"suite": suite_name})
        checks = fitted(table, suite.checks)
        context = AuditContext(Mode.REPLACE, mount.rows, now, workspace.mount, table.name)
        for batch, where in _batches(workspace, mount, checkpoint.batch):
            with workspace.open_engine(workspace.budget.engine_bytes) as engine:
                asked = [_only(check, where) for check in checks]
                results = audit(engine, asked, mount, table.mount, context).results
            validation = Validation(suite_name, batch, results)
            kinds = {check.name: expectation_name(suite, check.name) for check in suite.checks}
            document = _document(checkpoint, validation, now, kinds)
            stores.validations.put(f"{now:%Y%m%dT%H%M%S%f}-{len(validations):04d}", document)
            validations.append(validation)
    _act(workspace, stores, checkpoint, validations, now)
    return validations


def _batches(workspace: Workspace, mount: Mount, request: BatchRequest) -> Iterator[tuple[str, str]]:
    """Each batch's name, and the condition of its rows."""
    if request.column is None:
        yield "", ""
        return
    if request.value is not None:
        yield f"{request.column} = {request.value}", f"{request.sql} = {text(request.value)}"
        return
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        engine.attach("batched", mount)
        grouped = f"SELECT {request.sql} AS v FROM batched GROUP BY ALL ORDER BY v LIMIT {MOST_BATCHES + 1}"
        values = [row["v"] for row in rows_of(engine, grouped)]
    if len(values) > MOST_BATCHES:
        what = f"{request.column} makes more than {MOST_BATCHES:,} batches"
        raise ConfigError(what, hint="choose another column, by: day, or one value")
    for value in values:
        missing = f"{identifier(request.column)} IS NULL"
        condition = missing if value is None else f"{request.sql} = {text(value)}"
        yield f"{request.column} = {'(missing)' if value is None else value}", condition


def _only(check: Check, where: str) -> Check:
    if not where:
        return check
    own = check.options.get("where")
    both = where if own is None else f"({where}) AND (\n{own}\n)"
    return replace(check, options={**check.options, "where": both})


def _document(
    checkpoint: Checkpoint, validation: Validation, now: datetime, kinds: Mapping[str, str | None]
) -> dict[str, Any]:
    passed = sum(result.passed for result in validation.results)
    count = len(validation.results)
    results = [
        {**result.as_dict(), **({"expectation": kind} if (kind := kinds.get(result.check.name)) else {})}
        for result in validation.results
    ]
    return {
        "checkpoint": checkpoint.name,
        "table": checkpoint.table,
        "suite": validation.suite,
        "batch": validation.batch,
        "at": now.isoformat(),
        "success": validation.success,
        "statistics": {"evaluated": count, "successful": passed, "unsuccessful": count - passed},
        "results": results,
    }


def _act(
    workspace: Workspace,
    stores: ExpectationStores,
    checkpoint: Checkpoint,
    validations: Sequence[Validation],
    now: datetime,
) -> None:
    if checkpoint.actions.report:
        stored = stores.reports_folder / f"{checkpoint.name}-{now:%Y%m%dT%H%M%S%f}.html"
        named = workspace.project.folder / checkpoint.actions.report
        tables = tuple(
            TableReport(f"{checkpoint.table}, {one.suite}" + (f", {one.batch}" if one.batch else ""), None,
                        one.results)
            for one in validations
        )  # fmt: skip
        report = Report(f"{workspace.project.name}: {checkpoint.name}", now, tables)
        write_file(stored if checkpoint.actions.report == "store" else named, page(report), replace=True)
    failed = [one for one in validations if not one.success]
    if checkpoint.actions.alert and failed:
        _alert(workspace.project.folder, checkpoint, failed)


def _alert(folder: Path, checkpoint: Checkpoint, failed: Sequence[Validation]) -> None:
    """Runs the command of people's own, with what failed as JSON on its standard input."""
    told = {
        "checkpoint": checkpoint.name,
        "table": checkpoint.table,
        "failed": [
            {"suite": one.suite, "batch": one.batch, "check": result.check.name, "message": result.message}
            for one in failed
            for result in one.results
            if not result.passed
        ],
    }
    try:
        subprocess.run(
            checkpoint.actions.alert,
            input=json.dumps(told),
            text=True,
            check=True,
            cwd=folder,
            timeout=ALERT_SECONDS,
            stdout=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"the alert of {checkpoint.name} could not be told: {error}",
            hint="the answers are stored; try the command by hand",
        ) from error
