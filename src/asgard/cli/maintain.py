"""`asgard maintain`."""

from __future__ import annotations

from datetime import timedelta

import click

from asgard.cli.options import json_option, open_tables, project_options
from asgard.cli.output import print_json, print_table, size_text


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--keep", default="7d", show_default=True, help="Versions so old or younger stay readable.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be deleted.")
@project_options
@json_option
def maintain(
    tables: tuple[str, ...], keep: str, dry_run: bool, project: str | None, env: str | None, as_json: bool
) -> int:
    """Look after TABLES, or all: put small files together, delete what no kept version needs."""
    from asgard.app.config.quantities import parse_duration
    from asgard.app.tables.maintenance import maintain as do_maintain

    kept = timedelta(seconds=parse_duration(keep))
    done = list(do_maintain(open_tables(project, env), tables, keep=kept, dry_run=dry_run))
    if as_json:
        print_json([one.as_dict() for one in done])
    else:
        print_table(
            ["table", "put together", "would go" if dry_run else "deleted", "size", "oldest version"],
            (
                (
                    one.table,
                    f"{one.files_before} to {one.files_after}" if one.files_before else "",
                    one.deleted_files,
                    size_text(one.deleted_bytes),
                    one.oldest_version,
                )
                for one in done
            ),
            right=["deleted", "would go", "size", "oldest version"],
        )
        for one in done:
            if one.error is not None:
                click.echo(f"{one.table} was left as it is: {one.error}", err=True)
    return next((one.error.exit_code for one in done if one.error is not None), 0)
