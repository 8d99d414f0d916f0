"""The pages of docs/reference that say how each type of a source arrives: made from cases that tests run.

A module `<source>_types` beside this one has the cases and a `PAGE`; `test_<source>_types.py` loads every
case from the real thing. `python -m tests.connectors.type_pages` writes all pages anew.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
ANEW = "write it anew: python -m tests.connectors.type_pages"

Row = Sequence[str]


@dataclass(frozen=True)
class TypePage:
    """A page.

    Attributes:
        source: names the file: docs/reference/types-<source>.md.
        text: the page, where `{name}` stands for the rows of a table.
        tables: name to what gives the rows.
    """

    source: str
    text: str
    tables: Mapping[str, Callable[[], Iterable[Row]]]

    @property
    def path(self) -> Path:
        return FOLDER / f"types-{self.source}.md"

    def made(self) -> str:
        """The page as the cases say it."""
        text = self.text
        for name, rows in self.tables.items():
            text = text.replace(f"{{{name}}}", "\n".join(f"| {' | '.join(row)} |" for row in rows()))
        return text


@dataclass(frozen=True)
class Case:
    """A column of values, where a page needs no more of them.

    Attributes:
        name: what the page calls the type; nothing for a case that the page leaves out.
        given: the values, as the source has them.
        arrow: the Arrow type that they arrive as.
        arrived: the same values there; as they were given by default.
        label: `asgard.type` of the field.
        note: what the page says about it.
        made: what the source makes such a column of: a declaration, an Arrow type, a schema.
        arrives: what the page says it arrives as, where the case is one of many.
    """

    name: str
    given: Sequence[Any]
    arrow: str
    arrived: Sequence[Any] | None = None
    label: str = ""
    note: str = ""
    made: Any = None
    arrives: str = ""

    @property
    def wanted(self) -> list[Any]:
        """What is to arrive."""
        return list(self.given if self.arrived is None else self.arrived)

    def row(self, *more: str) -> Row:
        """Of the page's table: name, type, label, what else there is to say, the note."""
        label = f"`{self.label}`" if self.label else ""
        return [self.name, self.arrives or arrow_words(self.arrow), label, *more, self.note]


@dataclass(frozen=True)
class Cases:
    """The rows of a table of plain cases."""

    cases: Sequence[Case]
    shown: Callable[[Case], Sequence[str]] = field(default=lambda case: ())

    def __call__(self) -> Iterable[Row]:
        return [case.row(*self.shown(case)) for case in self.cases if case.name]


@dataclass(frozen=True)
class Wished:
    """A type that `columns:` asks for.

    Attributes:
        taken: values, and what they arrive as.
        refused: values, and what the error says of them, as a regular expression.
    """

    word: str
    taken: Sequence[tuple[Any, Any]]
    refused: Sequence[tuple[Any, str]] = ()


@dataclass(frozen=True)
class Wishes:
    """The rows of a table of wishes.

    Attributes:
        said: a value of the source as the page writes it.
    """

    wishes: Sequence[Wished]
    said: Callable[[Any], str] = str

    def __call__(self) -> Iterable[Row]:
        for wish in self.wishes:
            taken = [(value, arrived) for value, arrived in wish.taken if value is not None]
            given, refused = [self.said(value) for value, _ in taken], [self.said(v) for v, _ in wish.refused]
            arrived = [python_words(value) for _, value in taken]
            yield [code(wish.word), *(", ".join(map(code, texts)) for texts in (given, arrived, refused))]


def python_words(value: Any) -> str:
    """A value as pages write it: texts and bytes in quotes."""
    return repr(value) if isinstance(value, str | bytes) else str(value)


def arrow_words(type: str) -> str:
    """An Arrow type as pages write it."""
    return type.replace("item: ", "").replace("[day]", "").replace("128", "")


def code(text: str) -> str:
    """Text as code in a cell."""
    return "`" + text.replace("|", "\\|") + "`"


def told(values: Iterable[Any]) -> list[str]:
    """Values so that those differ which Python calls equal and people do not: 1 and 1.0, 0.0 and -0.0."""
    moments = [
        value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value for value in values
    ]
    return [repr(moment) for moment in moments]


def pages() -> list[TypePage]:
    """Those of all modules that have cases."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!t]*_types.py"))
    return [importlib.import_module(f"tests.connectors.{name}").PAGE for name in names]


if __name__ == "__main__":
    for page in pages():
        page.path.write_text(page.made(), encoding="utf-8")
