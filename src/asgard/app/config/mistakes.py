"""What is wrong with a file that a person wrote: collected first, then told at once, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

from asgard.core.errors import ConfigError


class Place(NamedTuple):
    """Where something stands in a file.

    Attributes:
        file: as people call it: `asgard.yml`.
        line, column: from 1, as editors count.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong.

    Attributes:
        what: what is wrong, with the value unless that may be a secret.
        path: the key, `data_sources.shop.port`; empty for the whole file.
        hint: the next step.
        place: None for what was never in a file.
    """

    what: str
    path: str = ""
    hint: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        """`asgard.yml:LINE:COL: field.path: what; hint`, without what is not known; always one line."""
        head = ": ".join(str(part) for part in (self.place, self.path, self.what) if part)
        return " ".join((f"{head}; {self.hint}" if self.hint else head).splitlines())


class Mistakes:
    """The mistakes of one reading; the same one twice (through an anchor, or a default) counts once."""

    def __init__(self) -> None:
        self._found: dict[Mistake, None] = {}

    def add(self, what: str, *, path: str = "", hint: str = "", place: Place | None = None) -> None:
        """Remembers a mistake."""
        self._found[Mistake(what, path, hint, place)] = None

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Mistake]:
        """In the order of files and lines."""
        return iter(sorted(self._found, key=lambda mistake: mistake.place or Place("", 0, 0)))

    def raise_if_any(self) -> None:
        """Ends the reading.

        Raises:
            ConfigError: its `what` has one mistake a line.
        """
        if self._found:
            raise ConfigError("\n".join(map(str, self)))


def near(wrong: str, names: Iterable[str]) -> str:
    """`did you mean port?` if a name is near, else empty; case does not count."""
    by_fold = {name.casefold(): name for name in names}
    found = get_close_matches(wrong.casefold(), list(by_fold), 2, 0.7)
    return f"did you mean {' or '.join(by_fold[name] for name in found)}?" if found else ""
