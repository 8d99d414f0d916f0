"""PostgreSQL's types: how each arrives, and what the server is asked for so that it arrives exactly.

Friendly types come as they are. What DuckDB or Arrow would bend is cast on the server: to an exact type
where there is one, else to the text that the server itself writes for the value. What a column can hold but
its Arrow type cannot (NaN in a numeric(p, s), a two-dimensional array) is watched for by a guard: an SQL
condition that must hold for every row; infinite times are seen on our side. docs/reference/types-postgres.md
is the table of all this, made from the tests.

Reference: https://www.postgresql.org/docs/current/datatype.html
Reference: https://www.postgresql.org/docs/current/catalog-pg-type.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from asgard.core.errors import ConfigError, DataError
from asgard.core.stream import JSON_TYPE
from asgard.transport.column_types import field_of

BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, JSON, FLOAT4, FLOAT8 = 16, 17, 20, 21, 23, 25, 26, 114, 700, 701
MONEY, BPCHAR, VARCHAR, DATE, TIMESTAMP, TIMESTAMPTZ, NUMERIC = 790, 1042, 1043, 1082, 1114, 1184, 1700
UUID, JSONB = 2950, 3802

NATIVE: dict[int, tuple[pa.DataType, str]] = {
    BOOL: (pa.bool_(), ""), INT2: (pa.int16(), ""), INT4: (pa.int32(), ""), INT8: (pa.int64(), ""),
    FLOAT4: (pa.float32(), ""), FLOAT8: (pa.float64(), ""), TEXT: (pa.string(), ""),
    VARCHAR: (pa.string(), ""), BYTEA: (pa.binary(), ""), DATE: (pa.date32(), ""),
    TIMESTAMP: (pa.timestamp("us"), ""),
    TIMESTAMPTZ: (pa.timestamp("us", "UTC"), ""), UUID: (pa.string(), "uuid"), JSON: (pa.string(), "json"),
    JSONB: (pa.string(), "json"),
}  # fmt: skip
"""Types that DuckDB reads unbent: oid to Arrow type and `asgard.type`."""
NATIVE_ELEMENTS = frozenset(NATIVE) - {BYTEA, JSON, JSONB}
NUMBERS = frozenset({INT2, INT4, INT8, NUMERIC, MONEY})
TEXTUAL = frozenset({TEXT, VARCHAR, BPCHAR})
TIMES = frozenset({DATE, TIMESTAMP, TIMESTAMPTZ})
SHORT_NAMES = {
    "time without time zone": "time", "time with time zone": "timetz", "bit varying": "varbit",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    "character varying": "varchar", "double precision": "float8", "real": "float4",
}  # fmt: skip
"""`asgard.type` of what `format_type` names longer."""

FIRST_DAY = -2_440_588
LAST_DAY = 2_145_042_905
FIRST_MICROSECOND = FIRST_DAY * 86_400_000_000
INFINITE_MICROSECOND = (1 << 63) - 1
"""PostgreSQL's dates go from 4714-11-24 BC to 5874897-12-31. Outside of that are its infinities, and times
after the year 294246 that Arrow's microseconds since 1970 cannot count."""

AS_TEXT = "columns: {{{name}: text}} carries the source's own text"


@dataclass(frozen=True)
class TypeInfo:
    """A row of pg_type, as far as it matters here.

    Attributes:
        name: as `format_type` writes it, qualified where it must be.
        kind: typtype: b base, c composite, d domain, e enum, p pseudo, r range, m multirange.
        element: oid of the element, for true arrays; 0 else.
        of, of_mod: a domain's type and modifier.
        writer: the qualified output function, where a cast to text gives another text than it; else empty.
    """

    oid: int
    name: str
    kind: str
    element: int = 0
    of: int = 0
    of_mod: int = -1
    writer: str = ""


@dataclass(frozen=True)
class Attribute:
    """A column of a table, view or query, as the catalog has it."""

    name: str
    type: int
    mod: int = -1


@dataclass(frozen=True)
class Column:
    """How a column is read.

    Attributes:
        field: as the stream's schema has it.
        expression: what the server is asked for.
        guard: an SQL condition that every row fulfils (null counts as fulfilled); empty when there is none.
        reason: what is wrong with a row that does not fulfil it.
        hint: how to allow it.
    """

    field: pa.Field
    expression: str
    guard: str = ""
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class _Shape:
    """Arrow type, label, and what to ask for, of one type; `{0}` stands for the column."""

    type: pa.DataType
    label: str
    expression: str
    guard: str = ""
    reason: str = ""


class TypeMap:
    """Every type that the columns in question have.

    Args:
        types: pg_type, as far as it is needed: the columns' types, what they are domains and arrays of.
        money_scale: digits after the point of the server's money.
    """

    def __init__(self, types: Iterable[TypeInfo], money_scale: int = 2) -> None:
        self._types = {info.oid: info for info in types}
        self._money_scale = money_scale
        self._known: dict[tuple[int, int], _Shape] = {}

    def column(self, attribute: Attribute, wanted: str | None = None) -> Column:
        """How to read a column, as the user wants it or as it is best carried.

        Raises:
            ConfigError: it cannot be had as what is wanted.
        """
        quoted = quote(attribute.name)
        key = (attribute.type, attribute.mod)
        if wanted is not None:
            shape = self._wanted(attribute, wanted)
        else:
            shape = self._known.get(key) or self._known.setdefault(key, self._shape(*key))
        metadata = {JSON_TYPE: _short(shape.label).encode()} if shape.label else None
        return Column(
            pa.field(attribute.name, shape.type, metadata=metadata),
            shape.expression.replace("{0}", quoted),
            shape.guard.replace("{0}", quoted),
            shape.reason,
            AS_TEXT.format(name=attribute.name),
        )

    def name(self, oid: int) -> str:
        """The type as SQL writes it; a domain's own type."""
        return self._types[self._base(oid, -1)[0]].name

    def base(self, oid: int) -> int:
        """The oid behind a domain, or the oid itself."""
        return self._base(oid, -1)[0]

    def _base(self, oid: int, mod: int) -> tuple[int, int]:
        info = self._types[oid]
        while info.kind == "d":
            oid, mod = info.of, info.of_mod
            info = self._types[oid]
        return oid, mod

    def _shape(self, oid: int, mod: int) -> _Shape:
        base, mod = self._base(oid, mod)
        info = self._types[base]
        reference = "{0}" if base == oid else "{0}::" + _typed(info, mod)
        if base in NATIVE:
            type, label = NATIVE[base]
            return _Shape(type, label, reference)
        if base == NUMERIC:
            return _numeric(mod, reference)
        if base == OID:
            return _Shape(pa.int64(), "oid", "{0}::bigint")
        if base == MONEY:
            scale = self._money_scale
            return _Shape(pa.decimal128(19, scale), "money", f"{{0}}::numeric::numeric(19,{scale})")
        if base == BPCHAR:
            return _Shape(pa.string(), "", "{0}::text")
        if info.element:
            return self._array(info, mod)
        return _Shape(pa.string(), info.name, self._text(base))

    def _text(self, oid: int) -> str:
        info = self._types[self._base(oid, -1)[0]]
        return f"pg_catalog.textin({info.writer}({{0}}))" if info.writer else "{0}::text"

    def _array(self, info: TypeInfo, mod: int) -> _Shape:
        """One-dimensional lists. What has more dimensions, or counts from elsewhere, is no list: refused."""
        element, element_mod = self._base(info.element, mod)
        guard = "coalesce(array_ndims({0}) = 1 AND array_lower({0}, 1) = 1, true)"
        reason = "an array that has several dimensions or does not count from 1"
        label = f"{self._types[element].name}[]"
        digits = _digits(element_mod) if element == NUMERIC else None
        if element in NATIVE_ELEMENTS:
            type, own = NATIVE[element]
            reference = "{0}" if element == info.element else f"{{0}}::{label}"
            return _Shape(pa.list_(type), f"{own}[]" if own else "", reference, guard, reason)
        if digits:
            cast = f"{{0}}::numeric({digits[0]},{digits[1]})[]"
            guard = f"({guard} AND coalesce('NaN' <> ALL ({{0}}), true))"
            return _Shape(pa.list_(pa.decimal128(*digits)), "", cast, guard, f"{reason}, or NaN in it")
        if element in (JSON, JSONB):
            return _Shape(pa.list_(pa.string()), "json[]", "{0}::text[]", guard, reason)
        writer = self._types[element].writer
        expression = "{0}::text[]"
        if writer:
            each = (
                f"SELECT pg_catalog.textin({writer}(e)) FROM unnest({{0}}) WITH ORDINALITY u(e, n) ORDER BY n"
            )
            expression = f"CASE WHEN {{0}} IS NOT NULL THEN ARRAY({each}) END"
        return _Shape(pa.list_(pa.string()), label, expression, guard, reason)

    def _wanted(self, attribute: Attribute, word: str) -> _Shape:
        field = field_of(attribute.name, word)
        base, _ = self._base(attribute.type, attribute.mod)
        info = self._types[base]
        plain = self._shape(attribute.type, attribute.mod)
        if plain.type == field.type and (not t.is_string(field.type) or base in TEXTUAL):
            label = "json" if field.metadata else plain.label
            return _Shape(plain.type, label, plain.expression, plain.guard, plain.reason)
        if t.is_string(field.type):
            label = "json" if field.metadata else ("" if base in TEXTUAL else info.name)
            return _Shape(pa.string(), label, self._text(base) if base != BPCHAR else "{0}::text")
        if base in NUMBERS | TEXTUAL and (t.is_decimal(field.type) or t.is_integer(field.type)):
            return _exact_number(field.type)
        if base in NUMBERS and t.is_floating(field.type):
            # The one cast that may round: whoever writes `double` behind a numeric asks for it.
            return _Shape(
                field.type, "", f"{{0}}::numeric::{'real' if t.is_float32(field.type) else 'float8'}"
            )
        if base in TIMES and (t.is_timestamp(field.type) or t.is_date(field.type)):
            return _exact_time(field.type, info.name)
        raise ConfigError(
            f"column {attribute.name!r} is {info.name}: it cannot be had as {word}",
            hint=f"it comes as {plain.type} by itself, and as text",
        )


def _short(label: str) -> str:
    name = label.removesuffix("[]")
    return SHORT_NAMES.get(name, name) + label[len(name) :]


def quote(name: str) -> str:
    """The name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _digits(mod: int) -> tuple[int, int] | None:
    """Precision and scale of the decimal that holds every value of numeric(p, s); None when none does."""
    if mod < 4:
        return None
    precision, scale = (mod - 4) >> 16, (mod - 4) & 0x7FF
    if scale >= 1024:
        scale -= 2048
    precision, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    return (precision, scale) if precision <= 38 else None


def _typed(info: TypeInfo, mod: int) -> str:
    """A domain's type as a cast writes it; the modifier matters only to numeric."""
    digits = _digits(mod) if info.oid == NUMERIC else None
    return f"numeric({digits[0]},{digits[1]})" if digits else info.name


def _numeric(mod: int, reference: str) -> _Shape:
    digits = _digits(mod)
    if digits is None:
        return _Shape(pa.string(), "numeric", "{0}::text")
    declared = ((mod - 4) >> 16, (mod - 4) & 0x7FF)
    expression = reference if declared == digits else f"{{0}}::numeric({digits[0]},{digits[1]})"
    return _Shape(pa.decimal128(*digits), "", expression, "{0} <> 'NaN'", "NaN, which no decimal is")


def _exact_number(type: pa.DataType) -> _Shape:
    value = "{0}::numeric"
    if t.is_decimal(type):
        precision, scale = type.precision, type.scale
        guard = f"(abs({value}) < 1e{precision - scale}::numeric AND round({value}, {scale}) = {value})"
        expression = f"{value}::numeric({precision},{scale})"
    else:
        name = {16: "smallint", 32: "integer", 64: "bigint"}[type.bit_width]
        most = 1 << (type.bit_width - 1)
        guard = f"({value} BETWEEN {-most}::numeric AND {most - 1}::numeric AND trunc({value}) = {value})"
        expression = f"{value}::{name}"
    return _Shape(type, "", expression, guard, f"a value that {type} does not hold")


def _exact_time(type: pa.DataType, source: str) -> _Shape:
    name = "date" if t.is_date(type) else "timestamptz" if type.tz else "timestamp"
    guard = f"({{0}}::{name})::{source} = {{0}}"
    return _Shape(type, "", f"{{0}}::{name}", guard, f"a value that {name} does not hold")


def refuse_unbound_times(batch: pa.RecordBatch) -> None:
    """Refuses infinite dates and times, and those beyond Arrow's reach, by column (Promise 2).

    Raises:
        DataError: a column has one; the hint says how to allow it.
    """
    for field, array in zip(batch.schema, batch.columns, strict=True):
        if t.is_list(array.type):
            array = array.values
        if t.is_date32(array.type):
            low, high = FIRST_DAY, LAST_DAY
            numbers = array.view(pa.int32())
        elif t.is_timestamp(array.type):
            low, high = FIRST_MICROSECOND, INFINITE_MICROSECOND - 1
            numbers = array.view(pa.int64())
        else:
            continue
        bounds: Mapping[str, int | None] = pc.min_max(numbers).as_py()
        least, most = bounds["min"], bounds["max"]
        if least is not None and most is not None and (least < low or most > high):
            raise DataError(
                f"infinity, or a time beyond the years that a timestamp counts, has no place in {field.type}",
                hint=AS_TEXT.format(name=field.name),
                where={"column": field.name},
            )
