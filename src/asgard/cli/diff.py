"""`asgard diff`."""

from __future__ import annotations

from typing import Any

import click

from asgard.cli.options import json_option, open_tables, project_options
from asgard.cli.output import print_json, print_table

DIFFERENT = 1


@click.command()
@click.argument("a")
@click.argument("b", required=False, default="")
@click.option(
    "--key", "keys", multiple=True, help="A column that tells rows apart; several times for several."
)
@click.option("--at", "versions", multiple=True, type=int, help="Version of A; given again, that of B.")
@click.option("--ignore", multiple=True, help="A column to leave out.")
@click.option("--metadata", is_flag=True, help="Compare what loads say of themselves, too: run, instant.")
@click.option(
    "--samples", default=5, show_default=True, type=click.IntRange(0, 1000), help="Rows to show of each kind."
)
@project_options
@json_option
def diff(
    a: str,
    b: str,
    keys: tuple[str, ...],
    versions: tuple[int, ...],
    ignore: tuple[str, ...],
    metadata: bool,
    samples: int,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> int:
    """Compare two tables, or two versions of one: columns, rows, values.

    A, B: tables, as silver.orders; dev:silver.orders is the one of an environment. Without B it is A again.
    Ends with 0 when they are equal, with 1 when they are not.
    """
    from asgard.app.tables.diff import DiffWish, diff_as_dict
    from asgard.app.tables.diff import diff as compare

    if len(versions) > 2:
        raise click.UsageError("--at goes once for A and once for B")
    at = [*versions, None, None]
    wish = DiffWish(a, b, at[0], at[1], keys, ignore, metadata, samples)
    found = compare(lambda name: open_tables(project, name or env), wish)
    said = diff_as_dict(found)
    if as_json:
        print_json(said)
    else:
        _show(said)
    return 0 if found.is_equal else DIFFERENT


def _show(said: dict[str, Any]) -> None:
    schema = said["schema"]
    for name, kind in schema["added"].items():
        click.secho(f"+ {name} {kind}", fg="green")
    for name in schema["removed"]:
        click.secho(f"- {name}", fg="red")
    for name, (before, after) in schema["changed"].items():
        click.secho(f"~ {name} {before} -> {after}", fg="yellow")
    if said["not_compared"]:
        click.echo(f"not compared, for their types: {', '.join(said['not_compared'])}")
    counts = {"only_a": "only in a", "only_b": "only in b", "changed": "changed"}
    for kind, words in counts.items():
        if said["differences"][kind]:
            click.secho(f"\n{said['differences'][kind]:,} {words}", bold=True)
            if kind == "changed":
                told = (f"{name} {count:,}" for name, count in said["changed_columns"].items())
                click.echo("  by column: " + ", ".join(told))
                _show_changed(said["samples"][kind])
            elif rows := said["samples"][kind]:
                print_table(list(rows[0]), (list(row.values()) for row in rows))
    verdict = "equal" if said["equal"] else "different"
    colour = "green" if said["equal"] else "red"
    rows = f"{said['rows']['a']:,} rows in a, {said['rows']['b']:,} in b"
    click.echo(f"{click.style(verdict, fg=colour, bold=True)}: {rows}", err=True)


def _show_changed(rows: list[dict[str, Any]]) -> None:
    lines = [
        (", ".join(f"{key} {value}" for key, value in row["key"].items()), name, _said(one), _said(two))
        for row in rows
        for name, (one, two) in row["columns"].items()
    ]
    print_table(["key", "column", "a", "b"], lines)


def _said(value: Any) -> str:
    return "NULL" if value is None else str(value)
