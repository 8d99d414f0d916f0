"""What users write behind `columns:` and what Arrow calls it.

Knows the words; leaves the conversion of values to whoever reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator

from asgard.core.errors import ConfigError, QueryError

WORDS: dict[str, pa.DataType] = {
    "text": pa.string(), "string": pa.string(), "varchar": pa.string(), "json": pa.string(),
    "binary": pa.binary(), "bytes": pa.binary(), "blob": pa.binary(),
    "bool": pa.bool_(), "boolean": pa.bool_(),
    "int16": pa.int16(), "smallint": pa.int16(), "int32": pa.int32(),
    "int64": pa.int64(), "int": pa.int64(), "integer": pa.int64(), "bigint": pa.int64(),
    "float32": pa.float32(), "float64": pa.float64(), "float": pa.float64(), "double": pa.float64(),
    "date": pa.date32(), "timestamp": pa.timestamp("us"), "datetime": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}  # fmt: skip
"""`timestamp` has no zone, `timestamptz` is an instant."""

_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")


def field_of(name: str, word: str) -> pa.Field:
    """The Arrow field of a column that is to have the type.

    Raises:
        ConfigError: no such type; the hint names those there are.
    """
    plain = word.strip().lower()
    if found := _DECIMAL.fullmatch(plain):
        precision, scale = int(found[1]), int(found[2] or 0)
        if not (1 <= precision <= 38 and scale <= precision):
            raise ConfigError(
                f"{word!r} is no decimal type", hint="decimal(p, s) has 1 to 38 digits, s of them fractional"
            )
        return pa.field(name, pa.decimal128(precision, scale))
    if plain not in WORDS:
        raise ConfigError(
            f"there is no type {word!r} for column {name!r}",
            hint="there are text, int64, int32, int16, float64, float32, decimal(p, s), bool, date, "
            "timestamp, timestamptz, binary, json",
        )
    return pa.field(name, WORDS[plain], metadata={"asgard.type": "json"} if plain == "json" else None)


def word_of(type: pa.DataType) -> str:
    """The word of a type: the inverse of `field_of`, for what one process tells another."""
    if pa.types.is_decimal(type):
        return f"decimal({type.precision}, {type.scale})"
    return next((word for word, known in WORDS.items() if known == type), str(type))


def _known(words: Mapping[str, str]) -> Mapping[str, str]:
    for name, word in words.items():
        try:
            field_of(name, word)
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.hint}") from error
    return words


ColumnTypes = Annotated[dict[str, str], AfterValidator(_known)]
"""The option `columns`: column name to type."""


def refuse_unknown(wanted: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuses an option that names columns which are not there.

    Raises:
        QueryError: names them, and those that there are.
    """
    there = list(known)
    if strange := [name for name in wanted if name not in there]:
        raise QueryError(
            f"{where} has no column {', '.join(map(repr, strange))}", hint=f"its columns: {', '.join(there)}"
        )


def unique_names(written: Sequence[str | None]) -> list[str]:
    """Names for columns as a header has them: one without a name is `column_3`, a second `a` is `a_2`."""
    wished = [name or f"column_{number}" for number, name in enumerate(written, 1)]
    names: list[str] = []
    for name in wished:
        unique, number = name, 1
        while unique in names or (number > 1 and unique in wished):
            number += 1
            unique = f"{name}_{number}"
        names.append(unique)
    return names


Convert = Callable[[pa.Array], pa.Array]


def first_misfit(array: pa.Array, convert: Convert) -> int:
    """The index of a value that `convert` refuses, halving the array."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(array.slice(low, middle - low))
            low = middle
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            high = middle
    return low
