"""`${...}` in the project file: what it means, where it is looked up, and what was found there.

    ${NAME}  ${env:NAME}             an environment variable, else the one in `.env` beside the project file
    ${NAME:-text} ${env:NAME:-text}  the text where the variable is unset or empty; it may hold references
    ${file:path}                     the text of a file without its last newline; relative to the project
    ${store:name}                    a secret of our own encrypted store; see `asgard.secrets` for this and
    ${vault:path#key} ${aws:name#key} ${azure:vault/name} ${gcp:name} ${k8s:secret/key}
    $${                              a plain ${

A reference may stand inside of a longer text. What it gives is text, never read again as YAML: a password
`007` stays `007`. No value is in a message (Promise 6). Stores are asked once for one reading of a project.

Reference: https://saurabh-kumar.com/python-dotenv/reference/ for what `.env` may hold
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from asgard.app.config.mistakes import Mistakes, Place, near
from asgard.app.config.yaml_text import Node
from asgard.core.errors import AsgardError, ConfigError
from asgard.secrets.surroundings import STORES, Surroundings, open_store

if TYPE_CHECKING:  # pydantic is behind it, which commands that only look at history do without
    from asgard.core.secret import Secret, SecretStore

LONGEST_FILE_BYTES = 1 << 20
_VARIABLE = re.compile(r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9_+.-]*):(?!-)(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class Lookup:
    """One place where a reference was looked up.

    Attributes:
        place: `environment variable POSTGRES_USER`, `.env:3`, `file secrets/password`, `default`.
        found: whether it had a value; the first that has one wins.
    """

    place: str
    found: bool


@dataclass
class Resolved:
    """A text with its references replaced.

    Attributes:
        text: the result; what could not be resolved is left out.
        referred: whether there was any reference.
        lookups: every place asked, in order.
        mistakes: (reference as written, what, hint).
        failures: (reference as written, error): a store that could not be asked, or gave nothing. Nobody can
            mend those in the file.
    """

    text: str = ""
    referred: bool = False
    lookups: list[Lookup] = field(default_factory=list)
    mistakes: list[tuple[str, str, str]] = field(default_factory=list)
    failures: list[tuple[str, AsgardError]] = field(default_factory=list)


class References:
    """Looks references up for one project.

    Args:
        folder: of the project file: `.env` lies here, and paths of files begin here.
        environ: the environment; it goes before `.env`.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = os.environ if environ is None else environ
        self._stores: dict[str, SecretStore] = {}
        self._asked: dict[tuple[str, str], Secret | AsgardError] = {}

    def variable(self, name: str) -> str | None:
        """A variable's value, from the environment, else from `.env`."""
        return self._environ[name] if name in self._environ else self._dotenv.values.get(name)

    def resolve(self, text: str) -> Resolved:
        """Replaces the references of a text."""
        resolved = Resolved()
        parts: list[str] = []
        at = 0
        while (begin := text.find("${", at)) >= 0:
            if text[begin - 1 : begin] == "$" and begin > at:
                parts += [text[at : begin - 1], "${"]
                at = begin + 2
                continue
            end = _closing_brace(text, begin)
            parts.append(text[at:begin])
            resolved.referred = True
            if end < 0:
                resolved.mistakes.append(
                    (text[begin : begin + 40], "a reference has no closing }", "write $${ for a plain ${")
                )
                at = len(text)
                break
            parts.append(self._one(text[begin + 2 : end], resolved))
            at = end + 1
        resolved.text = "".join([*parts, text[at:]])
        return resolved

    def _one(self, asked: str, resolved: Resolved) -> str:
        written = "${" + asked + "}"
        if variable := _VARIABLE.fullmatch(asked):
            return self._variable(written, variable["name"], variable["default"], resolved)
        scheme = _SCHEME.fullmatch(asked)
        if scheme and scheme["scheme"] == "file":
            return self._file(written, scheme["rest"], resolved)
        if scheme and scheme["scheme"] in STORES:
            return self._stored(written, scheme["scheme"], scheme["rest"], resolved)
        if scheme and scheme["scheme"] != "env":
            what = f"{scheme['scheme']!r} is no kind of reference"
            known = ", ".join(["env", "file", *STORES])
            resolved.mistakes.append((written, what, f"use ${{NAME}}, or ${{KIND:...}} with one of {known}"))
        else:
            what = f"{written.partition(':-')[0][:60]} is no reference"
            resolved.mistakes.append((written, what, "write ${NAME} or ${NAME:-default}; $${ is a plain ${"))
        return ""

    def _variable(self, written: str, name: str, default: str | None, resolved: Resolved) -> str:
        value = self._environ.get(name)
        wanted = value is not None and (value != "" or default is None)
        resolved.lookups.append(Lookup(f"environment variable {name}", wanted))
        if value is not None and wanted:
            return value
        value = self._dotenv.values.get(name) if name not in self._environ else None
        wanted = value is not None and (value != "" or default is None)
        if self._dotenv.exists:
            line = self._dotenv.lines.get(name)
            resolved.lookups.append(Lookup(f".env:{line}" if line else ".env", wanted))
        if value is not None and wanted:
            return value
        if default is not None:
            inner = self.resolve(default)
            resolved.lookups += [Lookup("default in the reference", True), *inner.lookups]
            resolved.mistakes += inner.mistakes
            resolved.failures += inner.failures
            return inner.text
        resolved.mistakes.append((written, f"the variable {name} is not set", self._remedy(name)))
        return ""

    def _stored(self, written: str, scheme: str, name: str, resolved: Resolved) -> str:
        if ":-" in name:
            what = f"a reference to {scheme} takes no default"
            resolved.mistakes.append((f"${{{scheme}:", what, "leave the :- and what follows it out"))
            return ""
        if scheme not in self._stores:
            self._stores[scheme] = open_store(scheme, Surroundings(self._folder, self.variable))
        store = self._stores[scheme]
        if (scheme, name) not in self._asked:
            try:
                self._asked[scheme, name] = store.read(name)
            except AsgardError as error:
                self._asked[scheme, name] = error
        found = self._asked[scheme, name]
        resolved.lookups.append(Lookup(store.where(name), not isinstance(found, AsgardError)))
        if isinstance(found, ConfigError):
            resolved.mistakes.append((written, found.what, found.hint))
        elif isinstance(found, AsgardError):
            resolved.failures.append((written, found))
        else:
            return found.get_secret_value()
        return ""

    def _remedy(self, name: str) -> str:
        if self._dotenv.bad_lines:
            return f"line {self._dotenv.bad_lines[0]} of .env cannot be read; write NAME=value"
        if similar := near(name, [*self._dotenv.values, *self._environ]):
            return similar
        return f"export {name}=..., put it into .env beside the project file, or write ${{{name}:-default}}"

    def _file(self, written: str, path: str, resolved: Resolved) -> str:
        file = self._folder / Path(path).expanduser()
        try:
            with file.open("rb") as stream:
                data = stream.read(LONGEST_FILE_BYTES + 1)
            if len(data) > LONGEST_FILE_BYTES:
                raise ValueError(f"has more than {LONGEST_FILE_BYTES:,} bytes")
            text = data.decode()
        except UnicodeDecodeError:
            problem = "is not UTF-8 text"
        except ValueError as error:
            problem = str(error)
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        else:
            resolved.lookups.append(Lookup(f"file {path}", True))
            return text.removesuffix("\n").removesuffix("\r")
        resolved.lookups.append(Lookup(f"file {path}", False))
        resolved.mistakes.append((written, f"the file {path} {problem}", f"looked for at {file}"))
        return ""

    @cached_property
    def _dotenv(self) -> _Dotenv:
        return _Dotenv.read(self._folder / ".env", self._environ)


@dataclass
class _Dotenv:
    """What a `.env` says: values by name, and the line of each."""

    exists: bool = False
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    bad_lines: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path, environ: Mapping[str, str]) -> _Dotenv:
        found = cls()
        try:
            text = file.read_text("utf-8") if file.is_file() else None
        except (OSError, UnicodeDecodeError):
            return cls(exists=True, bad_lines=[1])
        if text is None:
            return found
        found.exists = True
        for binding in parse_stream(io.StringIO(text)):
            line = binding.original.line + _blank_lines_before(binding.original.string)
            if binding.error:
                found.bad_lines.append(line)
            elif binding.key is not None and binding.value is not None:
                found.values[binding.key] = _interpolated(
                    binding.value, binding.original.string, found, environ
                )
                found.lines[binding.key] = line
        return found


def _blank_lines_before(original: str) -> int:
    return original[: len(original) - len(original.lstrip())].count("\n")


def _interpolated(value: str, original: str, found: _Dotenv, environ: Mapping[str, str]) -> str:
    """`${NAME}` inside of a value, as dotenv means it; what is in single quotes is literal."""
    if original.partition("=")[2].lstrip().startswith("'"):
        return value
    known = {**found.values, **environ}
    return "".join(atom.resolve(known) for atom in parse_variables(value))


def _closing_brace(text: str, begin: int) -> int:
    """The } that ends the ${ at `begin`, references inside of it passed over; -1 when there is none."""
    depth, at = 0, begin
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
        elif text[at] == "}":
            depth, at = depth - 1, at + 1
            if depth == 0:
                return at - 1
        else:
            at += 1
    return -1


def resolve_tree(
    node: Node,
    references: References,
    mistakes: Mistakes,
    path: str = "",
    failures: list[AsgardError] | None = None,
) -> Node:
    """The tree with every reference replaced; each that cannot be is a mistake at its own place.

    Args:
        failures: takes what stores of secrets did not give, and their places are unresolved then; None
            raises it.

    Raises:
        Refused, Unreachable: a store of secrets does not give what is referred to; `where` says the place.
    """
    if isinstance(node.value, str) and "${" in node.text:
        resolved = references.resolve(node.text)
        for written, what, hint in resolved.mistakes:
            mistakes.add(what, path=path, hint=hint, place=place_of(node, written))
        for written, error in resolved.failures:
            error.at(place=str(place_of(node, written) or ""), key=path)
            if failures is None:
                raise error
            failures.append(error)
        text, unresolved = resolved.text, bool(resolved.mistakes or resolved.failures)
        return Node(text, text, node.place, node.key_place, node.raw, resolved.referred, unresolved)
    if isinstance(node.value, dict):
        children = {
            key: resolve_tree(child, references, mistakes, f"{path}.{key}" if path else key, failures)
            for key, child in node.value.items()
        }
        return Node(children, place=node.place, key_place=node.key_place)
    if isinstance(node.value, list):
        items = [
            resolve_tree(child, references, mistakes, f"{path}[{number}]", failures)
            for number, child in enumerate(node.value)
        ]
        return Node(items, place=node.place, key_place=node.key_place)
    return node


def place_of(node: Node, written: str) -> Place | None:
    """Where a part of a scalar stands in the file; the scalar's beginning where escapes hide it."""
    if node.raw is None or node.place is None:
        return node.place
    content, begin, end = node.raw
    found = content.find(written, begin, end)
    if found < 0:
        return node.place
    line_begin = content.rfind("\n", 0, found) + 1
    line = node.place.line + content.count("\n", begin, found)
    return Place(node.place.file, line, found - line_begin + 1)
