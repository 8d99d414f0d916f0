"""`asgard lineage`."""

from __future__ import annotations

from typing import Any

import click

from asgard.cli.options import json_option, open_tables, project_options
from asgard.cli.output import print_json, print_table


@click.command()
@click.argument("name", metavar="TABLE[.COLUMN]")
@project_options
@json_option
def lineage(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show what the columns of a table are made of; of one column, every step to it and from it.

    TABLE: gold.revenue, or revenue; TABLE.COLUMN: gold.revenue.total.
    """
    from asgard.app.models.lineage import LineageGraph

    graph = LineageGraph(open_tables(project, env))
    said = graph.named(name)
    if as_json:
        print_json(said)
    elif "column" in said:
        _show_column(said)
    else:
        _show_table(said)
    for model, why in graph.unknown.items():
        click.echo(f"{model}: {why}", err=True)


def _show_table(said: dict[str, Any]) -> None:
    lines = [
        (name, f"{one['table']}.{one['column']}", _words(one["uses"]))
        for name, inputs in said["columns"].items()
        for one in inputs or [{"table": "", "column": "", "uses": []}]
    ]
    print_table(["column", "made of", "how"], [(a, b.strip("."), c) for a, b, c in lines])
    if said["rows"]:
        click.echo("\nits rows are chosen by")
        print_table(
            ["column", "how"],
            ((f"{one['table']}.{one['column']}", _words(one["uses"])) for one in said["rows"]),
        )
    if said["read_by"]:
        click.echo(f"\nread by {', '.join(said['read_by'])}")


def _show_column(said: dict[str, Any]) -> None:
    name = f"{said['table']}.{said['column']}"
    for words, steps in (("made of", said["upstream"]), ("used by", said["downstream"])):
        click.secho(f"{name} is {words}" if steps else f"{name} is {words} nothing that is known", bold=True)
        if steps:
            print_table(
                ["to", "from", "how"], ((one["to"], one["from"], _words(one["uses"])) for one in steps)
            )


def _words(uses: list[str]) -> str:
    return ", ".join(use.lower().replace("_", " ") for use in uses)
