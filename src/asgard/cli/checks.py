"""`asgard checks`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_tables, open_workspace, project_options
from asgard.cli.output import print_json, print_table


class TablesOrCommand(click.Group):
    """A group whose first word may be a table: `asgard checks orders` is `asgard checks run orders`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `run` before words that are no command of the group."""
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=TablesOrCommand)
def checks() -> None:
    """Run the checks of tables, suggest checks for one, report on them.

    `asgard checks [TABLES]` is `asgard checks run [TABLES]`.
    """


@checks.command("run")
@click.argument("tables", nargs=-1)
@project_options
@json_option
def run(tables: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Run the checks of TABLES (or of all) as the tables are now; nothing is changed."""
    from asgard.app.checks.checks import check_tables

    found = list(check_tables(open_workspace(project, env), tables))
    if as_json:
        print_json([{"table": name, **result.as_dict()} for name, result in found])
    else:
        print_table(
            ["", "table", "check", "result"],
            (("✓" if r.passed else "✗", name, r.check.name, r.message) for name, r in found),
        )
    failed = sum(not result.passed and str(result.check.on_fail) != "warn" for _, result in found)
    return 4 if failed else 0


@checks.command("suggest")
@click.argument("table")
@project_options
@json_option
def suggest(table: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Propose checks for TABLE from its rows, as YAML to paste, with the evidence."""
    from asgard.app.checks.suggesting import suggest as do_suggest
    from asgard.app.checks.suggesting import yaml_of_suggestions

    found = do_suggest(open_tables(project, env), table)
    if as_json:
        print_json([{"check": one.entry, "evidence": one.evidence} for one in found])
    else:
        click.echo(yaml_of_suggestions(found), nl=False)


@checks.command("report")
@click.argument("tables", nargs=-1)
@click.option("-o", "--output", metavar="FILE", help="Where to; by default the project's state folder.")
@click.option("--rows", default=5, show_default=True, help="Failing rows shown of each check; 0 for none.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@project_options
@json_option
def report(
    tables: tuple[str, ...],
    output: str | None,
    rows: int,
    show: bool,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> int:
    """Write one HTML file about the checks of TABLES (or of all): results, trends, failing rows, history."""
    from pathlib import Path

    from asgard.app.checks.reports import write_report

    file = Path(output) if output else None
    written = write_report(open_workspace(project, env), tables, file, rows)
    if as_json:
        print_json({"file": str(written.file), "passed": written.passed, "failed": written.failed})
    else:
        click.echo(f"{written.file}: {written.passed:,} checks passed, {written.failed:,} failed")
    if show:
        click.launch(str(written.file))
    return 4 if written.failed else 0
