"""What tests of applications have in common: a client, a run, and who plays the operator."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from asgard.engines.spark_application import SparkCluster, SparkRun
from asgard.engines.spark_operator import SparkOperator
from asgard.transport.kubernetes import KubernetesClient
from asgard.transport.kubernetes_access import Access
from tests.servers.kubernetes import ADMIN_TOKEN, Cluster
from tests.servers.spark_operator import Operator

RUN = "107ea972"
REQUEST = {
    "sql": "SELECT 1 AS one",
    "tables": [],
    "result": {"uri": "s3a://lake/silver/one", "mode": "overwrite", "format": "delta"},
}


def access(cluster: Cluster, token: str = ADMIN_TOKEN, **more: Any) -> Access:
    return Access(cluster.url, token=lambda: token, ca=Path(cluster.ca_file).read_text(), **more)


def submitted(client: KubernetesClient, operator: Operator, **more: Any) -> SparkOperator:
    ours = SparkOperator(client, operator.namespace)
    run = SparkRun(RUN, REQUEST, **more)
    assert ours.submit(run, SparkCluster(operator.namespace, "example/spark:4.1"))
    return ours


def looked(cluster: Cluster, operator: Operator, token: str) -> object:
    with closing(KubernetesClient(access(cluster, token))) as client:
        return SparkOperator(client, operator.namespace).look(RUN)
