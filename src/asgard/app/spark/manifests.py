"""What a cluster needs before transforms run on it: two accounts, and no more rights than they use.

The rights of Asgard are those that `engines.spark_operator` asks for. Those of Spark's driver were taken from
what the API server was asked by a driver of Spark 4.1, from its start to its end.

Reference: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from asgard.app.config.settings import load_settings
from asgard.core.errors import ConfigError
from asgard.engines.spark_application import APPLICATIONS, MANAGED_BY

Rule = tuple[str, str, tuple[str, ...]]
ACCOUNT = "asgard"
API_RULES: tuple[Rule, ...] = (
    (APPLICATIONS.group, APPLICATIONS.plural, ("create", "get", "delete")),
    ("", "configmaps", ("create",)),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
)
"""Group, resource, verbs: of Asgard's server and workers. Secrets are not among them."""
DRIVER_RULES: tuple[Rule, ...] = (
    ("", "pods", ("create", "get", "list", "watch", "delete", "deletecollection")),
    ("", "configmaps", ("create", "deletecollection")),
    ("", "services", ("deletecollection",)),
    ("", "persistentvolumeclaims", ("list", "deletecollection")),
)
"""Of Spark's driver, which starts its executors and takes away what it made."""


def cluster_manifests(folder: Path, account: str | None = None) -> str:
    """Accounts and rights as YAML, for `kubectl apply -f -`.

    Args:
        folder: whose settings count: PIPELINE_NAMESPACE, SPARK_SERVICE_ACCOUNT.
        account: whom Asgard runs as, as NAMESPACE/NAME or NAME; by default `asgard` beside the jobs.

    Raises:
        ConfigError: a setting is wrong, or the account is none.
    """
    settings = load_settings(folder)
    namespace = settings.pipeline_namespace
    at, _, name = (account or ACCOUNT).rpartition("/")
    if not name or "/" in at:
        raise ConfigError(f"{account!r} is no account", hint="write NAMESPACE/NAME")
    return str(
        yaml.safe_dump_all(
            [
                *rights(namespace, "asgard-transforms", (at or namespace, name), API_RULES),
                *rights(namespace, "asgard-spark", (namespace, settings.spark_service_account), DRIVER_RULES),
            ],
            sort_keys=False,
        )
    )


def rights(
    namespace: str, role: str, account: tuple[str, str], rules: Sequence[Rule]
) -> list[dict[str, Any]]:
    """An account, its role in a namespace, and what binds the two.

    Args:
        account: its own namespace, and its name.
    """
    group = "rbac.authorization.k8s.io"
    home, name = account
    return [
        _object("v1", "ServiceAccount", home, name),
        {
            **_object(f"{group}/v1", "Role", namespace, role),
            "rules": [
                {"apiGroups": [of], "resources": [resource], "verbs": list(verbs)}
                for of, resource, verbs in rules
            ],
        },
        {
            **_object(f"{group}/v1", "RoleBinding", namespace, role),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": home, "name": name}],
        },
    ]


def _object(version: str, kind: str, namespace: str, name: str) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)}
    return {"apiVersion": version, "kind": kind, "metadata": about}
