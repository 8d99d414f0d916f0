"""`asgard export`: what other systems take, from the project's settings."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def export() -> None:
    """Print what other systems take: manifests of Kubernetes."""


@export.command()
@click.option(
    "--account", metavar="NAMESPACE/NAME", help="Whom Asgard runs as; default: asgard, beside the jobs."
)
@click.option("-p", "--project", metavar="FILE", help="The project file; default: asgard.yml here or above.")
def kubernetes(account: str | None, project: str | None) -> None:
    """Print the accounts and the least rights that transforms on Kubernetes need.

    PIPELINE_NAMESPACE and SPARK_SERVICE_ACCOUNT say where and who. Pass it on to `kubectl apply -f -`.
    """
    from asgard.app.config.project import find_project
    from asgard.app.spark.manifests import cluster_manifests

    folder = Path(project).resolve().parent if project else find_project(Path()).parent
    click.echo(cluster_manifests(folder, account), nl=False)
