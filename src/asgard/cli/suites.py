"""`asgard suites`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from asgard.cli.options import json_option, open_tables, open_workspace, project_options
from asgard.cli.output import print_json, print_table

if TYPE_CHECKING:
    from asgard.app.checks.expectation_store import ExpectationStores


def _stores(project: str | None, env: str | None) -> ExpectationStores:
    from asgard.app.checks.expectation_store import ExpectationStores
    from asgard.app.runs.history import place

    return ExpectationStores(place(project, env)[0])


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def suites(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List suites of Great Expectations; take one over, write one, run checkpoints."""
    if ctx.invoked_subcommand is None:
        names = _stores(project, env).suites.names()
        print_json(names) if as_json else print_table(["suite"], ([name] for name in names))


@suites.command("import")
@click.argument("file", type=click.Path())
@click.option("--name", default="", help="What it is called here; by default as it calls itself.")
@click.option("--partial", is_flag=True, help="Take it although some expectations cannot be asked.")
@project_options
@json_option
def import_(file: str, name: str, partial: bool, project: str | None, env: str | None, as_json: bool) -> None:
    """Take over the suite in FILE, of Great Expectations 0.x or 1.x."""
    from pathlib import Path

    from asgard.app.checks.suites import import_suite

    suite = import_suite(_stores(project, env), Path(file), name, partial=partial)
    if as_json:
        print_json({"suite": name or suite.name, "checks": len(suite.checks), "refused": list(suite.refused)})
        return
    click.echo(f"{name or suite.name}: {len(suite.checks)} checks")
    for refused in suite.refused:
        click.secho(f"  left out: {refused}", fg="yellow")


@suites.command("show")
@click.argument("name")
@project_options
@json_option
def show(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show what the suite NAME asks, as entries of `checks:` of asgard.yml."""
    from asgard.app.checks.suites import entries_of
    from asgard.app.config.text_files import yaml_of

    entries = entries_of(_stores(project, env), name)
    print_json(entries) if as_json else click.echo(yaml_of({"checks": entries}), nl=False)


@suites.command("write")
@click.argument("table")
@click.option("-o", "--output", metavar="FILE", help="Where to; by default the terminal.")
@click.option("--name", default="", help="The suite's name; by default the table's.")
@click.option("--gx", type=click.Choice(["0", "1"]), default="1", help="For Great Expectations 0.x or 1.x.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@project_options
def write(
    table: str, output: str | None, name: str, gx: str, force: bool, project: str | None, env: str | None
) -> None:
    """Write a suite with the checks of TABLE, for Great Expectations."""
    import json
    from pathlib import Path

    from asgard.app.checks.suites import suite_of_table
    from asgard.app.config.text_files import write_file

    document, left_out = suite_of_table(open_workspace(project, env), table, name or table, int(gx))
    text = json.dumps(document, indent=2, default=str) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(Path(output), text, replace=force)
    for check in left_out:
        click.secho(f"left out, Great Expectations has nothing like it: {check}", fg="yellow", err=True)


@suites.command("checkpoint")
@click.argument("name")
@click.option("--table", required=True, help="The table whose rows are asked about.")
@click.option("--suite", "suites", multiple=True, required=True, help="A suite; may be given several times.")
@click.option("--column", help="The column that batches are told apart by.")
@click.option("--by", type=click.Choice(["value", "day"]), default="value", help="A batch a value, or a day.")
@click.option("--value", help="The only batch; by default each by itself.")
@click.option("--report", metavar="FILE", help="Write a report; `store` for the state folder.")
@click.option("--alert", metavar="COMMAND", help="Run this when something failed; JSON is its input.")
@project_options
@json_option
def checkpoint(
    name: str,
    table: str,
    suites: tuple[str, ...],
    column: str | None,
    by: str,
    value: str | None,
    report: str | None,
    alert: str | None,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Keep the checkpoint NAME: suites, a table, its batches, and what is done with the answers."""
    import shlex

    from asgard.app.checks.checkpoints import put_checkpoint

    document: dict[str, Any] = {"name": name, "table": table, "suites": list(suites)}
    document["batch"] = {"column": column, "by": by, "value": value}
    document["actions"] = {"report": report, "alert": shlex.split(alert or "")}
    kept = put_checkpoint(_stores(project, env), document)
    if as_json:
        print_json(kept.model_dump(mode="json"))
    else:
        click.echo(f"{name} is kept; asgard suites run {name}")


@suites.command("checkpoints")
@project_options
@json_option
def checkpoints(project: str | None, env: str | None, as_json: bool) -> None:
    """List checkpoints."""
    found = list(_stores(project, env).checkpoints.all())
    if as_json:
        print_json(found)
    else:
        rows = ((one["name"], one["table"], ", ".join(one["suites"])) for one in found)
        print_table(["checkpoint", "table", "suites"], rows)


@suites.command("run")
@click.argument("name")
@click.option("--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the suites.")
@project_options
@json_option
def run(name: str, given: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Run the checkpoint NAME: exit code 4 when something failed."""
    from asgard.app.checks.checkpoints import run_checkpoint
    from asgard.app.checks.suites import parameters_of

    found = run_checkpoint(open_tables(project, env), name, parameters_of(given))
    if as_json:
        print_json(
            [{"suite": one.suite, "batch": one.batch, "success": one.success,
              "results": [result.as_dict() for result in one.results]} for one in found]
        )  # fmt: skip
    else:
        print_table(
            ["", "suite", "batch", "check", "result"],
            (("✓" if r.passed else "✗", one.suite, one.batch, r.check.name, r.message)
             for one in found for r in one.results),
        )  # fmt: skip
    return 0 if all(one.success for one in found) else 4


@suites.command("validations")
@click.option("--limit", default=20, show_default=True, help="The newest.")
@project_options
@json_option
def validations(limit: int, project: str | None, env: str | None, as_json: bool) -> None:
    """List what checkpoints found, the newest first."""
    store = _stores(project, env).validations
    found = [store.get(name) for name in store.names()[::-1][:limit]]
    if as_json:
        print_json(found)
        return
    print_table(
        ["", "at", "checkpoint", "suite", "batch", "failed"],
        (("✓" if one["success"] else "✗", str(one["at"])[:19], one["checkpoint"], one["suite"], one["batch"],
          one["statistics"]["unsuccessful"]) for one in found),
    )  # fmt: skip
