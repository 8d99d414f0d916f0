"""`asgard init` and `asgard demo`."""

from __future__ import annotations

from pathlib import Path

import click

from asgard.cli.output import cell_text, print_table


@click.command()
@click.argument("address")
@click.option("--folder", default=".", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write asgard.yml anew although there is one.")
def init(address: str, folder: Path, force: bool) -> None:
    """Write a first asgard.yml for the source at ADDRESS, and try it.

    ADDRESS: postgres://user:password@host/database, https://api.example.com/items, shop.sqlite, a data file
    or a folder of them. A password goes to .env, not into asgard.yml.
    """
    from asgard.app.project.initialise import initialise

    begun = initialise(folder, address, force=force)
    click.echo(f"wrote {begun.file}")
    if begun.error is not None:
        click.secho(f"but {begun.source} cannot be used yet: {begun.error.what}", fg="yellow")
        if begun.error.hint:
            click.echo(f"hint: {begun.error.hint}")
        click.echo(f"then: asgard check {begun.source}")
        return
    rows = ((s.full_name, s.rows, len(s.schema), ", ".join(s.primary_key)) for s in begun.streams[:10])
    print_table(["stream", "rows (about)", "columns", "primary key"], rows, right=["rows (about)", "columns"])
    if len(begun.streams) > 10:
        click.echo(f"and {len(begun.streams) - 10} more")
    click.echo("next: asgard run")


@click.command()
@click.option("--folder", default="demo", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--serve", is_flag=True, help="Only keep the demo's REST API up, until Ctrl-C.")
def demo(folder: Path, serve: bool) -> int:
    """Real flights from a SQLite database, files and a REST API, through checks to silver and gold."""
    from asgard.app.demo.demo import prepare, serving, tour
    from asgard.app.project.workspace import Workspace
    from asgard.app.runs.runs import RunWish, run
    from asgard.cli.runs import cancelled_by_signals
    from asgard.cli.screen import Screen

    site = prepare(folder)
    if serve:
        with serving(site) as address, cancelled_by_signals() as cancel:
            click.echo(f"the API of the airlines is at {address}/airlines; Ctrl-C ends it")
            cancel.wait()
        return 0
    with serving(site), cancelled_by_signals() as cancel:
        workspace = Workspace.open(site.project)
        with Screen() as screen:
            summary = run(workspace, RunWish(), screen, cancel)
        if summary.exit_code:
            return summary.exit_code
        shown = tour(workspace)
    click.echo()
    print_table(["table", "rows", "set aside"], shown.tables, right=["rows", "set aside"])
    click.echo()
    click.secho(shown.chart_title, bold=True)
    _bars(shown.chart)
    click.echo()
    click.secho("Set aside by the checks, with the reason", bold=True)
    print_table(shown.quarantine_columns, shown.quarantine_rows)
    click.echo()
    click.secho("Next", bold=True)
    for command, about in shown.next_commands:
        click.echo(f"  {click.style(command, fg='cyan')}\n      {about}")
    return 0


def _bars(rows: list[tuple[str, float]], width: int = 40) -> None:
    most = max((value for _, value in rows), default=1) or 1
    name_width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        bar = "█" * max(round(value / most * width), 1)
        click.echo(f"  {cell_text(name):<{name_width}}  {click.style(bar, fg='cyan')} {value:.1f}")
