"""In what order models are built, and which of them a person means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, TypeVar

from asgard.core.errors import ConfigError
from asgard.core.names import fold
from asgard.core.table import TableName


class Node(Protocol):
    """What is ordered: a model, as far as this module looks at it."""

    @property
    def name(self) -> TableName: ...

    @property
    def upstream(self) -> tuple[TableName, ...]: ...

    @property
    def file(self) -> str: ...


Ordered = TypeVar("Ordered", bound=Node)


def ordered(models: Iterable[Ordered]) -> list[Ordered]:
    """The models, each behind those that it reads; otherwise by name.

    Raises:
        ConfigError: models need each other in a circle, or two make the same table.
    """
    by_name: dict[str, Ordered] = {}
    for model in sorted(models, key=lambda model: model.name):
        twin = by_name.setdefault(fold(str(model.name)), model)
        if twin is not model:
            raise ConfigError(
                f"{twin.name} and {model.name} are one table to systems that do not tell case",
                hint="rename one of them",
                where={"file": model.file},
            )
    sorter = TopologicalSorter({key: _needed(model, by_name) for key, model in by_name.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise _circle([by_name[key] for key in error.args[1]]) from error
    result: list[Ordered] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        result += [by_name[key] for key in ready]
        sorter.done(*ready)
    return result


def _needed(model: Node, by_name: dict[str, Ordered]) -> list[str]:
    return [key for key in (fold(str(name)) for name in model.upstream) if key in by_name]


def _circle(loop: Sequence[Node]) -> ConfigError:
    # graphlib names each after the one that needs it; it is told from its smallest name on.
    names = [str(model.name) for model in loop][:0:-1]
    first = names.index(min(names))
    names = [*names[first:], *names[:first]]
    where = {"file": next(model.file for model in loop if str(model.name) == names[0])}
    if len(names) == 1:
        return ConfigError(f"{names[0]} reads itself", hint="a model reads other tables", where=where)
    told = " -> ".join([*names, names[0]])
    return ConfigError(f"models need each other in a circle: {told}", hint="take one step out", where=where)


def select(models: Sequence[Ordered], selectors: Sequence[str]) -> list[Ordered]:
    """The models that a person means, in their order; without selectors all.

    Args:
        models: in order, as `ordered` gives them.
        selectors: `silver.orders`, `orders`, `gold.*`, `*revenue*`; `+` before a name takes what it needs
            with it, `+` behind it what needs it. `bronze.shop.orders+` is every model that needs the table.

    Raises:
        ConfigError: a selector means no model; the hint names near ones.
    """
    if not selectors:
        return list(models)
    chosen: set[str] = set()
    for selector in selectors:
        chosen |= _meant(models, selector)
    return [model for model in models if str(model.name) in chosen]


def _meant(models: Sequence[Node], selector: str) -> set[str]:
    pattern = selector.strip("+")
    before, behind = selector.startswith("+"), selector.endswith("+")
    names = {str(model.name) for model in models if _matches(model.name, pattern)}
    roots = {str(up) for model in models for up in model.upstream if behind and _matches(up, pattern)}
    if not names | roots:
        raise ConfigError(f"no model is called {pattern}", hint=_hint(models, pattern))
    found = set(names)
    if before:
        found |= _reached(names, {str(m.name): {str(up) for up in m.upstream} for m in models})
    if behind:
        needed_by: dict[str, set[str]] = {}
        for model in models:
            for up in model.upstream:
                needed_by.setdefault(str(up), set()).add(str(model.name))
        found |= _reached(names | roots, needed_by)
    return found


def _hint(models: Sequence[Node], pattern: str) -> str:
    if any(_matches(up, pattern) for model in models for up in model.upstream):
        return f"{pattern}+ is every model that needs it"
    every = [str(model.name) for model in models]
    plain = {model.name.name: str(model.name) for model in models}
    near = get_close_matches(pattern, every) or [plain[name] for name in get_close_matches(pattern, plain)]
    return f"did you mean {' or '.join(near)}?" if near else f"models: {', '.join(every) or 'none'}"


def _matches(name: TableName, pattern: str) -> bool:
    return any(fnmatchcase(fold(text), fold(pattern)) for text in (str(name), name.name))


def _reached(start: set[str], edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        for name in edges.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found
