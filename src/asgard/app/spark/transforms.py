"""Transforms on Spark: what a run is asked for, and its work in the process of its job.

On Kubernetes the process hands the application in and looks after it. The application goes on without it:
when the process or its server ends, the next attempt of the job finds the application by the name of its run,
and looks on. Only who asks for the end of the job ends the application.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asgard.app.config.project import LakeSpec, Project
from asgard.app.config.settings import load_settings
from asgard.app.documents.documents import found
from asgard.app.documents.sinks import lake_of
from asgard.app.documents.transform_tables import tables_read
from asgard.app.jobs.jobs import job_log, open_jobs
from asgard.app.project.workspace import Workspace
from asgard.app.spark.cluster import KUBERNETES, SPARK, access_of, cluster_of, engine_of, open_client
from asgard.core.errors import AsgardError, Cancelled, ConfigError, Unreachable
from asgard.core.events import Kind
from asgard.core.names import folder
from asgard.core.table import Mount, TableName
from asgard.engines.spark_application import SparkCluster, SparkRun, driver_of, name_of
from asgard.engines.spark_operator import (
    Phase,
    Seen,
    SparkOperator,
    failure,
    figures,
    gone,
    told_by,
)
from asgard.flow.outcome import Outcome, Status
from asgard.flow.setting import Setting

FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.5, 10.0
UNTAKEN_SECONDS = 60.0
"""After so long without a state somebody should see whether an operator runs."""
OUTAGE_SECONDS = 900.0
"""How long the cluster may not answer, before the job gives its place away; its next attempt looks on."""
RESOURCES = ("executor_instances", "executor_cores", "executor_memory", "driver_cores", "driver_memory")


def kubernetes_work(
    workspace: Workspace, task: Mapping[str, Any], name: TableName, setting: Setting
) -> Outcome:
    """Has a transform run on Kubernetes, and waits for its end.

    Raises:
        AsgardError: why it failed, in the words of Spark or of the cluster.
        Cancelled: this process is to end. The application ends too if that was asked for.
    """
    of, asked = task["of"], task["asked"]
    cluster = SparkCluster(**asked["spark"]["cluster"])
    with _operator(workspace.project, asked, patient=True) as operator:
        if operator.look(of) is None:
            request = request_of(workspace, asked, name)
            wanted = {key: asked["wanted"][key] for key in RESOURCES if key in asked["wanted"]}
            storage = storage_of(workspace.project.lake)
            place = place_of(workspace.project, workspace.project.lake.location)
            mounted = place if place.startswith("/") else None
            run = SparkRun(of, request, hadoop_conf=storage, lake_folder=mounted, **wanted)
            operator.submit(run, cluster)
        else:
            operator.bring_file(of)
        try:
            now = _until_over(operator, of, setting)
        except Cancelled:
            if _called_off(workspace.project, of):
                operator.delete(of)
            raise
        return _ended(workspace.project, operator, of, now, setting)


def request_of(workspace: Workspace, asked: Mapping[str, Any], result: TableName) -> dict[str, Any]:
    """What the job is asked for: the statement in Spark's words, and its tables as they are now.

    Raises:
        QueryError: a table is not there, or Spark cannot say this.
    """
    from asgard.transform.dialect import to_spark

    place = place_of(workspace.project, workspace.project.lake.location)
    read = tables_read(workspace, asked["sql"])
    pinned = {table: workspace.pinned(table) for table in sorted(set(read.values()))}
    schemas: dict[TableName | str, Any] = {
        ".".join(parts): pinned[table][1].schema for parts, table in read.items()
    }
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        # Without rows the embedded engine says at once what the result's columns must be.
        for parts, table in read.items():
            name = parts[0] if len(parts) == 1 else TableName(parts[0], ".".join(parts[1:-1]), parts[-1])
            engine.attach(name, Mount(pinned[table][1].schema))
        with engine.query(asked["sql"]) as rows:
            columns = rows.schema
    return {
        "sql": to_spark(asked["sql"], schemas, columns),
        "tables": [
            {
                "name": ".".join(parts),
                "uri": table_uri(place, table),
                "format": "delta",
                "version": pinned[table][0],
            }
            for parts, table in read.items()
        ],
        "result": {"uri": table_uri(place, result), "mode": asked["write_mode"], "format": "delta"},
    }


def place_of(project: Project, location: str) -> str:
    """Where a lake lies, as Spark is told: an address of its storage, or an absolute path."""
    if location.startswith("s3://"):
        return location.replace("s3://", "s3a://", 1).rstrip("/")
    return str((project.folder / location).absolute())


def table_uri(place: str, name: TableName) -> str:
    """Where a table of a lake lies: as the lake itself has it, whose escapes differ in buckets."""
    escape = "~" if place.startswith("/") else "="
    return f"{place}/{folder(name).replace('~', '%7E').replace('%', escape)}"


def storage_of(lake: LakeSpec) -> dict[str, str]:
    """What Hadoop must know of a bucket's store. Keys are not in it: pods have a Secret of their own."""
    given = lake.connection
    if given is None:
        return {}
    told = {}
    if given.endpoint_url:
        told = {
            "fs.s3a.endpoint": given.endpoint_url,
            "fs.s3a.path.style.access": str(given.path_style is not False).lower(),
            "fs.s3a.connection.ssl.enabled": str(not given.endpoint_url.startswith("http://")).lower(),
        }
    return {**told, **({"fs.s3a.endpoint.region": given.region} if given.region else {})}


# ---- what the API asks


def chosen(project: Project, sink: str | None) -> dict[str, Any]:
    """What a job keeps of its engine: settings may change before it runs. No secret is in it; empty for the
    embedded engine.

    Raises:
        ConfigError: the engine cannot be used, or not with this sink.
    """
    settings = load_settings(project.folder)
    engine = engine_of(settings)
    if engine != KUBERNETES:
        return {"engine": SPARK} if engine == SPARK else {}
    cluster = cluster_of(settings)
    access_of(project.folder, settings.kube_context)
    lake = lake_of(project, sink)
    if lake.format != "delta":
        raise ConfigError(
            "transforms on Kubernetes read and write tables of Delta, and this lake's are of Iceberg",
            hint="POST /sink with destination_type s3 or local, or set TRANSFORM_ENGINE=embedded",
        )
    place = place_of(project, lake.location)
    if not place.startswith("s3a://") and not (place.startswith("/") and cluster.lake_claim):
        raise ConfigError(
            f"the pods of Kubernetes cannot reach the lake at {place}",
            hint="POST /sink with destination_type s3, set SPARK_LAKE_CLAIM to the volume that it lies on, "
            "or TRANSFORM_ENGINE=embedded",
        )
    return {"engine": engine, "spark": {"cluster": asdict(cluster), "context": settings.kube_context}}


def names_in(run_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a run without asking anybody; empty for another engine's."""
    if "spark" not in asked:
        return {}
    cluster = asked["spark"]["cluster"]
    return {
        "engine": asked["engine"],
        "spark_application": name_of(run_id),
        "namespace": cluster["namespace"],
        "driver_pod": driver_of(run_id),
        "spark_version": cluster["spark_version"],
    }


def live(project: Project, run_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The application of a run now; nothing where it is gone. Where the cluster cannot be asked, why."""
    try:
        with _operator(project, asked) as operator:
            now = operator.look(run_id)
    except AsgardError as error:
        return {"error": error.what}
    if now is None:
        return {}
    about = {"state": now.state, "executor_count": now.executors, "driver_pod": now.driver_pod}
    return {**about, "spark_version": now.spark_version, **({"error": now.error} if now.error else {})}


def live_events(project: Project, run_id: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the cluster says of a run. It forgets that within an hour or so; nothing where it cannot be asked,
    or the run is another engine's."""
    if "spark" not in asked:
        return []
    with suppress(AsgardError), _operator(project, asked) as operator:
        return operator.events(run_id)
    return []


def driver_log(project: Project, run_id: str, asked: Mapping[str, Any]) -> str:
    """What the driver said so far, or in the end; empty where nothing is known of it."""
    if "spark" not in asked:
        return ""
    kept = _kept_log(project, run_id)
    if kept.exists():
        return kept.read_text(encoding="utf-8", errors="replace")
    with suppress(AsgardError), _operator(project, asked) as operator:
        return operator.log(run_id) or ""
    return ""


@contextmanager
def _operator(
    project: Project, asked: Mapping[str, Any], *, patient: bool = False
) -> Iterator[SparkOperator]:
    with closing(open_client(project.folder, asked["spark"]["context"], patient=patient)) as client:
        yield SparkOperator(client, asked["spark"]["cluster"]["namespace"])


def _kept_log(project: Project, run_id: str) -> Path:
    return job_log(project.state_folder, f"driver-{run_id}")


# ---- waiting


def _until_over(operator: SparkOperator, run_id: str, setting: Setting) -> Seen:
    """Looks again and again, less often as long as nothing changes; tells every new state."""
    pause, state = FIRST_LOOK_SECONDS, ""
    began = answered = time.monotonic()
    warned = False
    while True:
        try:
            now = operator.look(run_id)
        except Unreachable as error:
            if time.monotonic() - answered > OUTAGE_SECONDS:
                raise
            setting.tell(Kind.WARNING, {"what": error.what, "hint": "Spark goes on meanwhile"})
        else:
            answered = time.monotonic()
            if now is None:
                raise gone(run_id)
            if now.state != state:
                pause, state = FIRST_LOOK_SECONDS, now.state
                known = {"executors": now.executors, "error": now.error or None}
                told = {key: value for key, value in known.items() if value is not None}
                setting.tell(Kind.STEP_PHASE, {"phase": state, **told})
            if now.is_over:
                return now
            if not warned and not now.taken and time.monotonic() - began > UNTAKEN_SECONDS:
                warned = True
                hint = "is one running, and does it watch this namespace?"
                setting.tell(
                    Kind.WARNING, {"what": "no Spark operator has taken the application", "hint": hint}
                )
        setting.cancel.sleep(pause)
        pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)


def _ended(project: Project, operator: SparkOperator, run_id: str, now: Seen, setting: Setting) -> Outcome:
    """Keeps the driver's words, tells the figures, and says how it ended."""
    log = operator.log(run_id)
    if log:
        kept = _kept_log(project, run_id)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(log, encoding="utf-8")
    told = told_by(log, run_id)
    known = figures(told)
    setting.tell(
        Kind.MEASURED,
        {
            **known,
            **({"duration_seconds": now.seconds} if now.seconds is not None else {}),
            **({"executors": now.executors} if now.executors is not None else {}),
        },
    )
    if now.phase is Phase.FAILED:
        raise failure(run_id, now, told)
    return Outcome(setting.step, Status.DONE, rows_read=known.get("rows_out", 0))


def _called_off(project: Project, run_id: str) -> bool:
    """Whether the end was asked for, and not only that of this process or its worker."""
    document = found(project, "transform", run_id)
    with open_jobs(project) as store:
        return store.queue.job(document.body["job"]).cancel_at is not None
