"""Keys as people write them, and the nodes that they lead to: `data_sources.shop.tables.orders.cursor`.

A step is a key of a mapping, an index of a list, or the name of a list's entry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from asgard.app.config.project_file import spelled_out
from asgard.app.config.yaml_text import Node
from asgard.core.errors import ConfigError

Steps = tuple[str | int, ...]
_TOKEN = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def steps_of(key: str, trees: Sequence[Node | None]) -> Steps:
    """The steps of a key. A name may hold dots: the longest that one of the trees has is taken.

    Raises:
        ConfigError: the key is empty.
    """
    found = _TOKEN.finditer(key.strip())
    tokens: list[str | int] = [int(match[1]) if match[1] else match[2] for match in found]
    if not tokens:
        raise ConfigError("the key is empty", hint="write it as lake.location")
    steps: list[str | int] = []
    while tokens:
        length, step = 1, tokens[0]
        for tried in range(len(tokens), 1, -1):
            joined = ".".join(map(str, tokens[:tried]))
            if any(_child(tree, joined) for tree in trees):
                length, step = tried, joined
                break
        steps.append(step)
        trees = [_child(tree, step) for tree in trees]
        del tokens[:length]
    return tuple(steps)


def node_at(tree: Node | None, steps: Steps) -> Node | None:
    """The node that the steps lead to, or None."""
    for step in steps:
        tree = _child(tree, step)
    return tree


def key_of(steps: Steps) -> str:
    """The steps as people write them."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _child(node: Node | None, step: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, dict):
        found: Node | None = node.value.get(str(step))
        return found
    if isinstance(node.value, list):
        if isinstance(step, int) or step.isdigit():
            return spelled_out(node.value[int(step)]) if int(step) < len(node.value) else None
        for entry in map(spelled_out, node.value):
            if any(child.value == step for key in ("as", "table", "name") if (child := _child(entry, key))):
                return entry
    return None
