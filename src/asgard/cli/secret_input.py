"""Secrets that a person types, or a program hands over, unseen by everybody else."""

from __future__ import annotations

import sys

import click

from asgard.core.errors import ConfigError


def read_secret(prompt: str) -> str:
    """Asks twice and unseen, or takes standard input without its last newline.

    It cannot be an argument: those stay in the shell's history, and everybody on the machine sees them.

    Raises:
        ConfigError: it is no text.
    """
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
    try:
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # whose text quotes what was read
        raise ConfigError(f"the {prompt} is no UTF-8 text", hint="encode it, for example by base64") from None
