"""`asgard contracts`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, open_workspace, project_options
from asgard.cli.output import print_json, print_table


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def contracts(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List data contracts (ODCS); check tables against them, show one, write one."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.checks.contracted_tables import named_contracts

    found = named_contracts(open_workspace(project, env))
    if as_json:
        print_json([{"table": one.table, "contract": one.file} for one in found])
    else:
        print_table(["table", "contract"], ((one.table, one.file) for one in found))


@contracts.command("check")
@click.argument("tables", nargs=-1)
@project_options
@json_option
def check(tables: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Ask what the contracts of TABLES (or of all) say of the tables as they are now."""
    from asgard.app.checks.contracted_tables import check_contracts

    found = list(check_contracts(open_workspace(project, env), tables))
    if as_json:
        print_json([{"table": name, **result.as_dict()} for name, result in found])
    else:
        print_table(
            ["", "table", "rule", "result"],
            (("✓" if r.passed else "✗", name, r.check.name, r.message) for name, r in found),
        )
    failed = sum(not result.passed and str(result.check.on_fail) != "warn" for _, result in found)
    return 4 if failed else 0


@contracts.command("show")
@click.argument("file")
@click.option("--table", default="", help="What the contract calls the table, where it has several.")
@json_option
def show(file: str, table: str, as_json: bool) -> None:
    """Show what the contract FILE asks, and what it says for people alone."""
    from pathlib import Path

    from asgard.app.checks.contract_files import read_contract_file

    found = read_contract_file(Path(), file, table)
    if as_json:
        checks = [{"check": c.name, "kind": c.kind, "columns": list(c.columns)} for c in found.checks]
        print_json({"id": found.id, "version": found.version, "status": found.status, "table": found.table,
                    "checks": checks, "notes": list(found.notes)})  # fmt: skip
        return
    click.echo(f"{found.table}: contract {found.id}, version {found.version}, {found.status}")
    print_table(["check", "kind", "on failure"], ((c.name, c.kind, str(c.on_fail)) for c in found.checks))
    for note in found.notes:
        click.secho(f"  {note}", dim=True)


@contracts.command("write")
@click.argument("table")
@click.option("-o", "--output", metavar="FILE", help="Where to; by default the terminal.")
@click.option(
    "--id", "contract_id", default="", help="The contract's id; by default made of project and table."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@project_options
@json_option
def write(
    table: str,
    output: str | None,
    contract_id: str,
    force: bool,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Write a contract from the columns of TABLE and from its checks."""
    from pathlib import Path

    from asgard.app.checks.contracted_tables import contract_of_table
    from asgard.app.config.text_files import write_file, yaml_of

    document = contract_of_table(open_workspace(project, env), table, contract_id)
    if output is not None:
        write_file(Path(output), yaml_of(document), replace=force)
        if not as_json:
            click.echo(f"{output} is written; name it with its table or model: contract: {output}")
    if as_json:
        print_json(document)
    elif output is None:
        click.echo(yaml_of(document), nl=False)
