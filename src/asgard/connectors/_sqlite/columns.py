"""What type a SQLite column has: by its declaration where that binds its values, else by looking at them.

SQLite keeps a storage class for each value: null, integer, real, text, blob. Here a declaration becomes a
promise about them, the counts of a look through a table become a type, and rows become Arrow - with every
value's class seen, so that a `'5'` among integers is an error and no 5.

Reference: https://www.sqlite.org/datatype3.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asgard.core.columns import array_of
from asgard.core.errors import DataError
from asgard.transport.column_types import field_of
from asgard.transport.text_proof import convert_texts, misfit

EXACT_DECIMAL_DIGITS = 15
"""SQLite keeps decimals as doubles: so many digits come back unchanged."""
EXACT_INTEGER = 1 << 53
STORAGE = {"integer": int, "real": float, "text": str, "blob": bytes}
"""SQLite's storage classes, and what they are in Python."""


@dataclass(frozen=True)
class Column:
    """A column as the database declares it.

    Attributes:
        declared: the declared type as it stands there, in upper case.
        strict: the database itself holds values to the declared type.
        key: its place in the primary key, counted from 1; 0 when it is not in it.
        required: it has NOT NULL.
    """

    name: str
    declared: str = ""
    strict: bool = False
    key: int = 0
    required: bool = False

    @property
    def sql(self) -> str:
        """The name quoted."""
        return identifier(self.name)

    @property
    def decimal(self) -> str | None:
        """The decimal type that is declared, if doubles carry all of its digits."""
        found = re.fullmatch(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", self.declared)
        if found is None or not 1 <= int(found[1]) <= EXACT_DECIMAL_DIGITS:
            return None
        precision, scale = int(found[1]), int(found[2] or 0)
        return f"decimal({precision}, {scale})" if scale <= precision else None

    @property
    def promised(self) -> str | None:
        """The type that nearly every value has by SQLite's own conversions; None when only they can tell."""
        if self.strict:
            return {
                "INT": "int64",
                "INTEGER": "int64",
                "REAL": "float64",
                "TEXT": "text",
                "BLOB": "binary",
            }.get(self.declared)
        if "INT" in self.declared:
            return "int64"
        if re.search("CHAR|CLOB|TEXT", self.declared):
            return "text"
        if self.declared == "BLOB":
            return "binary"
        return "float64" if re.search("REAL|FLOA|DOUB", self.declared) else None

    @property
    def meant(self) -> str | None:
        """The type that a column without values is to have."""
        if self.promised or self.decimal:
            return self.promised or self.decimal
        if self.declared.startswith("BOOL"):
            return "bool"
        return "text" if re.match("DATE|TIME|JSON|STRING", self.declared) else None

    def field(self, word: str | None) -> pa.Field:
        """The Arrow field; a text column that is declared to hold dates says so in `asgard.type`."""
        if word is None:
            return pa.field(self.name, pa.null(), metadata={"asgard.type": "null"})
        found = field_of(self.name, word)
        if word == "text" and re.match("DATE|TIMESTAMP", self.declared):
            return found.with_metadata({"asgard.type": self.declared.lower()})
        return found


def identifier(name: str) -> str:
    """The name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def look_sql(columns: Sequence[Column], relation: str) -> str:
    """One pass over a relation that counts what its columns hold; seven figures for each column."""
    figures = []
    for column in columns:
        name = identifier(column.name)
        decimal = field_of(column.name, column.decimal).type if column.decimal else pa.decimal128(1, 0)
        whole = decimal.precision - decimal.scale
        figures += [f"sum(typeof({name}) = '{storage}')" for storage in STORAGE]
        figures.append(f"sum({name} NOT IN (0, 1))")
        figures.append(
            f"sum(typeof({name}) = 'integer' AND ({name} > {EXACT_INTEGER} OR {name} < -{EXACT_INTEGER}))"
        )
        figures.append(
            # not abs(): it overflows for the lowest integer
            f"sum({name} >= 1e{whole} OR {name} <= -1e{whole} OR (typeof({name}) = 'real' "
            f"AND {name} <> CAST(printf('%.{decimal.scale}f', {name}) AS REAL)))"
        )
    return f"SELECT {', '.join(figures)} FROM {relation}"


@dataclass(frozen=True)
class Look:
    """What a look through a column found.

    Attributes:
        counts: storage class to values; those that do not occur are left out.
        no_bools: numbers other than 0 and 1.
        large: integers that no double holds for certain.
        no_decimals: numbers that the declared decimal does not hold.
    """

    counts: Mapping[str, int]
    no_bools: int
    large: int
    no_decimals: int

    @classmethod
    def of(cls, figures: Sequence[int | None]) -> Look:
        """Reads seven figures of `look_sql`."""
        plain = [figure or 0 for figure in figures]
        counts = {storage: count for storage, count in zip(STORAGE, plain, strict=False) if count}
        return cls(counts, *plain[len(STORAGE) :])

    def word(self, column: Column) -> str | None:
        """The type of all values; None when there are none.

        Raises:
            ValueError: they are of several types.
        """
        found = set(self.counts)
        if not found:
            return column.meant
        if found <= {"integer", "real"}:
            return self._number(column)
        if len(found) > 1:
            raise ValueError(self.told)
        return "text" if found == {"text"} else "binary"

    def _number(self, column: Column) -> str:
        integers_only = "real" not in self.counts
        if column.declared.startswith("BOOL") and integers_only and not self.no_bools:
            return "bool"
        if column.decimal and not self.no_decimals:
            return column.decimal
        if integers_only:
            return "int64"
        if self.large:
            raise ValueError(f"{self.told}, {self.large} of the integers too large for a double")
        return "float64"

    @property
    def told(self) -> str:
        """`3 integer, 1 text`."""
        return ", ".join(f"{count} {storage}" for storage, count in self.counts.items())


def looked_types(columns: Sequence[Column], figures: Sequence[int | None]) -> dict[str, str | None]:
    """The types of columns that were looked through.

    Raises:
        DataError: some hold values of several types; all of those are named.
    """
    types: dict[str, str | None] = {}
    mixed: list[tuple[str, str]] = []
    for number, column in enumerate(columns):
        try:
            types[column.name] = Look.of(figures[number * 7 : number * 7 + 7]).word(column)
        except ValueError as error:
            mixed.append((column.name, str(error)))
    if mixed:
        raise mixed_values(mixed)
    return types


def mixed_values(mixed: Sequence[tuple[str, str]]) -> DataError:
    """The error about columns whose values are of several types."""
    names = ", ".join(name for name, _ in mixed)
    told = "; ".join(f"column {name} has {counts}" for name, counts in mixed)
    pinned = ", ".join(f"{name}: text" for name, _ in mixed)
    return DataError(
        f"values of several types in one column: {told}",
        hint=f"`columns: {{{pinned}}}` in asgard.yml carries them as text",
        where={"column": names},
    )


def batch_of(
    rows: Sequence[tuple[Any, ...]], schema: pa.Schema, as_text: Collection[str], stream: str
) -> pa.RecordBatch:
    """Rows as Arrow.

    Args:
        as_text: columns whose values become text whatever they are.

    Raises:
        DataError: a value is not of its column's type; names column and value.
    """
    arrays = []
    for values, column in zip(zip(*rows, strict=True), schema, strict=True):
        where = {"stream": stream, "column": column.name}
        if column.name in as_text:
            arrays.append(array_of([_text(value, where) for value in values], column.type))
        else:
            arrays.append(_array(values, column.type, where))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: tuple[Any, ...], wanted: pa.DataType, where: dict[str, str]) -> pa.Array:
    classes = set(map(type, values)) - {type(None)}
    held = _held_by(wanted)
    if classes <= held:
        plain = [_BOOLS.get(value, value) for value in values] if wanted == pa.bool_() else values
        try:
            return array_of(plain, wanted)
        except (pa.ArrowInvalid, OverflowError):
            raise misfit(next(v for v in plain if not _fits(v, wanted)), wanted, where) from None
    textual = classes == {str} and not pa.types.is_binary(wanted)  # a text in a BLOB column is no blob
    if textual or (pa.types.is_decimal(wanted) and classes <= {int, float, str}):
        texts = [value if value is None or isinstance(value, str) else repr(value) for value in values]
        words = [text for text in texts if text is not None and not re.search("[0-9]", text)]
        if words and pa.types.is_floating(wanted):
            raise misfit(words[0], wanted, where)  # Arrow reads a float in INF, SQLite holds a text
        return convert_texts(array_of(texts, pa.string()), wanted, where)
    raise misfit(next(v for v in values if v is not None and type(v) not in held), wanted, where)


_BOOLS = {0: False, 1: True}


def _held_by(wanted: pa.DataType) -> set[type]:
    if pa.types.is_string(wanted):
        return {str}
    if pa.types.is_binary(wanted):
        return {bytes}
    if pa.types.is_integer(wanted) or pa.types.is_boolean(wanted):
        return {int}
    return {int, float} if pa.types.is_floating(wanted) else set()


def _fits(value: Any, wanted: pa.DataType) -> bool:
    try:
        array_of([value], wanted)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _text(value: Any, where: dict[str, str]) -> str | None:
    """The value as text: numbers in their shortest form that is the same number."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"a blob is no UTF-8 text: {value[:20].hex()}",
                hint=f"`columns: {{{where['column']}: binary}}` in asgard.yml carries the bytes",
                where=where,
            ) from None
    return value if value is None or isinstance(value, str) else repr(value)
