"""The files of a project: where `asgard.yml` lies, the overlay of an environment, and what both together say.

Knows files and their keys, nothing of what the keys mean, and imports nothing heavy: commands that only look
at history need no more than this.

An overlay `asgard.prod.yml` lies beside `asgard.yml` and holds only what is different. Mappings are merged
key by key, and lists whose entries all have a `name` entry by entry; every other list, and every single
value, replaces the one below. null takes a key away.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asgard.app.config.mistakes import Mistakes, near
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.yaml_text import Node, read_yaml
from asgard.core.errors import AsgardError, ConfigError

FILE_NAMES = ("asgard.yml", "asgard.yaml")
ENVIRONMENT_VARIABLE = "ASGARD_ENV"
SOURCES = "data_sources"
FALSE = ("false", "no", "off", "0")
TABLE_LISTS = ("tables", "endpoints", "files")
"""Keys of a source whose lists name what is loaded; an entry may be a name alone."""


@dataclass(frozen=True)
class ProjectFile:
    """The files of one project, read.

    Attributes:
        file: the project file, absolute.
        environment: whose overlay lies over it; None for none.
        base, overlay: what each file says, as it is written; the overlay is None where there is none.
        written: both together, as they are written.
        references: looks up what they refer to.
    """

    file: Path
    environment: str | None
    base: Node
    overlay: Node | None
    written: Node
    references: References

    def resolved(
        self,
        mistakes: Mistakes,
        keys: Container[str] | None = None,
        failures: dict[str, AsgardError] | None = None,
    ) -> Node:
        """What both say with their references replaced, without sources that are switched off.

        Args:
            mistakes: takes the references that cannot be replaced.
            keys: of the top, to look up no more than is needed; None for all.
            failures: takes what stores of secrets did not give, by the path of the source or the key that
                wanted it; None raises it.

        Raises:
            Refused, Unreachable: a store of secrets does not give what is referred to.
        """
        wanted = {key: node for key, node in self.written.value.items() if keys is None or key in keys}
        tree = _without_disabled(replace(self.written, value=wanted), self.references)
        if failures is None:
            return resolve_tree(tree, self.references, mistakes)
        children = {
            key: self._apart(node, key, mistakes, failures, depth=1 if key == SOURCES else 0)
            for key, node in tree.value.items()
        }
        return replace(tree, value=children)

    def _apart(
        self, node: Node, path: str, mistakes: Mistakes, failures: dict[str, AsgardError], *, depth: int
    ) -> Node:
        if depth and isinstance(node.value, dict):
            children = {
                key: self._apart(child, f"{path}.{key}", mistakes, failures, depth=depth - 1)
                for key, child in node.value.items()
            }
            return Node(children, place=node.place, key_place=node.key_place)
        found: list[AsgardError] = []
        tree = resolve_tree(node, self.references, mistakes, path, found)
        if found:
            failures[path] = found[0]
        return tree

    def looked_up_anew(self) -> ProjectFile:
        """The same text, whose references are looked up again; the environment and `.env` are read again."""
        return replace(self, references=References(self.folder))

    @property
    def folder(self) -> Path:
        """Where paths in the file begin."""
        return self.file.parent

    @property
    def overlay_name(self) -> str:
        """What messages call the overlay; empty where there is none."""
        return overlay_file(self.file, self.environment).name if self.environment else ""


def find_project(start: Path) -> Path:
    """The project file at or above a folder; a file is taken as it is.

    Raises:
        ConfigError: there is none.
    """
    begin = start.absolute()
    if begin.is_file():
        return begin
    if not begin.is_dir():
        raise ConfigError(f"there is no file {start}", hint="asgard init writes a first asgard.yml")
    for folder in (begin, *begin.parents):
        found = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
        if len(found) > 1:
            raise ConfigError(f"{folder} has both {' and '.join(FILE_NAMES)}", hint="keep one of them")
        if found:
            return found[0]
    raise ConfigError(
        f"there is no {FILE_NAMES[0]} in {begin} or above",
        hint="asgard init writes one; --project names another",
    )


def environments(file: Path) -> list[str]:
    """The environments that have an overlay beside the project file, sorted."""
    pattern = re.compile(re.escape(file.stem) + r"\.([A-Za-z0-9_-]+)\.ya?ml")
    found = (pattern.fullmatch(path.name) for path in file.parent.iterdir() if path.is_file())
    return sorted({match[1] for match in found if match})


def overlay_file(file: Path, environment: str) -> Path:
    """Where the overlay of an environment lies, whether it exists or not."""
    paths = [file.with_name(f"{file.stem}.{environment}{suffix}") for suffix in (".yml", ".yaml")]
    return next(
        (path for path in paths if path.is_file()), file.with_name(f"{file.stem}.{environment}{file.suffix}")
    )


def read_project_file(path: Path | str | None, env: str | None, mistakes: Mistakes) -> ProjectFile:
    """Finds and reads the files of a project.

    Args:
        path: the file, or a folder at or below it; None for the folder of the process.
        env: the environment; None for the one of ASGARD_ENV, if it is set.
        mistakes: takes what is wrong with what could be read.

    Raises:
        ConfigError: there is no such file or environment, or a file is no YAML.
    """
    file = find_project(Path(path) if path is not None else Path())
    references = References(file.parent)
    environment = env or references.variable(ENVIRONMENT_VARIABLE) or None
    if environment is not None:
        _insist_on(file, environment)
    base = _mapping(file, mistakes)
    overlay = _mapping(overlay_file(file, environment), mistakes, empty_is_fine=True) if environment else None
    if base is None or (environment and overlay is None):
        mistakes.raise_if_any()
    assert base is not None
    together = base if overlay is None else merged(base, overlay)
    return ProjectFile(file, environment, base, overlay, together, references)


def _insist_on(file: Path, environment: str) -> None:
    known = environments(file)
    if environment not in known:
        there = f"there are: {', '.join(known)}" if known else "there is no overlay yet"
        wanted = f"{file.stem}.{environment}{file.suffix}"
        raise ConfigError(
            f"there is no environment {environment!r}: {wanted} is not beside {file.name}",
            hint="; ".join(filter(None, (near(environment, known), there))),
        )


def _mapping(path: Path, mistakes: Mistakes, *, empty_is_fine: bool = False) -> Node | None:
    node = read_yaml(path, path.name, mistakes)
    if node is None or isinstance(node.value, dict):
        return node
    if node.value is None and empty_is_fine:
        return Node({}, place=node.place)
    if node.value is None:
        mistakes.add("the file is empty", hint="asgard init writes a first one", place=node.place)
    else:
        mistakes.add("the file is no mapping", hint="write keys and values: `name: shop`", place=node.place)
    return None


def merged(base: Node, over: Node, key: str = "") -> Node:
    """The overlay's node laid over the base's; places stay those of the file that wins."""
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        children = dict(base.value)
        for name, child in over.value.items():
            children[name] = merged(base.value[name], child, name) if name in base.value else child
        return replace(base, value=children)
    if isinstance(base.value, list) and isinstance(over.value, list):
        for identity in (("name",), ("as", "table", "name")):
            below, above = (_named(side.value, identity, key in TABLE_LISTS) for side in (base, over))
            if below is not None and above is not None:
                names = list(dict.fromkeys([*below, *above]))
                return replace(over, value=[_entry(below.get(name), above.get(name)) for name in names])
    return over


def _named(entries: list[Node], identity: tuple[str, ...], names_alone: bool) -> dict[str, Node] | None:
    """Entries by the first key of `identity` that they have; None when not all have one of their own."""
    named: dict[str, Node] = {}
    for entry in entries:
        if isinstance(entry.value, dict):
            name = next((entry.value[key].value for key in identity if key in entry.value), None)
        else:
            name = entry.value if names_alone else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = entry
    return named


def _entry(below: Node | None, above: Node | None) -> Node:
    if below is None or above is None:
        return above or below or Node(None)
    return merged(spelled_out(below), spelled_out(above))


def spelled_out(entry: Node) -> Node:
    """`orders` as `{name: orders}`."""
    return Node({"name": entry}, place=entry.place) if isinstance(entry.value, str) else entry


def _without_disabled(tree: Node, references: References) -> Node:
    """Without sources that are switched off: they may refer to what is not there."""
    sources = tree.value.get(SOURCES)
    if sources is None or not isinstance(sources.value, dict):
        return tree
    kept = {name: node for name, node in sources.value.items() if not _is_disabled(node, references)}
    return replace(tree, value={**tree.value, SOURCES: replace(sources, value=kept)})


def _is_disabled(source: Node, references: References) -> bool:
    enabled = values_of(source).get("enabled")
    return enabled is not None and references.resolve(enabled.text).text.lower() in FALSE


def values_of(node: Node | None) -> Mapping[str, Any]:
    """The children of a mapping; nothing for anything else."""
    return node.value if node is not None and isinstance(node.value, dict) else {}
