"""`asgard backup`, `asgard restore`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, open_tables, open_workspace, project_options
from asgard.cli.output import print_json, print_table, size_text

if TYPE_CHECKING:
    from asgard.app.backup.restore import Restored

NEEDS_A_PERSON = 4


@click.command()
@click.argument("destination")
@click.option("--with-project", is_flag=True, help="Also keep asgard.yml, models and contracts.")
@project_options
@json_option
def backup(destination: str, with_project: bool, project: str | None, env: str | None, as_json: bool) -> int:
    """Write a backup to DESTINATION, a new file or a folder, while the project goes on working.

    It holds the state (history, queue, users, documents, logs, suites), the secrets as they are encrypted,
    and the position records of all tables. It holds neither the rows of tables nor the key of the secrets.
    """
    from asgard.app.backup.backup import backup as do_backup

    opened = open_workspace(project, env) if with_project else open_tables(project, env)
    done = do_backup(opened, destination, _progress("kept", as_json), with_project=with_project)
    code = next((error.exit_code for error in done.failed.values()), 0)
    if as_json:
        print_json(done.as_dict())
        return code
    for table, error in done.failed.items():
        click.echo(f"{table} is not in it: {error.what}", err=True)
    click.echo(f"{done.file} has {len(done.manifest.members)} parts, {size_text(done.size_bytes)}")
    if done.manifest.secrets is not None:
        click.echo(
            f"its secrets need the key {done.manifest.secrets.key_id}.key, which is not in it: keep a copy"
        )
    return code


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), metavar="FOLDER", help="The folder of the project.")
@click.option("--keep", is_flag=True, help="Leave what is there; bring back what is missing.")
@click.option("--overwrite", is_flag=True, help="Put the backup's in place of what is there.")
@click.option(
    "--dry-run", is_flag=True, help="Read all of the backup, change nothing, say what would be done."
)
@project_options
@json_option
def restore(
    source: Path,
    into: Path | None,
    keep: bool,
    overwrite: bool,
    dry_run: bool,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> int:
    """Bring back what the backup SOURCE holds, where it is lost. Stop asgard serve and asgard worker first.

    Tables keep their rows, and the position that their own last commit says; records that were lost are
    brought back. Exit code 4: all is done, and a table is in a state that a person has to decide about.
    """
    from asgard.app.backup.places import Existing
    from asgard.app.backup.restore import RestoreWish
    from asgard.app.backup.restore import restore as do_restore

    if keep and overwrite:
        raise click.UsageError("--keep and --overwrite exclude each other")
    existing = Existing.KEEP if keep else Existing.REPLACE if overwrite else Existing.REFUSE
    wish = RestoreWish(source, into, existing, dry_run)
    done = do_restore(wish, project, env, _progress("read", as_json))
    if as_json:
        print_json(done.as_dict())
    else:
        _show(done)
    return NEEDS_A_PERSON if done.needs_a_person else 0


def _progress(verb: str, as_json: bool) -> Callable[[str, int], None]:
    """One line that is written over, on a terminal; nothing elsewhere."""
    if as_json or not sys.stderr.isatty():
        return lambda name, size: None
    total = 0

    def tell(name: str, size: int) -> None:
        nonlocal total
        total += size
        click.echo(f"\r\x1b[K{verb} {size_text(total)}: {name}", nl=False, err=True)

    click.get_current_context().call_on_close(lambda: click.echo("\r\x1b[K", nl=False, err=True))
    return tell


def _show(done: Restored) -> None:
    if done.dry_run:
        click.echo("nothing is changed; this is what a restore would do")
    print_table(
        ["part", "size", "then"],
        ((part.place.member.name, size_text(part.place.member.size_bytes), part.fate) for part in done.parts),
        right=["size"],
    )
    click.echo()
    print_table(
        ["table", "compared with the backup", "version", "in the backup", "records brought back"],
        (
            (one.table, one.standing, one.version, one.kept, one.brought + one.rebuilt or None)
            for one in done.tables
        ),
        right=["version", "in the backup", "records brought back"],
    )
    for one in done.tables:
        for stream, why in one.lost.items():
            click.echo(f"{one.table} {stream}: {why}", err=True)
        if one.hint:
            click.echo(f"{one.table} ({one.standing}): {one.hint}", err=True)
    after = done.after
    for count, what in (
        (after.jobs, "jobs ran at the backup: they wait again"),
        (len(after.schedules), "schedules go on from now: what was missed is made up for once"),
        (after.sessions, "sessions are ended: people sign in again"),
    ):
        if count:
            click.echo(f"{count} {what}")
    if done.set_aside is not None:
        click.echo(f"what was replaced lies in {done.set_aside}")
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
