"""`asgard config`: the project file, looked at."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_workspace, project_options
from asgard.cli.output import print_json


@click.group()
def config() -> None:
    """Validate the project, explain a value, print the JSON Schema."""


@config.command()
@project_options
@json_option
def validate(project: str | None, env: str | None, as_json: bool) -> None:
    """Read the project and its models, and report every mistake at once; connects to no source."""
    workspace = open_workspace(project, env)
    sources = {name: spec.type for name, spec in workspace.project.sources.items()}
    models = [str(model.name) for model in workspace.models]
    if as_json:
        print_json({"file": str(workspace.project.file), "sources": sources, "models": models})
        return
    click.echo(f"{workspace.project.file}: {len(sources)} sources, {len(models)} models, no mistakes")


@config.command()
@click.argument("key")
@project_options
@json_option
def explain(key: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Say where the value of KEY was looked up and what won; secrets stay hidden.

    KEY: a path in the file, for example data_sources.shop.connection.password
    """
    from asgard.app.config.explain import explain as do_explain

    explanation = do_explain(project, key, env)
    if as_json:
        print_json(explanation.as_dict())
    else:
        click.echo(str(explanation))


@config.command()
def schema() -> None:
    """Print the JSON Schema of asgard.yml, for editors."""
    from asgard.app.config.json_schema import project_json_schema

    print_json(project_json_schema())
