"""`asgard promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, open_tables
from asgard.cli.output import print_json, print_table

if TYPE_CHECKING:
    from asgard.app.models.promote import Promotion

REFUSED = 3


@click.command()
@click.argument("environment")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be promoted, and stop.")
@click.option(
    "--force", is_flag=True, help="Also where production moved meanwhile: its newer state is replaced."
)
@click.option("-p", "--project", metavar="FILE", help="The project file; default: asgard.yml here or above.")
@json_option
def promote(
    environment: str, yes: bool, only_plan: bool, force: bool, project: str | None, as_json: bool
) -> int:
    """Make the tables of an ENVIRONMENT beside production production's, each in one commit.

    Ends with 3 when production moved meanwhile, or the environment is to be built first: nothing is promoted.
    """
    from asgard.app.models.promote import promote as do_promote
    from asgard.app.models.promote import promotions

    workspace = open_tables(project, environment)
    planned = promotions(workspace)
    if as_json and not yes:
        print_json({"environment": environment, "tables": [one.as_dict() for one in planned]})
    elif not as_json:
        _show(planned)
    blocked = any(one.stale or (one.conflict and not force) for one in planned)
    if only_plan or (as_json and not yes):
        return REFUSED if blocked else 0
    if not planned:
        return 0
    if not (yes or blocked):
        click.confirm(f"promote {len(planned)} tables?", abort=True, err=True)
    summary = do_promote(workspace, lambda event: None, force=force)
    if as_json:
        print_json(summary.as_dict())
    else:
        click.echo(f"{summary.status}: {len(summary.outcomes)} tables, run {summary.run}", err=True)
    for outcome in summary.outcomes:
        if outcome.error is not None:
            click.echo(f"{outcome.step}: {outcome.error}", err=True)
    return summary.exit_code


def _show(planned: list[Promotion]) -> None:
    if not planned:
        click.echo("production has every model as it is: nothing to promote", err=True)
        return
    lines = []
    for one in planned:
        columns = [
            *(f"+{name}" for name in one.columns.added),
            *(f"-{name}" for name in one.columns.removed),
            *(f"~{name}" for name in one.columns.changed),
        ]
        breaking = {True: "yes", False: "no", None: "not known"}[one.breaking]
        figures = (one.rows_before, one.rows_after)
        lines.append((str(one.name), *figures, " ".join(columns), breaking, one.problem or "ready"))
    titles = ["table", "rows now", "then", "columns", "breaking", ""]
    print_table(titles, lines, right=["rows now", "then"])
    for one in planned:
        if one.because:
            click.echo(f"{one.name}: {one.because}")
