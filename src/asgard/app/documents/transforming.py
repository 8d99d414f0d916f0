"""The work of a transform, in the process of its job: names to tables, the SELECT, its rows into silver.

The ids of the last runs that wrote a table are its position. So a run that is tried again, because its worker
was killed after the commit, finds itself there and appends nothing twice (Promise 1).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asgard.app.config.project import Project
from asgard.app.documents.sinks import lake_of
from asgard.app.documents.transform_tables import tables_read
from asgard.app.models.engines import spark_of
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog
from asgard.app.spark.cluster import SPARK
from asgard.app.spark.transforms import kubernetes_work
from asgard.core.cancel import Cancel
from asgard.core.engine import Engine
from asgard.core.events import Emit, Kind
from asgard.core.names import LAYERS, fold
from asgard.core.stream import Mode
from asgard.core.table import Mount, Table, TableName
from asgard.flow.building import STREAM, Building, build
from asgard.flow.outcome import Outcome, Status
from asgard.flow.run import Step, Summary, run_steps
from asgard.flow.setting import Setting
from asgard.flow.terms import Terms
from asgard.observe.event_log import to_all

REMEMBERED_RUNS = 100


@dataclass(frozen=True)
class _Once(Building):
    """A building whose position is the runs that wrote the table."""

    runs: tuple[str, ...] = ()
    plain: Mapping[TableName | str, Mount] | None = None

    @property
    def token(self) -> str:
        return json.dumps({"format": 1, "runs": self.runs})

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        for name, mount in (self.plain or {}).items():
            engine.attach(name, mount)


def transform_task(
    project: Project, task: Mapping[str, Any], run_id: str, emit: Emit, cancel: Cancel | None
) -> Summary:
    """Runs a transform; called by the process of its job.

    Raises:
        ConfigError: its sink was taken away.
    """
    asked = task["asked"]
    workspace = Workspace(replace(project, sources={}, lake=lake_of(project, asked["sink"]), files=None))
    log = RunLog(project, run_id)
    setting = Setting(
        run=run_id,
        budget=workspace.budget,
        cancel=cancel or Cancel(),
        emit=to_all([emit, log]),
        open_engine=workspace.open_engine,
        resolve=workspace.mount,
    )
    name = TableName("silver", "", asked["table"])

    def work(setting: Setting) -> Outcome:
        do = kubernetes_work if "spark" in asked else _transform
        return do(workspace, task, name, setting)

    try:
        step = Step(str(name), work, about={"mode": asked["write_mode"]})
        return run_steps([step], setting, workspace.journal, f"transform {task['of']}", str(project.file))
    finally:
        log.close()


def _transform(workspace: Workspace, task: Mapping[str, Any], name: TableName, setting: Setting) -> Outcome:
    asked = task["asked"]
    table = workspace.lake.table(name)
    written = _runs(table)
    if task["of"] in written:
        return Outcome(setting.step, Status.UNCHANGED)
    tables = tables_read(workspace, asked["sql"])
    plain = {
        _as_written(parts): workspace.mount(found)
        for parts, found in tables.items()
        if fold(parts[0]) not in LAYERS or len(parts) == 1
    }
    upstream = {
        found: workspace.pinned(found)
        for parts, found in tables.items()
        if fold(parts[0]) in LAYERS and len(parts) > 1
    }
    building = _Once(
        sql=asked["sql"],
        table=table,
        terms=Terms(Mode.APPEND if asked["write_mode"] == "append" else Mode.REPLACE),
        checks=(),
        upstream=upstream,
        fingerprint="",
        runs=(*written[-REMEMBERED_RUNS + 1 :], task["of"]),
        plain=plain,
        open_engine=spark_of(workspace) if asked.get("engine") == SPARK else None,
    )
    outcome = build(building, setting, rebuild=True)
    known = _figures([*plain.values(), *(m for _, m in upstream.values())], outcome)
    if building.open_engine is not None:
        known.pop("peak_memory_bytes", None)  # Spark's is not that of this process
    setting.tell(Kind.MEASURED, known)
    return outcome


def _runs(table: Table) -> tuple[str, ...]:
    """The last runs that wrote the table; none for one that a model wrote before."""
    position = table.position(STREAM) if table.exists() else None
    if position is None or not position.token:
        return ()
    with suppress(ValueError):
        return tuple(json.loads(position.token).get("runs", ()))
    return ()


def _as_written(parts: tuple[str, ...]) -> TableName | str:
    """A name without its layer, as an engine attaches it."""
    return parts[0] if len(parts) == 1 else TableName(parts[0], "", parts[1])


def _figures(mounts: list[Mount], outcome: Outcome) -> dict[str, Any]:
    """What the work took; a figure that is not known is absent (Promise 8)."""
    known: dict[str, Any] = {"rows_out": outcome.rows_read}
    if all(mount.rows is not None for mount in mounts):
        known["rows_in"] = sum(mount.rows or 0 for mount in mounts)
    if all(mount.reader is None or mount.marked for mount in mounts):
        read = [(mount, file) for mount in mounts for file in (*mount.files, *mount.marked)]
        known["bytes_in"] = sum(_size(mount, file) for mount, file in read)
    if outcome.commits:
        known["bytes_out"] = sum(commit.bytes_added for commit in outcome.commits)
    # Not getrusage: its figure outlives exec, and would be that of the worker that started this process.
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if peak := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            known["peak_memory_bytes"] = int(peak[1]) * 1024
    return known


def _size(mount: Mount, file: str) -> int:
    if mount.filesystem is not None:
        return int(mount.filesystem.info(file)["size"])
    with suppress(OSError):
        return os.stat(Path(file)).st_size
    return 0
