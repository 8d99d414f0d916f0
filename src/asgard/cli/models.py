"""`asgard models`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_workspace, project_options
from asgard.cli.output import print_json, print_table


@click.command()
@project_options
@json_option
def models(project: str | None, env: str | None, as_json: bool) -> None:
    """List models in the order in which they are built, and what they read."""
    found = open_workspace(project, env).models
    if as_json:
        print_json(
            [
                {"model": str(m.name), "mode": str(m.spec.mode), "reads": sorted(map(str, m.upstream)),
                 "checks": len(m.checks), "description": m.spec.description}
                for m in found
            ]
        )  # fmt: skip
        return
    rows = (
        (str(m.name), str(m.spec.mode), ", ".join(sorted(map(str, m.upstream))), m.spec.description)
        for m in found
    )
    print_table(["model", "mode", "reads", "about"], rows)
