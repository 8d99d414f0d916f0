"""`asgard check`, `asgard discover`, `asgard sample`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_workspace, project_options
from asgard.cli.output import print_json, print_table, seconds_text, size_text


@click.command()
@click.argument("sources", nargs=-1)
@project_options
@json_option
def check(sources: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Try the connection of SOURCES, or of every source."""
    from asgard.app.sources.sources import check_sources

    tried = list(check_sources(open_workspace(project, env), sources, lambda event: None))
    if as_json:
        print_json([one.as_dict() for one in tried])
    else:
        for one in tried:
            mark = click.style("✓", fg="green") if one.error is None else click.style("✗", fg="red")
            click.echo(f"{mark} {one.source} ({one.type}, {seconds_text(one.seconds)})")
            if one.error is not None:
                click.echo(f"    {one.error.what}")
                if one.error.hint:
                    click.echo(f"    hint: {one.error.hint}")
    return next((one.error.exit_code for one in tried if one.error is not None), 0)


@click.command()
@click.argument("source")
@click.argument("pattern", default="*")
@click.option("--columns", is_flag=True, help="Show every column with its type.")
@project_options
@json_option
def discover(
    source: str, pattern: str, columns: bool, project: str | None, env: str | None, as_json: bool
) -> None:
    """List what SOURCE has; PATTERN is a glob over names, for example "public.*"."""
    from asgard.app.sources.sources import discover as do_discover

    streams = do_discover(open_workspace(project, env), source, pattern)
    if as_json:
        print_json(
            [
                {
                    "name": stream.full_name,
                    "primary_key": list(stream.primary_key),
                    "cursor_candidates": list(stream.cursor_candidates),
                    "columns": {field.name: str(field.type) for field in stream.schema},
                    **({} if stream.rows is None else {"estimated_rows": stream.rows}),
                    **({} if stream.size_bytes is None else {"estimated_bytes": stream.size_bytes}),
                }
                for stream in streams
            ]
        )
    elif columns:
        for stream in streams:
            rows = ((field.name, field.type, "" if field.nullable else "not null") for field in stream.schema)
            print_table(["column", "type", ""], rows, title=stream.full_name)
    else:
        print_table(
            ["stream", "rows (about)", "size", "columns", "primary key", "cursor could be"],
            (
                (
                    stream.full_name,
                    stream.rows,
                    size_text(stream.size_bytes),
                    len(stream.schema),
                    ", ".join(stream.primary_key),
                    ", ".join(stream.cursor_candidates[:3]),
                )
                for stream in streams
            ),
            right=["rows (about)", "size", "columns"],
        )


@click.command()
@click.argument("stream")
@click.option("--rows", default=10, show_default=True, help="How many rows.")
@project_options
@json_option
def sample(stream: str, rows: int, project: str | None, env: str | None, as_json: bool) -> None:
    """Show the first rows of STREAM (source.stream) as the source gives them; nothing is written."""
    from asgard.app.sources.sources import sample as do_sample
    from asgard.app.tables.rows import json_rows, text_rows

    table = do_sample(open_workspace(project, env), stream, rows)
    if as_json:
        print_json(json_rows(table.to_batches()))
    else:
        print_table(table.schema.names, text_rows(table.to_batches()))
