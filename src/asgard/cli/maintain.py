"""`asgard maintain`."""

from __future__ import annotations

from typing import Any

import click

from asgard.cli.options import json_option, open_tables, project_options
from asgard.cli.output import print_json, print_table, size_text


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--keep", metavar="TIME", help="Versions so old or younger stay readable; 7d by default.")
@click.option("--keep-log", metavar="TIME", help="The log tells of versions so old; 30d by default.")
@click.option("--budget", metavar="TIME", help="No file is begun to be written anew later than that: 10m.")
@click.option("--budget-bytes", metavar="SIZE", help="Nor once so much was written: 10GB.")
@click.option("--cluster/--no-cluster", default=None, help="Put files in order by key, too; it does.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
@project_options
@json_option
def maintain(
    tables: tuple[str, ...],
    keep: str | None,
    keep_log: str | None,
    budget: str | None,
    budget_bytes: str | None,
    cluster: bool | None,
    dry_run: bool,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> int:
    """Look after TABLES, or all: put small files together and files in order by key, forget versions that
    nobody keeps, and delete what nobody needs. What is not said here, `maintenance:` of the project says."""
    from asgard.app.config.quantities import parse_duration, parse_size
    from asgard.app.jobs.upkeep import wish_of
    from asgard.app.tables.maintenance import maintain as do_maintain
    from asgard.cli.runs import cancelled_by_signals

    times = {"keep": keep, "keep_log": keep_log, "budget": budget}
    asked = {name: None if told is None else parse_duration(told) for name, told in times.items()}
    size_bytes = None if budget_bytes is None else parse_size(budget_bytes)
    workspace = open_tables(project, env)
    chosen: dict[str, Any] = {**asked, "budget_bytes": size_bytes, "cluster": cluster, "dry_run": dry_run}
    chosen["tables"] = tables or None
    with cancelled_by_signals() as cancel:
        done = do_maintain(workspace, wish_of(workspace.project.maintenance, chosen), cancel=cancel)
    if as_json:
        print_json([one.as_dict() for one in done])
    else:
        deleted = "would go" if dry_run else "deleted"
        print_table(
            ["table", "written anew", deleted, "size", "log files", "oldest version", "left"],
            (
                (
                    one.table,
                    f"{one.files_before} to {one.files_after}" if one.files_before else "",
                    one.deleted_files,
                    size_text(one.deleted_bytes),
                    one.log_files,
                    one.oldest_version,
                    f"{one.left_files} files, {size_text(one.left_bytes)}" if one.left_files else "",
                )
                for one in done
            ),
            right=[deleted, "size", "log files", "oldest version"],
        )
        for one in done:
            if one.error is not None:
                click.echo(f"{one.table} was left as it is: {one.error}", err=True)
    cancel.check()
    return next((one.error.exit_code for one in done if one.error is not None), 0)
