"""`asgard secrets`: the project's own encrypted store."""

from __future__ import annotations

import click

from asgard.app.secrets import secrets as wishes
from asgard.cli.options import json_option
from asgard.cli.output import print_json, print_table
from asgard.cli.secret_input import read_secret

project_option = click.option(
    "-p", "--project", metavar="FILE", help="The project file; default: asgard.yml here or above."
)


@click.group()
def secrets() -> None:
    """Keep secrets encrypted beside the project; asgard.yml refers to them by ${store:NAME}."""


@secrets.command("set")
@click.argument("name")
@project_option
@json_option
def set_(name: str, project: str | None, as_json: bool) -> None:
    """Put the secret NAME in, or a new value in its place.

    The value is asked for, twice and unseen, or read from standard input without its last newline. It cannot
    be an argument: those stay in the shell's history, and everybody on the machine sees them.
    """
    value = read_secret("value")
    done = wishes.set_secret(project, name, value)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{name} is in {done['store']}; the key rests in {done['key']}")


@secrets.command()
@click.argument("name")
@click.option("--show", is_flag=True, help="Print the value, and nothing else.")
@project_option
@json_option
def get(name: str, show: bool, project: str | None, as_json: bool) -> None:
    """Say whether the secret NAME is there and can be opened; with --show, print it."""
    value = wishes.get_secret(project, name)
    if as_json:
        print_json({"name": name, **({"value": value} if show else {})})
    else:
        click.echo(value if show else f"{name} is there and can be opened; --show prints it")


@secrets.command("list")
@project_option
@json_option
def list_(project: str | None, as_json: bool) -> None:
    """List the names, and when each was set."""
    entries = wishes.list_secrets(project)
    if as_json:
        print_json({"secrets": entries})
    else:
        print_table(["name", "set at"], [(entry["name"], entry["set_at"]) for entry in entries])


@secrets.command()
@project_option
@json_option
def rotate(project: str | None, as_json: bool) -> None:
    """Lock every secret anew: with a new key in the key file, or with the first of ASGARD_SECRET_KEY."""
    done = wishes.rotate_secrets(project)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['secrets']} secrets are locked anew; the key rests in {done['key']}")


@secrets.command()
@click.argument("name")
@project_option
def delete(name: str, project: str | None) -> None:
    """Take the secret NAME away."""
    wishes.delete_secret(project, name)
    click.echo(f"{name} is gone")


@secrets.command()
def key() -> None:
    """Print a new key, for ASGARD_SECRET_KEY or masking_key; nothing is changed."""
    click.echo(wishes.new_secret_key())
