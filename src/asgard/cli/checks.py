"""`asgard checks`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_workspace, project_options
from asgard.cli.output import print_json, print_table


@click.command()
@click.argument("tables", nargs=-1)
@project_options
@json_option
def checks(tables: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Run the checks of TABLES (or of all) as the tables are now; nothing is changed."""
    from asgard.app.checks import check_tables

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
