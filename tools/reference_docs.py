"""Writes the pages of docs that follow from others: commands, connectors, errors, project file, decisions.

Usage: python tools/reference_docs.py [--check]; with --check nothing is written and stale pages are named.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from project_docs import project_file_page
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from asgard.core import errors, registry
from asgard.core.source import Feature

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
GENERATED = "<!-- Written by tools/reference_docs.py: change the code, then `make reference`. -->\n\n"


def errors_page() -> str:
    """The error tree as core/errors.py draws it, and each class with its code."""
    text = "# Errors and exit codes\n\n"
    text += "Every error says what happened, where, and what to do next. Its class says who must act.\n\n"
    drawing = (inspect.getdoc(errors) or "").split("\n\n")
    text += "```text\n" + "\n\n".join(part for part in drawing if "|--" in part) + "\n```\n\n"
    text += "| Error | Exit code | Tried again | Meaning |\n| --- | --- | --- | --- |\n"
    for error in sorted(_errors(errors.AsgardError), key=lambda error: (error.exit_code, error.__name__)):
        again = "yes" if error.retryable else "no"
        text += f"| `{error.__name__}` | {error.exit_code} | {again} | {_first_line(error)} |\n"
    return text


def _errors(root: type[errors.AsgardError]) -> set[type[errors.AsgardError]]:
    return {root} | {found for child in root.__subclasses__() for found in _errors(child)}


def commands_page() -> str:
    """Every command with its arguments and options, from click."""
    command = importlib.import_module("asgard.cli.main").asgard
    text = "# Commands\n\nEvery command says the same with `--help`. Those that read have `--json`.\n"
    for path, found in _commands(("asgard",), command):
        context = click.Context(found, info_name=" ".join(path))
        text += f"\n## `{' '.join(path)}`\n\n{inspect.cleandoc(found.help or '').replace(chr(8), '')}\n\n"
        text += f"```text\n{found.get_usage(context)}\n```\n"
        rows = [record for p in found.get_params(context) if (record := p.get_help_record(context))]
        rows = [row for row in rows if not row[0].startswith("--help")]
        if rows:
            text += "\n| Option | Meaning |\n| --- | --- |\n"
            text += "".join(f"| `{_cell(option)}` | {_cell(meaning)} |\n" for option, meaning in rows)
    return text


def _commands(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=" ".join(path))
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found and not found.hidden:
                yield from _commands((*path, name), found)


def connectors_page() -> str:
    """Every connector of this package: what it is, what it can, its options, its examples."""
    text = "# Connectors\n\nWhat stands below `data_sources: <name>:` with each `type`.\n"
    for name in registry.connector_names():
        connector = registry.connector_class(name)
        module = inspect.getdoc(inspect.getmodule(connector)) or ""
        aliases = sorted(alias for alias, canonical in registry.ALIASES.items() if canonical == name)
        text += f"\n## {name}\n\n{module}\n\n"
        if aliases:
            text += f"Also called {', '.join(f'`{alias}`' for alias in aliases)}.\n\n"
        features = [str(f.name).lower() for f in Feature if f and f in connector.features]
        text += f"Features: {', '.join(f'`{f}`' for f in features) or 'none'}.\n\n"
        text += _options(connector.Config, "Options of the source:")
        text += _options(connector.StreamOptions, "Options of a table, beside those that every table has:")
        for example in connector.examples:
            text += (
                f"\n{example.title}:\n\n```yaml\n{yaml.safe_dump(dict(example.config), sort_keys=False)}```\n"
            )
            if example.note:
                text += f"\n{example.note}\n"
    return text


WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "keys with values"}


def _words(annotation: Any) -> str:
    """A type as people say it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(one) for one in arguments if one is not type(None)))
    if origin in (list, tuple, Sequence):
        return f"list of {_words(arguments[0])}" if arguments else "list"
    if origin in (dict, Mapping):
        return WORDS[dict]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return WORDS[dict]
    return "secret" if annotation is SecretStr else WORDS.get(annotation, "any value")


def _options(model: type[BaseModel], head: str) -> str:
    """A table of the options of a model; empty when it has none."""
    if not model.model_fields:
        return ""
    text = f"\n{head}\n\n| Option | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"
    for option, field in model.model_fields.items():
        meaning = _cell(field.description or "")
        text += f"| `{option}` | {_cell(_words(field.annotation))} | {_default(field)} | {meaning} |\n"
    return text


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default in (None, "", (), PydanticUndefined):
        return ""
    return f"`{_cell(str(field.default))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _first_line(thing: Any) -> str:
    return _cell((inspect.getdoc(thing) or "").split("\n\n")[0])


def decisions_page() -> str:
    """The decisions by number, under their own headings."""
    text = (
        "# Decisions\n\n"
        "One page for each decision that somebody will ask about again: what was decided, why, what else was "
        "looked at, and what\nwould make us decide anew. A page is not rewritten when the decision changes; "
        "a later one replaces it and both say so.\n\n"
    )
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = path.read_text().splitlines()[0].removeprefix("#").strip()
        text += f"- [{title}]({path.name})\n"
    return text


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/connectors.md": connectors_page,
    "reference/errors.md": errors_page,
    "reference/project-file.md": project_file_page,
    "decisions/index.md": decisions_page,
}


def main(arguments: list[str]) -> int:
    """Writes the pages, or names the stale ones; gives 1 if there are any."""
    stale = []
    for name, page in PAGES.items():
        path = DOCS / name
        heading, _, rest = page().partition("\n\n")
        text = f"{heading}\n\n{GENERATED}{rest}"
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in arguments:
            stale.append(name)
        else:
            path.write_text(text)
            print(f"wrote docs/{name}")
    if stale:
        print(f"stale in docs: {', '.join(stale)}; run make reference", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
