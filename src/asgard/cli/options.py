"""Options that many commands share, and the way from them to a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from asgard.app.access.access import Access, Principal
    from asgard.app.project.workspace import Workspace

Command = TypeVar("Command", bound=Callable[..., Any])


def project_options(command: Command) -> Command:
    """`--project` and `--env`."""
    command = click.option(
        "--env", metavar="NAME", help="Environment: asgard.NAME.yml is laid over asgard.yml."
    )(command)
    return click.option(
        "-p", "--project", metavar="FILE", help="The project file; default: asgard.yml here or above."
    )(command)


def budget_options(command: Command) -> Command:
    """`--memory` and `--parallel`."""
    command = click.option("--parallel", type=click.IntRange(1, 64), help="Splits read at the same time.")(
        command
    )
    return click.option("--memory", metavar="SIZE", help="Memory of the run, for example 512MB.")(command)


def json_option(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)


def open_workspace(
    project: str | None, env: str | None, memory: str | None = None, parallel: int | None = None
) -> Workspace:
    """The workspace of a project, with the command line's budget."""
    from asgard.app.project.workspace import Workspace  # the drivers behind it are not for --help

    return Workspace.open(project, env, memory=memory, parallel=parallel)


def open_tables(project: str | None, env: str | None) -> Workspace:
    """The workspace of a project for a look at its tables: its sources are not read."""
    from asgard.app.project.workspace import Workspace

    return Workspace.open(project, env, with_sources=False)


@contextmanager
def opened_access(project: str | None, env: str | None) -> Iterator[tuple[Access, Principal]]:
    """The users and tokens of a project, and the person at the keyboard."""
    from asgard.app.access.access import local_principal, open_access
    from asgard.app.config.project import load_project

    with open_access(load_project(project, env, with_sources=False)) as access:
        yield access, local_principal()
