"""`asgard tokens`."""

from __future__ import annotations

import click

from asgard.cli.options import json_option, opened_access, project_options
from asgard.cli.output import print_json, print_table
from asgard.cli.users import role_option


@click.group()
def tokens() -> None:
    """Make, list and revoke the tokens by which programs show who they are."""


@tokens.command()
@click.option("--name", required=True, help="What it is for.")
@role_option
@click.option("--user", metavar="NAME", help="Whose it is: it may never more than they may.")
@click.option("--source", "sources", metavar="NAME", multiple=True, help="Good for this source; repeatable.")
@click.option(
    "--pipeline", "pipelines", metavar="NAME", multiple=True, help="Good for this pipeline; repeatable."
)
@click.option("--expires", metavar="DURATION", default="90d", show_default=True, help="Its life, or: never.")
@project_options
@json_option
def create(
    name: str,
    role: str,
    user: str | None,
    sources: tuple[str, ...],
    pipelines: tuple[str, ...],
    expires: str,
    project: str | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Make a token and print it. It is never shown again: what is kept is a hash of it."""
    from asgard.app.access.tokens import TokenWish, create_token
    from asgard.app.config.quantities import parse_duration

    seconds = None if expires == "never" else parse_duration(expires)
    with opened_access(project, env) as (access, by):
        known, text = create_token(access, by, TokenWish(name, role, user, sources, pipelines, seconds))
    if as_json:
        print_json({**known, "text": text.get_secret_value()})
        return
    until = f"until {known['expires_at']}" if "expires_at" in known else "without an end"
    click.echo(text.get_secret_value())
    click.echo(f"token {known['token']} is {known['role']} {until}; it is not shown again", err=True)


@tokens.command("list")
@click.option("--user", metavar="NAME", help="Only those of this user.")
@click.option("--all", "with_ended", is_flag=True, help="Also those that were revoked or have expired.")
@project_options
@json_option
def list_(user: str | None, with_ended: bool, project: str | None, env: str | None, as_json: bool) -> None:
    """List the tokens, the oldest first; never their text."""
    from asgard.app.access.tokens import list_tokens

    with opened_access(project, env) as (access, by):
        found = [one for one in list_tokens(access, by, user) if with_ended or "ended" not in one]
    if as_json:
        print_json({"tokens": found})
        return
    print_table(
        ["token", "name", "role", "user", "only for", "expires (UTC)", "used (UTC)", "ended"],
        (
            (
                one["token"],
                one["name"],
                one["role"],
                one.get("owner"),
                " ".join([*one.get("sources", []), *one.get("pipelines", [])]),
                one.get("expires_at", "never")[:19],
                one.get("used_at", "")[:19],
                one.get("ended"),
            )
            for one in found
        ),
    )


@tokens.command()
@click.argument("token")
@project_options
@json_option
def revoke(token: str, project: str | None, env: str | None, as_json: bool) -> None:
    """End the token with the id TOKEN for good, at once."""
    from asgard.app.access.tokens import revoke_token

    with opened_access(project, env) as (access, by):
        known = revoke_token(access, by, token)
    if as_json:
        print_json(known)
    else:
        click.echo(f"token {token} is revoked")
