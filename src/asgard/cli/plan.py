"""`asgard plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, open_tables, project_options
from asgard.cli.output import print_json, print_table, size_text

if TYPE_CHECKING:
    from asgard.app.models.plan import Plan

CHANGES = 1
BREAKING = 4


@click.command()
@click.argument("selectors", nargs=-1)
@click.option("--full", is_flag=True, help="Plan to build everything whole, whatever changed.")
@click.option(
    "--exit-code",
    is_flag=True,
    help=f"End with {CHANGES} when something would be built, {BREAKING} when that may hurt readers, or is "
    "forbidden by a contract.",
)
@project_options
@json_option
def plan(
    selectors: tuple[str, ...],
    full: bool,
    exit_code: bool,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> int:
    """Show which models a run would build, why, and whether that may hurt who reads them.

    SELECTORS: gold.revenue, +gold.revenue (with what it reads), silver.orders+ (with what reads it), globs.
    Nothing is written, and no source is asked.
    """
    from asgard.app.models.plan import plan as make_plan

    found = make_plan(open_tables(project, env), selectors, full=full)
    if as_json:
        print_json(found.as_dict())
    else:
        show_plan(found)
    if not exit_code:
        return 0
    return BREAKING if found.is_breaking or found.is_refused else CHANGES if found.building else 0


def show_plan(found: Plan) -> None:
    """A plan for people: what would be built as a table, and why below it."""
    if found.building:
        print_table(
            ["model", "build", "breaking", "rows to read", "size"],
            (
                (
                    str(one.name),
                    str(one.action),
                    {True: "yes", False: "no", None: "not known"}[one.breaking],
                    one.rows,
                    size_text(one.size_bytes),
                )
                for one in found.building
            ),
            right=["rows to read", "size"],
        )
        click.echo()
    for one in found.building:
        click.secho(str(one.name), bold=True)
        for reason in one.reasons:
            click.echo(f"  {reason.text}")
        if one.whole_because:
            click.echo(f"  built whole: {one.whole_because}")
        for name, kind in one.columns.added.items():
            click.secho(f"  + {name} {kind}", fg="green")
        if one.breaking is not False:
            click.secho(f"  breaking: {one.because}" if one.breaking else f"  {one.because}", fg="red")
    for one in found.blocked:
        click.echo(f"{click.style(str(one.name), bold=True)} cannot be built: {one.blocked}")
        for reason in one.reasons:
            click.echo(f"  {reason.text}")
    idle = len(found.models) - len(found.building) - len(found.blocked)
    click.echo(f"{len(found.building)} to build, {idle} with nothing to do", err=True)
