"""The SparkApplication of a run, and the ConfigMap that brings its file: what the cluster is handed.

The application is `spark_job.py`, which reaches the driver by the ConfigMap: an image needs Spark, Delta's
jars and those of the storage, and nothing of ours. Names hang on the run alone.

Reference: https://github.com/kubeflow/spark-operator/blob/master/docs/api-docs.md,
https://spark.apache.org/docs/latest/running-on-kubernetes.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from asgard.core.errors import ConfigError, QueryError
from asgard.transport.kubernetes import Resource

APPLICATIONS = Resource("sparkoperator.k8s.io", "v1beta2", "sparkapplications")
JOB_FILE = "spark_job.py"
JOB_FOLDER = "/opt/asgard"
MANAGED_BY = {"app.kubernetes.io/managed-by": "asgard"}
RUN_LABEL = "asgard-run-id"
KEEP_SECONDS = 7 * 86400
"""How long an application stays in the cluster after its end; its pods go with it."""
MOST_REQUEST_BYTES = 100_000
"""Linux gives one argument of a program 128 KiB, and the operator passes it on by way of others."""
MOST_FILE_BYTES = 900_000
"""A ConfigMap holds one MiB."""
SUBMISSION_RETRIES, SUBMISSION_PAUSE_SECONDS = 3, 10


@dataclass(frozen=True)
class SparkCluster:
    """Where applications run, and as whom.

    Attributes:
        image: with Spark, Delta's jars, and hadoop-aws for tables in S3.
        s3_secret: a Secret whose AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION
            become variables of driver and executors; what it has not is left to the role of the pod.
        lake_claim: the claim of a volume with the lake's folder, which driver and executors share.
    """

    namespace: str
    image: str
    service_account: str = "spark-sa"
    s3_secret: str = "s3-credentials"
    spark_version: str = "4.1.4"
    lake_claim: str | None = None


@dataclass(frozen=True)
class SparkRun:
    """One run.

    Attributes:
        run_id: eight hexadecimal digits.
        request: what `spark_job.py` is asked for; see there.
        hadoop_conf: settings of the storage, such as `fs.s3a.endpoint`; no secret.
        lake_folder: where the volume of `lake_claim` is mounted.
    """

    run_id: str
    request: Mapping[str, Any] = field(repr=False)
    executor_instances: int = 2
    executor_cores: int = 1
    executor_memory: str = "512m"
    driver_cores: int = 1
    driver_memory: str = "512m"
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)
    lake_folder: str | None = None


def name_of(run_id: str) -> str:
    """What the application of a run is called, and its ConfigMap."""
    return f"sql-exec-{run_id}"


def driver_of(run_id: str) -> str:
    """What the driver's pod is called."""
    return f"{name_of(run_id)}-driver"


def application(run: SparkRun, cluster: SparkCluster) -> dict[str, Any]:
    """The SparkApplication of a run.

    Raises:
        QueryError: the request is too long to be an argument of a program.
    """
    request = json.dumps({**run.request, "format": 1, "run_id": run.run_id}, separators=(",", ":"))
    if len(request.encode()) > MOST_REQUEST_BYTES:
        raise QueryError(
            f"the statement and the names of its tables take {len(request.encode()):,} bytes, and Kubernetes "
            f"passes on {MOST_REQUEST_BYTES:,} at most",
            hint="make a table of a part of it first",
        )
    name = name_of(run.run_id)
    claim = {"claimName": cluster.lake_claim}
    lake = [{"name": "lake", "mountPath": run.lake_folder}] if cluster.lake_claim and run.lake_folder else []
    return {
        "apiVersion": f"{APPLICATIONS.group}/{APPLICATIONS.version}",
        "kind": "SparkApplication",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": _labels(run.run_id)},
        "spec": {
            "type": "Python",
            "pythonVersion": "3",
            "mode": "cluster",
            "image": cluster.image,
            "imagePullPolicy": "IfNotPresent",
            "mainApplicationFile": f"local://{JOB_FOLDER}/{JOB_FILE}",
            "arguments": ["--request", request],
            "sparkVersion": cluster.spark_version,
            "sparkConf": {
                "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
                "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
                "spark.sql.session.timeZone": "UTC",
            },
            "hadoopConf": {"fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", **run.hadoop_conf},
            # A job that failed by its own fault would fail again; what no driver was made for may not.
            "restartPolicy": {
                "type": "OnFailure",
                "onFailureRetries": 0,
                "onFailureRetryInterval": SUBMISSION_PAUSE_SECONDS,
                "onSubmissionFailureRetries": SUBMISSION_RETRIES,
                "onSubmissionFailureRetryInterval": SUBMISSION_PAUSE_SECONDS,
            },
            "timeToLiveSeconds": KEEP_SECONDS,
            "volumes": [
                {"name": "asgard", "configMap": {"name": name}},
                *([{"name": "lake", "persistentVolumeClaim": claim}] if lake else []),
            ],
            "driver": {
                "cores": run.driver_cores,
                "memory": run.driver_memory,
                "serviceAccount": cluster.service_account,
                "volumeMounts": [{"name": "asgard", "mountPath": JOB_FOLDER, "readOnly": True}, *lake],
                **_pod(run, cluster),
            },
            "executor": {
                "instances": run.executor_instances,
                "cores": run.executor_cores,
                "memory": run.executor_memory,
                "volumeMounts": lake,
                **_pod(run, cluster),
            },
        },
    }


def job_file(run_id: str, namespace: str, owner: str) -> dict[str, Any]:
    """The ConfigMap with the application's file; it goes when its owner does.

    Args:
        owner: the application's uid.

    Raises:
        ConfigError: the file is too long for one.
    """
    text = resources.files(__package__).joinpath(JOB_FILE).read_text(encoding="utf-8")
    if len(text.encode()) > MOST_FILE_BYTES:
        raise ConfigError(f"{JOB_FILE} is longer than a ConfigMap holds: {len(text.encode()):,} bytes")
    reference = {
        "apiVersion": f"{APPLICATIONS.group}/{APPLICATIONS.version}",
        "kind": "SparkApplication",
        "name": name_of(run_id),
        "uid": owner,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name_of(run_id),
            "namespace": namespace,
            "labels": _labels(run_id),
            "ownerReferences": [reference],
        },
        "immutable": True,
        "data": {JOB_FILE: text},
    }


def _labels(run_id: str) -> dict[str, str]:
    return {**MANAGED_BY, RUN_LABEL: run_id}


def _pod(run: SparkRun, cluster: SparkCluster) -> dict[str, Any]:
    """What driver and executors have in common."""
    return {
        "labels": _labels(run.run_id),
        "env": [
            {
                "name": key,
                "valueFrom": {"secretKeyRef": {"name": cluster.s3_secret, "key": key, "optional": True}},
            }
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
