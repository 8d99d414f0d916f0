"""`asgard query`, `asgard tables`, `asgard resync`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from itertools import islice

import click

from asgard.cli.options import json_option, open_tables, open_workspace, project_options
from asgard.cli.output import print_json, print_table

SHOWN_ROWS = 100


@click.command()
@click.argument("sql")
@click.option(
    "--at", metavar="WHEN", help="Time travel: a version, or an instant such as 2026-01-31T12:00:00Z."
)
@click.option("--limit", default=SHOWN_ROWS, show_default=True, help="Rows shown; 0 for all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all rows as CSV.")
@project_options
@json_option
def query(
    sql: str, at: str | None, limit: int, as_csv: bool, project: str | None, env: str | None, as_json: bool
) -> None:
    """Ask the lake in SQL: tables are bronze.SOURCE.TABLE, silver.TABLE, gold.TABLE; "-" reads from stdin.

    With --json every row is one JSON line.
    """
    from asgard.app.tables.rows import json_rows, text_rows
    from asgard.app.tables.tables import query as do_query

    statement = sys.stdin.read() if sql == "-" else sql
    with do_query(open_tables(project, env), statement, _moment(at)) as rows:
        if as_json:
            for batch in rows:
                for row in json_rows([batch]):
                    click.echo(json.dumps(row))
        elif as_csv:
            from asgard.app.tables.rows import write_csv

            write_csv(rows, sys.stdout)
        else:
            names = rows.schema.names
            found = list(islice(text_rows(rows), limit + 1 if limit else None))
            print_table(names, found[:limit] if limit else found)
            if limit and len(found) > limit:
                click.secho(f"the first {limit} rows; --limit 0 shows all", dim=True, err=True)


def _moment(at: str | None) -> int | datetime | None:
    if at is None or at.isdecimal():
        return None if at is None else int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise click.BadParameter(
            f"{at!r} is neither a version nor an instant such as 2026-01-31T12:00:00Z", param_hint="--at"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def tables(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List tables; show, undo, or look into the quarantine of one."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.tables.tables import list_tables

    found = list(list_tables(open_tables(project, env)))
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    print_table(
        ["table", "rows", "columns", "version", "changed (UTC)", "set aside"],
        (
            (str(one.name), one.rows, one.columns, one.version, f"{one.changed_at:%Y-%m-%d %H:%M:%S}",
             one.quarantined or None)
            for one in found
        ),
        right=["rows", "columns", "version", "set aside"],
    )  # fmt: skip


@tables.command("show")
@click.argument("table")
@project_options
@json_option
def show(table: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show the columns and the versions of TABLE."""
    from asgard.app.tables.deletes import deletes_in
    from asgard.app.tables.tables import versions

    workspace = open_tables(project, env)
    found = workspace.table(table)
    schema, history, deletes = found.schema(), versions(workspace, table), deletes_in(workspace, found.name)
    if as_json:
        columns = [{"name": f.name, "type": str(f.type), "nullable": f.nullable} for f in schema]
        past = [
            {"version": v.version, "at": v.at.isoformat(), "operation": v.operation, "run": v.run,
             **({} if v.rows_added is None else {"rows_added": v.rows_added})}
            for v in history
        ]  # fmt: skip
        print_json({"columns": columns, **({"deletes": deletes} if deletes else {}), "versions": past})
        return
    rows = ((f.name, f.type, (f.metadata or {}).get(b"asgard.type", b"").decode()) for f in schema)
    print_table(["column", "type", "in the source"], rows)
    click.echo()
    print_table(
        ["version", "at (UTC)", "operation", "rows added", "run"],
        ((v.version, f"{v.at:%Y-%m-%d %H:%M:%S}", v.operation, v.rows_added, v.run) for v in history),
        right=["version", "rows added"],
    )
    if deletes:
        click.echo(f"\nrows that the source deletes are {deletes}")


@tables.command("undo")
@click.argument("table")
@click.confirmation_option(prompt="Take the last load of this table back, data and position?")
@project_options
@json_option
def undo(table: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Take the last load of TABLE back: data and position together."""
    from asgard.app.tables.tables import undo as do_undo

    now = do_undo(open_tables(project, env), table)
    if as_json:
        print_json({"table": table, "version": now.version, "operation": now.operation})
    else:
        click.echo(
            f"{table}: the last load is taken back (version {now.version}); the next run reads it again"
        )


@tables.command("quarantine")
@click.argument("table")
@click.option("--limit", default=20, show_default=True, help="Rows shown.")
@project_options
@json_option
def quarantine(table: str, limit: int, project: str | None, env: str | None, as_json: bool) -> None:
    """Show rows of TABLE that were set aside, each with its reason."""
    from asgard.app.tables.rows import json_rows, text_rows
    from asgard.app.tables.tables import quarantine as do_quarantine

    with do_quarantine(open_tables(project, env), table, limit) as rows:
        if as_json:
            print_json(json_rows(rows))
        else:
            names = rows.schema.names
            order = sorted(range(len(names)), key=lambda i: names[i] != "_asgard_reason")
            shown = [[row[i] for i in order] for row in text_rows(rows)]
            print_table(["reason" if names[i] == "_asgard_reason" else names[i] for i in order], shown)


@click.command()
@click.argument("table")
@click.option(
    "--accept", is_flag=True, help="Trust the position that the table has, instead of reading anew."
)
@project_options
def resync(table: str, accept: bool, project: str | None, env: str | None) -> None:
    """Read TABLE anew from its source at the next run; the rows stay until then.

    Also ends the state in which a table was restored or written by another hand and its position is in
    doubt: --accept goes on from the position as it is.
    """
    from asgard.app.tables.resync import resync as do_resync

    streams = do_resync(open_workspace(project, env), table, accept=accept)
    said = "its position is trusted again" if accept else "the next run reads it from the beginning"
    click.echo(f"{table} ({', '.join(streams)}): {said}")
