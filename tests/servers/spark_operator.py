"""The Spark operator as a test plays it: its kind, small and our own, and its words on `/status`.

The kind has the group, version, plural and subresource of the real one, and refuses what it refuses: it lists
what an application must have, and the types of what we send. Nobody starts a pod: the test says what became
of an application, or runs its file itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgard.engines.spark_application import driver_of, name_of
from tests.servers.kubernetes import Cluster
from tests.servers.kubernetes_stand_in import StandIn

GROUP, VERSION, PLURAL = "sparkoperator.k8s.io", "v1beta2", "sparkapplications"
MERGE = "application/merge-patch+json"
_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_COUNT = {"type": "integer", "format": "int32", "minimum": 1}
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_LIST = {"type": "array", "items": _ANYTHING}
_POD = {
    "cores": _COUNT,
    "memory": _TEXT,
    "labels": _TEXTS,
    "env": _LIST,
    "volumeMounts": _LIST,
    "securityContext": _ANYTHING,
    "serviceAccount": _TEXT,
}
_RETRIES = {"type": "integer", "format": "int32", "minimum": 0}
_PAUSE = {"type": "integer", "format": "int64", "minimum": 1}
_SPEC = {
    "type": {"type": "string", "enum": ["Java", "Python", "Scala", "R"]},
    "mode": {"type": "string", "enum": ["cluster", "client"]},
    "pythonVersion": {"type": "string", "enum": ["2", "3"]},
    "image": _TEXT,
    "imagePullPolicy": _TEXT,
    "mainApplicationFile": _TEXT,
    "arguments": {"type": "array", "items": _TEXT},
    "sparkVersion": _TEXT,
    "sparkConf": _TEXTS,
    "hadoopConf": _TEXTS,
    "timeToLiveSeconds": {"type": "integer", "format": "int64"},
    "volumes": _LIST,
    "restartPolicy": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["Never", "Always", "OnFailure"]},
            "onFailureRetries": _RETRIES,
            "onFailureRetryInterval": _PAUSE,
            "onSubmissionFailureRetries": _RETRIES,
            "onSubmissionFailureRetryInterval": _PAUSE,
        },
    },
    "driver": {"type": "object", "properties": _POD},
    "executor": {"type": "object", "properties": {**_POD, "instances": _COUNT}},
}
_INSTANT = {"type": "string", "format": "date-time", "nullable": True}
_STATUS = {
    "sparkApplicationId": _TEXT,
    "submissionID": _TEXT,
    "lastSubmissionAttemptTime": _INSTANT,
    "terminationTime": _INSTANT,
    "driverInfo": {"type": "object", "properties": {"podName": _TEXT}},
    "applicationState": {
        "type": "object",
        "required": ["state"],
        "properties": {"state": _TEXT, "errorMessage": _TEXT},
    },
    "executorState": _TEXTS,
    "executionAttempts": {"type": "integer", "format": "int32"},
    "submissionAttempts": {"type": "integer", "format": "int32"},
}
KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"{PLURAL}.{GROUP}",
        # A group below k8s.io wants to be told whether Kubernetes' own people were asked.
        "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
    },
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "SparkApplication", "plural": PLURAL, "singular": "sparkapplication"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["metadata", "spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": [
                                    "driver", "executor", "mainApplicationFile", "sparkVersion", "type",
                                ],
                                "properties": _SPEC,
                            },
                            "status": {"type": "object", "required": ["driverInfo"], "properties": _STATUS},
                        },
                    }
                },
            }
        ],
    },
}  # fmt: skip


def with_kind(cluster: Cluster) -> Cluster:
    """The cluster with the operator's kind, whoever defines it first."""
    answer = cluster.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", KIND)
    assert answer.status in (201, 409), answer
    cluster.until_served(f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}")
    return cluster


@dataclass(frozen=True)
class Operator:
    """Says what becomes of the applications of one namespace."""

    cluster: Cluster
    namespace: str

    def path(self, run_id: str = "") -> str:
        name = f"/{name_of(run_id)}" if run_id else ""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}{name}"

    def applications(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cluster.ask("GET", self.path()).body["items"]
        return found

    def says(self, run_id: str, state: str, **more: Any) -> None:
        """Writes a state, and whatever else stands in a status."""
        told = {"state": state, **({"errorMessage": more.pop("error")} if "error" in more else {})}
        status = {"driverInfo": {"podName": driver_of(run_id)}, "applicationState": told, **more}
        answer = self.cluster.ask("PATCH", f"{self.path(run_id)}/status", {"status": status}, kind=MERGE)
        assert answer.status == 200, answer

    def runs(self, run_id: str, folder: Path, environment: Mapping[str, str]) -> str:
        """Runs an application on Spark here, from what the cluster holds of it alone; gives its words."""
        found = self.cluster.ask("GET", self.path(run_id)).body
        (volume,) = (one for one in found["spec"]["volumes"] if one["name"] == "asgard")
        file = found["spec"]["mainApplicationFile"].rpartition("/")[2]
        maps = f"/api/v1/namespaces/{self.namespace}/configmaps/{volume['configMap']['name']}"
        (folder / file).write_text(self.cluster.ask("GET", maps).body["data"][file])
        done = subprocess.run(
            [sys.executable, str(folder / file), *found["spec"]["arguments"]],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        words = done.stderr + done.stdout
        if isinstance(self.cluster, StandIn):
            self.cluster.logs[driver_of(run_id)] = words
        self.says(run_id, "COMPLETED" if done.returncode == 0 else "FAILED")
        return words
