"""YAML text to values that know where they stand.

Reads the YAML 1.2 core schema: only `true` and `false` are booleans (`yes`, `no`, `on`, `off` are text),
dates and times are text, a number with a leading zero is text. Anchors, aliases and `<<` work as in YAML 1.1.
What a value means is not known here.

Built on the parser's events instead of its documents: that way nesting needs no recursion, a file that
explodes through aliases is refused before it is expanded, and duplicate keys are seen.

Reference: https://yaml.org/spec/1.2.2/#103-core-schema, https://yaml.org/type/merge.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from asgard.app.config.mistakes import Mistakes, Place

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

DEEPEST = 60
MOST_NODES = 2_000_000

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})|0x[0-9a-fA-F]{1,99}|0o[0-7]{1,99}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_TEXT_TAG = "tag:yaml.org,2002:str"
_KNOWN_TAGS = {None, "!", _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class Raw(NamedTuple):
    """The characters of the file that a scalar was written with, quotes included, and where they begin."""

    content: str
    begin: int
    end: int


@dataclass(slots=True)
class Node:
    """A value with its places. Shared where the file uses aliases: never changed after reading.

    Attributes:
        value: None, bool, int, float, str; a dict of nodes, or a list of nodes.
        text: of a scalar, its text without quotes and escapes: `0123` of a number that is written so.
        place: where it begins; None when it was never in a file.
        key_place: where its key begins; None in lists and at the top.
        raw: of a scalar, how it is written.
        referred: the value came, at least in part, from a `${...}`.
        unresolved: one of them could not be replaced: that is told, and nothing more about this value.
    """

    value: Any
    text: str = ""
    place: Place | None = None
    key_place: Place | None = None
    raw: Raw | None = None
    referred: bool = False
    unresolved: bool = False

    @property
    def where(self) -> Place | None:
        """Where a person looks for it: a scalar itself, the key of everything longer and of nothing."""
        own = self.value is not None and not isinstance(self.value, dict | list)
        return self.place if own else self.key_place or self.place

    def plain(self) -> Any:
        """The value without places, all the way down."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def tree_of(value: Any) -> Node:
    """The same for a value that comes from Python: no places."""
    if isinstance(value, Mapping):
        return Node({str(key): tree_of(child) for key, child in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Node([tree_of(child) for child in value])
    return Node(value, value if isinstance(value, str) else str(value))


def read_yaml(path: Path, name: str, mistakes: Mistakes) -> Node | None:
    """The file's one document, or None: then `mistakes` says why.

    Args:
        name: what messages call the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        mistakes.add(f"{name} cannot be read: {error.strerror or error}")
        return None
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(name, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        mistakes.add(
            f"byte 0x{data[error.start]:02x} is not UTF-8", hint="save the file as UTF-8", place=place
        )
        return None
    return parse_yaml(content, name, mistakes)


def yaml_values(path: str) -> Any:
    """The plain values of a file that is no project file.

    Raises:
        ConfigError: it cannot be read, or is no YAML; with line and column.
    """
    mistakes = Mistakes()
    node = read_yaml(Path(path), path, mistakes)
    mistakes.raise_if_any()
    return node.plain() if node is not None else None


def parse_yaml(content: str, name: str, mistakes: Mistakes) -> Node | None:
    """The one document of a text; an empty text is a node of None.

    What is no YAML ends the reading: one mistake, and None. Keys that are given twice, and tags, are told and
    the rest is read.
    """
    composer = _Composer(content, name, mistakes)
    try:
        for event in yaml.parse(content, Loader=Loader):
            if not composer.take(event):
                return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name, 1, 1)
        mistakes.add(f"this is not YAML: {_problem(error)}", hint=_remedy(error, content, place), place=place)
        return None
    except yaml.reader.ReaderError as error:
        # The parser works on UTF-8, and counts its bytes.
        before = content.encode()[: error.position].decode(errors="ignore")
        place = Place(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        mistakes.add(f"character U+{code:04X} is not allowed in YAML", place=place)
        return None
    return composer.root or Node(None, place=Place(name, 1, 1))


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    return f"{problem}, {error.context}" if error.context else problem


def _remedy(error: yaml.MarkedYAMLError, content: str, place: Place) -> str:
    lines = content.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "${" in line:
        return 'put a value with ${...} in quotes: "${NAME}"'
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not with tabs"
    if (error.problem or "").startswith("found character that cannot start"):
        return "put the value in quotes"
    if "mapping values are not allowed" in (error.problem or ""):
        return "put a text with a colon in quotes, or look at the indentation"
    return "look at the indentation, the quotes and the brackets here and on the line before"


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read; `size` counts nodes, those behind aliases each time."""

    node: Node
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_place: Place | None = None
    merged: list[Node] = field(default_factory=list)

    @property
    def wants_key(self) -> bool:
        return isinstance(self.node.value, dict) and self.key is None


class _Composer:
    """Turns the parser's events into nodes."""

    def __init__(self, content: str, name: str, mistakes: Mistakes) -> None:
        self.root: Node | None = None
        self._content = content
        self._name = name
        self._mistakes = mistakes
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}

    def take(self, event: yaml.Event) -> bool:
        """Reads one event; False when the rest cannot be read."""
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                return self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                return self._end(event)
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                return self._stop("a second document begins here", event, "write one document in one file")
        return True

    def _scalar(self, event: yaml.ScalarEvent) -> bool:
        self._look_at_tag(event)
        if self._open and self._open[-1].wants_key:
            self._take_key(self._open[-1], event)
            return True
        value = _resolve(event.value) if event.implicit[0] else event.value
        begin, end = event.start_mark, event.end_mark
        raw = Raw(self._content, begin.index if begin else 0, end.index if end else 0)
        return self._add(Node(value, event.value, self._place(event), raw=raw), event, 1)

    def _take_key(self, open_: _Open, event: yaml.ScalarEvent) -> None:
        open_.key, open_.key_place = event.value, self._place(event)
        earlier = open_.node.value.get(event.value)
        if earlier is not None:
            line = earlier.key_place.line if earlier.key_place else 0
            self._mistakes.add(
                f"the key {event.value!r} is given twice",
                hint=f"the first is on line {line}: keep one of them",
                place=open_.key_place,
            )

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> bool:
        self._look_at_tag(event)
        if self._open and self._open[-1].wants_key:
            return self._stop(
                "a list or mapping stands where a key is expected", event, "put a key before it"
            )
        if len(self._open) == DEEPEST:
            return self._stop(f"lists and mappings are nested more than {DEEPEST} deep", event)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(Node(value, place=self._place(event)), event.anchor))
        return True

    def _end(self, event: yaml.Event) -> bool:
        done = self._open.pop()
        for merged in done.merged:  # what the mapping says itself, and what was merged first, wins
            done.node.value = {**merged.value, **done.node.value}
        return self._add(done.node, event, done.size, done.anchor)

    def _alias(self, event: yaml.AliasEvent) -> bool:
        if self._open and self._open[-1].wants_key:
            return self._stop("an alias stands where a key is expected", event)
        if event.anchor not in self._anchors:
            return self._stop(f"there is no anchor &{event.anchor} before *{event.anchor}", event)
        node, size = self._anchors[event.anchor]
        return self._add(replace(node), event, size)

    def _add(self, node: Node, event: Any, size: int, anchor: str | None = None) -> bool:
        anchor = anchor or (event.anchor if isinstance(event, yaml.ScalarEvent) else None)
        if anchor:
            self._anchors[anchor] = (node, size)
        if not self._open:
            self.root = node
            return True
        parent = self._open[-1]
        parent.size += size
        if parent.size > MOST_NODES:
            return self._stop(f"with its aliases this is more than {MOST_NODES:,} values", event)
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
            return True
        key, node.key_place, parent.key = parent.key or "", parent.key_place, None
        if key == "<<":
            return self._merge(parent, node, event)
        parent.node.value[key] = node
        return True

    def _merge(self, parent: _Open, node: Node, event: Any) -> bool:
        wanted = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(one.value, dict) for one in wanted):
            return self._stop("<< takes a mapping or a list of mappings", event)
        parent.merged += wanted
        return True

    def _look_at_tag(self, event: Any) -> None:
        if event.tag not in _KNOWN_TAGS:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._mistakes.add(
                f"the tag {tag} means nothing here", hint="leave it out", place=self._place(event)
            )

    def _place(self, event: Any) -> Place:
        return Place(self._name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, what: str, event: Any, hint: str = "") -> bool:
        self._mistakes.add(what, hint=hint, place=self._place(event))
        return False


def _resolve(text: str) -> Any:
    """What a scalar without quotes means in the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
