"""`asgard doctor`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, project_options
from asgard.cli.output import print_json


@click.command()
@click.option("--offline", is_flag=True, help="Connect to no source.")
@click.option("--deep", is_flag=True, help="Open every data file of every table.")
@project_options
@json_option
def doctor(offline: bool, deep: bool, project: str | None, env: str | None, as_json: bool) -> int:
    """Examine the project, its state, its tables and its sources; nothing is changed."""
    from asgard.app.project.doctor import Finding, Grade, examine

    def show(finding: Finding) -> None:
        mark, colour = {"good": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "red")}[
            finding.grade
        ]
        click.echo(f"{click.style(mark, fg=colour)} {finding.about}: {finding.what}")
        if finding.hint and finding.grade is not Grade.GOOD:
            click.echo(f"    hint: {finding.hint}")

    found = []
    for finding in examine(project, env, with_sources=not offline, deep=deep):
        found.append(finding)
        if not as_json:
            show(finding)
    failures = [finding for finding in found if finding.grade is Grade.FAILURE]
    warnings = [finding for finding in found if finding.grade is Grade.WARNING]
    if as_json:
        print_json([finding.as_dict() for finding in found])
    else:
        click.echo(f"{len(failures)} to mend, {len(warnings)} to look at")
    return failures[0].exit_code if failures else 0
