"""`asgard users`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from asgard.app.access.roles import ROLES
from asgard.cli.options import json_option, opened_access, project_options
from asgard.cli.output import print_json, print_table
from asgard.cli.secret_input import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

role_option = click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What they may do."
)


@click.group(invoke_without_command=True)
@project_options
@json_option
@click.pass_context
def users(ctx: click.Context, project: str | None, env: str | None, as_json: bool) -> None:
    """List users; create or disable one, set a role or a password."""
    if ctx.invoked_subcommand is not None:
        return
    from asgard.app.access.users import list_users

    with opened_access(project, env) as (access, by):
        found = list_users(access, by)
    if as_json:
        print_json({"users": found})
        return
    print_table(
        ["user", "role", "password", "created (UTC)", "disabled (UTC)"],
        (
            (u["user"], u["role"], u["has_password"], u["created_at"][:19], u.get("disabled_at", "")[:19])
            for u in found
        ),
    )


@users.command()
@click.argument("name")
@role_option
@click.option("--without-password", is_flag=True, help="One who works with tokens alone.")
@project_options
@json_option
def create(
    name: str, role: str, without_password: bool, project: str | None, env: str | None, as_json: bool
) -> None:
    """Create the user NAME. The password is asked for, twice and unseen, or read from standard input."""
    from asgard.app.access.users import create_user

    password = None if without_password else read_secret("password")
    with opened_access(project, env) as (access, by):
        _show(create_user(access, by, name, role, password), as_json)


@users.command()
@click.argument("name")
@project_options
@json_option
def show(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Show the user NAME, and the sessions that are open."""
    from asgard.app.access.users import user

    with opened_access(project, env) as (access, by):
        found = user(access, by, name)
    if as_json:
        print_json(found)
        return
    sessions = found.pop("sessions")
    print_table(["", "value"], found.items())
    if sessions:
        click.echo()
        print_table(["session", "address", "since (UTC)", "until (UTC)"], (one.values() for one in sessions))


@users.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@project_options
@json_option
def role(name: str, role: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Give the user NAME another ROLE; it counts at once, for tokens and sessions too."""
    from asgard.app.access.users import change_role

    with opened_access(project, env) as (access, by):
        _show(change_role(access, by, name, role), as_json)


@users.command()
@click.argument("name")
@project_options
def password(name: str, project: str | None, env: str | None) -> None:
    """Set the password of the user NAME, asked for unseen or read from standard input; their sessions end."""
    from asgard.app.access.users import set_password

    text = read_secret("password")
    with opened_access(project, env) as (access, by):
        set_password(access, by, name, text)
    click.echo(f"user {name} has another password; their sessions have ended")


@users.command("sign-out")
@click.argument("name")
@project_options
def sign_out(name: str, project: str | None, env: str | None) -> None:
    """End every session of the user NAME, at once."""
    from asgard.app.access.users import end_sessions

    with opened_access(project, env) as (access, by):
        click.echo(f"{end_sessions(access, by, name)} sessions of user {name} have ended")


@users.command()
@click.argument("name")
@project_options
@json_option
def disable(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Take all rights of the user NAME away, at once; their tokens are refused."""
    from asgard.app.access.users import disable_user

    _set(disable_user, name, project, env, as_json)


@users.command()
@click.argument("name")
@project_options
@json_option
def enable(name: str, project: str | None, env: str | None, as_json: bool) -> None:
    """Let the user NAME work again."""
    from asgard.app.access.users import enable_user

    _set(enable_user, name, project, env, as_json)


def _set(
    wish: Callable[..., dict[str, Any]], name: str, project: str | None, env: str | None, as_json: bool
) -> None:
    with opened_access(project, env) as (access, by):
        _show(wish(access, by, name), as_json)


def _show(user: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        click.echo(f"user {user['user']} is {user['role']}{', disabled' if 'disabled_at' in user else ''}")
