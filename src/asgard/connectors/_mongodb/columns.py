"""Columns of MongoDB's documents: their names, their types, and how they are found in a sample.

A column is a path into the documents and a type. Types are declared or taken from a sample; either way
`_mongodb.decode` sees whether every value has the type, and puts what does not fit into `_rescued`.

Reference: https://www.mongodb.com/docs/manual/reference/bson-types/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator

from asgard.core.errors import ConfigError
from asgard.core.names import fold
from asgard.core.stream import JSON_TYPE
from asgard.transport.column_types import field_of, word_of

ID = "_id"
DOCUMENT = "document"
RESCUED = "_rescued"
PATH = b"asgard.path"
"""Field metadata: where in the documents the column's values stand."""
OWN_WORDS = {"objectid": "objectId", "uuid": "uuid", "decimal128": "decimal"}
"""Types that only this source has; all are text, with this `asgard.type`."""


def mongo_field(name: str, word: str) -> pa.Field:
    """The Arrow field of a column that is to have the type: the common words, and those of `OWN_WORDS`.

    Raises:
        ConfigError: there is no such type.
    """
    label = OWN_WORDS.get(word.strip().lower())
    if label:
        return pa.field(name, pa.string(), metadata={JSON_TYPE: label.encode()})
    return field_of(name, word)


def _known(words: Mapping[str, str]) -> Mapping[str, str]:
    for name, word in words.items():
        try:
            mongo_field(name, word)
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.hint}, objectid, uuid, decimal128") from error
    return words


MongoTypes = Annotated[dict[str, str], AfterValidator(_known)]
"""The option `columns`: path to type."""


def path_of(written: str) -> tuple[str, ...]:
    r"""The field names of a path; a dot or backslash that belongs to a name stands behind a backslash.

    >>> path_of(r"address.city"), path_of(r"a\.b")
    (('address', 'city'), ('a.b',))
    """
    names = [""]
    for mark in re.findall(r"\\.|[^\\]|\\", written, re.DOTALL):
        if mark == ".":
            names.append("")
        else:
            names[-1] += mark[-1]
    return tuple(names)


def written_path(path: Sequence[str]) -> str:
    r"""The inverse of `path_of`.

    >>> written_path(("a.b", "c"))
    'a\\.b.c'
    """
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


@dataclass(frozen=True)
class Column:
    """A column and where its values stand.

    Attributes:
        path: the field names that lead to it.
        word: its type, as `columns:` names it.
    """

    path: tuple[str, ...]
    word: str

    @property
    def name(self) -> str:
        """What the column is called."""
        return "_".join(self.path)

    @property
    def field(self) -> pa.Field:
        """As the stream's schema has it, with the path."""
        plain = mongo_field(self.name, self.word)
        return plain.with_metadata({**(plain.metadata or {}), PATH: written_path(self.path).encode()})

    @classmethod
    def of(cls, field: pa.Field) -> Column:
        """The inverse of `field`."""
        label = field.metadata.get(JSON_TYPE, b"").decode()
        word = {label: word for word, label in OWN_WORDS.items()}.get(label, label) or word_of(field.type)
        return cls(path_of(field.metadata[PATH].decode()), word)


@dataclass(frozen=True)
class Layout:
    """What becomes of documents.

    Attributes:
        columns: those with values of their own; `_id` first where it is there.
        document: whether there is a column with the whole document.
        canonical: whether JSON is canonical Extended JSON.
        keep_wrappers, keep_nulls: see the options of the stream.
    """

    columns: tuple[Column, ...]
    document: bool = True
    canonical: bool = False
    keep_wrappers: bool = False
    keep_nulls: bool = False

    @property
    def rescues(self) -> bool:
        """Whether there may be values that have no place but `_rescued`."""
        return not self.document or any(column.path != (ID,) for column in self.columns)

    @property
    def schema(self) -> pa.Schema:
        """The columns, the document, and the values that found no place."""
        json = {JSON_TYPE: b"json"}
        fields = [column.field for column in self.columns]
        if self.document:
            fields.append(pa.field(DOCUMENT, pa.string(), nullable=False, metadata=json))
        if self.rescues:
            fields.append(pa.field(RESCUED, pa.string(), metadata=json))
        return pa.schema(fields)

    def to_spec(self) -> dict[str, Any]:
        """As a split carries it."""
        flags = [self.document, self.canonical, self.keep_wrappers, self.keep_nulls]
        return {"columns": [[list(c.path), c.word] for c in self.columns], "flags": flags}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Layout:
        """The inverse of `to_spec`."""
        return cls(tuple(Column(tuple(path), word) for path, word in spec["columns"]), *spec["flags"])


@dataclass
class Seen:
    """What a sample has at one path: how many values of which type, and what lies below."""

    kinds: Counter[str] = field(default_factory=Counter)
    below: dict[str, Seen] = field(default_factory=dict)

    @property
    def word(self) -> str | None:
        """The type that fits most of the values; None where there are none but null."""
        kinds = Counter(self.kinds)
        if kinds["float64"]:
            kinds["float64"] += kinds.pop("int64", 0)
        return max(kinds, key=lambda kind: (kinds[kind], kind)) if kinds else None

    @property
    def is_uniform(self) -> bool:
        """Whether all values are of one type."""
        return len(self.kinds) == 1


def sampled(seen: Mapping[str, Seen], depth: int, above: tuple[str, ...] = ()) -> list[Column]:
    """The columns that a sample suggests; objects are opened `depth` levels deep."""
    columns: list[Column] = []
    for name, at in seen.items():
        word = at.word
        if word == "object" and depth > 1 and at.below:
            columns += sampled(at.below, depth - 1, (*above, name))
        elif word is not None:
            columns.append(Column((*above, name), "json" if word == "object" else word))
    return columns


def settled(id: Column | None, found: Iterable[Column], declared: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns of a stream: `_id`, those of the sample, and what is declared, which goes before both.

    Of two whose names differ at most by case the first stays, what is declared before what is not; the values
    of the other are rescued.

    Raises:
        ConfigError: two declared columns would have one name, or one a reserved one.
    """
    wanted = [Column(path_of(written), word) for written, word in declared.items()]
    _refuse_twins(wanted)
    words = {column.path: column.word for column in wanted}
    prefixes = {column.path[:i] for column in wanted for i in range(1, len(column.path))}
    taken = {fold(DOCUMENT), fold(RESCUED), *(fold(column.name) for column in wanted)}
    columns = [Column(id.path, words.pop(id.path, id.word))] if id else []
    taken |= {fold(column.name) for column in columns}
    for column in found:
        if column.path in words:
            columns.append(Column(column.path, words.pop(column.path)))
        elif fold(column.name) not in taken and not _overlaps(column.path, prefixes, words):
            columns.append(column)
            taken.add(fold(column.name))
    return (*columns, *(column for column in wanted if column.path in words))


def _overlaps(
    path: tuple[str, ...], prefixes: Iterable[tuple[str, ...]], words: Mapping[tuple[str, ...], str]
) -> bool:
    """Whether a declared column lies below the path, or above it."""
    return path in prefixes or any(path[:i] in words for i in range(1, len(path)))


def _refuse_twins(columns: Sequence[Column]) -> None:
    names: dict[str, str] = {fold(DOCUMENT): DOCUMENT, fold(RESCUED): RESCUED}
    paths = {column.path for column in columns}
    for column in columns:
        other = names.setdefault(fold(column.name), written_path(column.path))
        if other != written_path(column.path) or fold(column.name) in (fold(DOCUMENT), fold(RESCUED)):
            raise ConfigError(
                f"columns: {written_path(column.path)} and {other} would have the same name",
                hint="leave one of them to the document or to _rescued",
            )
        if above := [column.path[:i] for i in range(1, len(column.path)) if column.path[:i] in paths]:
            raise ConfigError(
                f"columns: {written_path(column.path)} lies inside of {written_path(above[0])}",
                hint="declare the one or the other",
            )
