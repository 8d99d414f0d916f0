"""`asgard audit`."""

from __future__ import annotations

import json

import click

from asgard.cli.options import json_option, opened_access, project_options
from asgard.cli.output import cell_text, print_json, print_table


@click.group(invoke_without_command=True)
@click.option("--who", metavar="NAME", help="Only what they did.")
@click.option("--action", metavar="ACTION", help="Only this: tokens.create.")
@click.option("--outcome", type=click.Choice(["done", "refused", "failed"]), help="Only what ended so.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@click.option("--before", metavar="NUMBER", type=click.IntRange(1), help="Only older ones: the next page.")
@project_options
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    who: str | None,
    action: str | None,
    outcome: str | None,
    limit: int,
    before: int | None,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Show who did what, when, from where, and how it ended; the newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.access.audit import AuditWish, audit_entries

    with opened_access(project, env) as (access, by):
        page = audit_entries(access, by, AuditWish(who, action, outcome, before, limit))
    if as_json:
        print_json({"entries": page.items, "next": page.next})
        return
    print_table(
        ["number", "at (UTC)", "who", "action", "target", "from", "outcome", "detail"],
        (
            (
                str(one["number"]),
                one["at"][:19].replace("T", " "),
                one["who"],
                one["action"],
                one["target"],
                one["address"],
                one["outcome"],
                cell_text(json.dumps(one["detail"]) if one["detail"] else ""),
            )
            for one in page.items
        ),
    )
    if page.next is not None:
        click.echo(f"more: --before {page.next}", err=True)


@audit.command()
@click.option("--expect", metavar="HEAD", help="What an earlier verify printed, kept elsewhere.")
@project_options
@json_option
def verify(expect: str | None, project: str | None, env: str | None, as_json: bool) -> None:
    """Check that no entry was changed, taken away or put in; exit code 4 if one was."""
    from asgard.app.access.audit import verify_audit

    with opened_access(project, env) as (access, by):
        found = verify_audit(access, by, expect)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['entries']} entries are as they were written; the last is {found['head']}")
