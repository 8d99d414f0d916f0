"""`asgard models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asgard.cli.options import json_option, open_tables, open_workspace, project_options
from asgard.cli.output import print_json, print_table

if TYPE_CHECKING:
    from asgard.app.models.model_tests import TestResult

FAILED = 4


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def models(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List models in the order in which they are built, and what they read; test them."""
    if ctx.invoked_subcommand is not None:
        return
    found = open_workspace(project, env).models
    if as_json:
        print_json(
            [
                {"model": str(m.name), "mode": str(m.spec.mode), "reads": sorted(map(str, m.upstream)),
                 "checks": len(m.checks), "description": m.spec.description}
                for m in found
            ]
        )  # fmt: skip
        return
    rows = (
        (str(m.name), str(m.spec.mode), ", ".join(sorted(map(str, m.upstream))), m.spec.description)
        for m in found
    )
    print_table(["model", "mode", "reads", "about"], rows)


@models.command("test")
@click.argument("names", nargs=-1)
@project_options
@json_option
def test(names: tuple[str, ...], project: str | None, env: str | None, as_json: bool) -> int:
    """Run the tests of models: rows that are given, and rows that are expected.

    NAMES: of tests or of models; all without any. Ends with 4 when one fails.
    """
    from asgard.app.models.model_tests import run_tests

    results = []
    for result in run_tests(open_tables(project, env), names):
        results.append(result)
        if not as_json:
            _show(result)
    failed = sum(not result.passed for result in results)
    if as_json:
        print_json([result.as_dict() for result in results])
    else:
        click.echo(f"{len(results) - failed} passed, {failed} failed", err=True)
    return FAILED if failed else 0


def _show(result: TestResult) -> None:
    mark = click.style("passed", fg="green") if result.passed else click.style("failed", fg="red", bold=True)
    click.echo(f"{mark}  {result.test.model}  {result.test.name}")
    if result.passed:
        return
    click.echo(f"  {result.test.place}")
    if result.error:
        click.echo(f"  {result.error}")
        return
    lines = [
        (mark, *row)
        for n in range(max(len(result.missing), len(result.unexpected)))
        for mark, rows in (("- expected", result.missing), ("+ got", result.unexpected))
        for row in rows[n : n + 1]
    ]
    print_table(["", *result.columns], lines)
