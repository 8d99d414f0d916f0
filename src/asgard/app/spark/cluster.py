"""Which engine transforms run on, by the settings; and the cluster that Kubernetes' runs go to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgard.app.config.references import References
from asgard.app.config.settings import Settings
from asgard.app.config.yaml_text import yaml_values
from asgard.core.errors import ConfigError
from asgard.engines.spark_application import SparkCluster
from asgard.transport.kubernetes import KubernetesClient
from asgard.transport.kubernetes_access import Access, kubeconfig_access, pod_access

EMBEDDED, SPARK, KUBERNETES = "embedded", "spark", "kubernetes"


def engine_of(settings: Settings) -> str:
    """TRANSFORM_ENGINE; where that is not set, Kubernetes if there is an image for it, else embedded."""
    return settings.transform_engine or (KUBERNETES if settings.spark_image else EMBEDDED)


def cluster_of(settings: Settings) -> SparkCluster:
    """Where and as whom Spark runs on Kubernetes.

    Raises:
        ConfigError: SPARK_IMAGE is not set.
    """
    if not settings.spark_image:
        raise ConfigError(
            "SPARK_IMAGE is not set: Kubernetes does not know which Spark to run",
            hint="an image with Spark, Delta's jars and hadoop-aws; or TRANSFORM_ENGINE=embedded",
        )
    return SparkCluster(
        settings.pipeline_namespace,
        settings.spark_image,
        settings.spark_service_account,
        settings.s3_secret_name,
        settings.spark_version,
        settings.spark_lake_claim,
    )


def open_client(folder: Path, context: str | None, *, patient: bool) -> KubernetesClient:
    """A client of the cluster that `access_of` finds.

    Raises:
        ConfigError: there is none, or its configuration is wrong.
    """
    return KubernetesClient(access_of(folder, context), patient=patient)


def access_of(folder: Path, context: str | None, environ: Mapping[str, str] | None = None) -> Access:
    """The cluster of KUBECONFIG; else the one around this pod; else that of `~/.kube/config`.

    Args:
        folder: where `.env` lies.
        context: of the kubeconfig; by default its current one.
        environ: goes before `.env`; None for the process's.

    Raises:
        ConfigError: there is none, or its configuration is wrong.
    """
    references = References(folder, environ)
    named = references.variable("KUBECONFIG")
    if not named and references.variable("KUBERNETES_SERVICE_HOST"):
        return pod_access(references.variable)
    if named and os.pathsep in named:
        raise ConfigError("KUBECONFIG names several files", hint="name one of them")
    home = references.variable("HOME") or str(Path.home())
    file = folder / Path(named).expanduser() if named else Path(home, ".kube", "config")
    if not file.exists():
        raise ConfigError(
            f"no cluster of Kubernetes is known: there is no {file}",
            hint="set KUBECONFIG to its configuration, or run in a pod of it",
        )
    config: Any = yaml_values(str(file))
    if not isinstance(config, Mapping):
        raise ConfigError(f"{file} is no kubeconfig", hint="kubectl config view shows what one looks like")
    return kubeconfig_access(config, file.parent, context)
