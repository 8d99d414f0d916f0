"""The command `asgard`: finds the subcommand, imports that one alone, turns errors into texts and exit codes.

Exit codes: 0 done, 2 configuration, 3 refused, 4 data or checks, 5 unreachable, 70 bug, 130 cancelled.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback

import click

from asgard.core.errors import AsgardError, Bug

COMMANDS = {
    "init": ("asgard.cli.project:init", "Write a first asgard.yml, from a connection that is tried."),
    "demo": (
        "asgard.cli.project:demo",
        "Real data to silver and gold on this machine, in under two minutes.",
    ),
    "check": ("asgard.cli.sources:check", "Try the connection of every source."),
    "discover": ("asgard.cli.sources:discover", "List what a source has."),
    "sample": ("asgard.cli.sources:sample", "Show the first rows of a stream, before any load."),
    "plan": ("asgard.cli.plan:plan", "Show which models a run would build, and why."),
    "run": ("asgard.cli.runs:run", "Load sources and build models."),
    "promote": ("asgard.cli.promote:promote", "Make the tables of an environment production's."),
    "runs": ("asgard.cli.runs:runs", "List past runs, show one, or its log."),
    "jobs": ("asgard.cli.jobs:jobs", "List jobs; add, show, cancel or rerun one."),
    "schedules": ("asgard.cli.schedules:schedules", "List schedules; pause, resume, run one now."),
    "serve": ("asgard.cli.serve:serve", "Serve the REST API, and run its jobs."),
    "worker": ("asgard.cli.worker:worker", "Run jobs, and what schedules have due."),
    "query": ("asgard.cli.tables:query", "Ask the lake in SQL."),
    "tables": ("asgard.cli.tables:tables", "List tables; show, undo, or look into the quarantine of one."),
    "resync": ("asgard.cli.tables:resync", "Read a table anew from its source at the next run."),
    "diff": ("asgard.cli.diff:diff", "Compare two tables, or two versions of one."),
    "lineage": ("asgard.cli.lineage:lineage", "Show what columns are made of, and what is made of them."),
    "models": ("asgard.cli.models:models", "List models and what they read."),
    "checks": ("asgard.cli.checks:checks", "Run the checks of tables; suggest some, report on them."),
    "contracts": ("asgard.cli.contracts:contracts", "Check tables against data contracts; write one."),
    "suites": ("asgard.cli.suites:suites", "Great Expectations: take suites over, run checkpoints."),
    "airbyte": ("asgard.cli.airbyte:airbyte", "Run connections of an Airbyte server."),
    "secrets": ("asgard.cli.secrets:secrets", "Keep secrets encrypted; list, rotate, delete them."),
    "users": ("asgard.cli.users:users", "List users; create, disable one, set its role or password."),
    "tokens": ("asgard.cli.tokens:tokens", "List API tokens; create or revoke one."),
    "audit": ("asgard.cli.audit:audit", "Show who did what; verify that nobody tampered with it."),
    "maintain": ("asgard.cli.maintain:maintain", "Put files together, delete what nobody needs."),
    "backup": ("asgard.cli.backup:backup", "Keep the state, the secrets and all positions in one file."),
    "restore": ("asgard.cli.backup:restore", "Bring back what a backup holds."),
    "doctor": ("asgard.cli.doctor:doctor", "Examine the project, its state, tables and sources."),
    "export": ("asgard.cli.export:export", "Print what other systems take: manifests of Kubernetes."),
    "config": ("asgard.cli.config:config", "Validate the project, explain a value, print the JSON Schema."),
}


OBJECTS_BEFORE_COLLECTION = 50_000
"""Python's own figure, 700, is for programs whose objects do not stay."""


class LazyCommands(click.Group):
    """A group whose subcommands are imported when they are called: help must not wait for drivers."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a newcomer's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="asgard-platform", prog_name="asgard")
def asgard() -> None:
    """Moves data from databases, files and APIs into an open lakehouse, and proves that it is right.

    Begin with `asgard demo`, or with `asgard init` in a folder of your own.
    """


def main() -> None:
    """The entry point of the command."""
    # Starting up makes many objects that stay: looking among them for garbage takes a tenth of a short run.
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    try:
        code = asgard.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (a pager, `head`): that is no error, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except AsgardError as error:
        _show(error)
        sys.exit(error.exit_code)
    except Exception as error:
        trace = traceback.format_exc()
        bug = Bug(f"{type(error).__name__}: {error}", hint="a mistake in Asgard; please report it:\n" + trace)
        _show(bug)
        sys.exit(bug.exit_code)


def _show(error: AsgardError) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": error.as_dict()}))
        return
    place = ", ".join(f"{key} {value}" for key, value in error.where.items())
    click.secho("error" + (f" ({place})" if place else ""), fg="red", bold=True, err=True)
    click.echo(f"  {error.what}".replace("\n", "\n  "), err=True)
    if error.hint:
        click.secho("hint", fg="yellow", bold=True, err=True, nl=False)
        click.echo("  " + error.hint.replace("\n", "\n  "), err=True)
