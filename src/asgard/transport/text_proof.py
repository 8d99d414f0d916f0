"""Which type carries every text of a column exactly; and the conversion into it.

CSV has no types. A column becomes more than text only when *all* of its values prove it: written back, each
number, date or time is the value that stood there (Promise 2). `007`, `+1`, 20-digit identifiers that no
decimal holds and 31 June stay text. What the proof finds never depends on the order of the rows.

    every value is                                       type
    true, false (one way of writing)                     bool
    an integer without leading zeros, 64 bits            int64
    such an integer, or a plain decimal fraction         decimal(18 or 38, s), s one of 2, 4, 6, 9, 18
    the same with an exponent or more digits, and the
    shortest text of its double                          float64
    YYYY-MM-DD                                           date
    YYYY-MM-DD HH:MM:SS with up to 6 fractional digits   timestamp
    the same with Z or +00:00                            timestamp of UTC
    nothing at all                                       null
    anything else                                        text

Decimals get room in their digits, so that the next file fits the same type.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asgard.core.columns import scalar_of
from asgard.core.errors import DataError
from asgard.transport.column_types import first_misfit, word_of

UTC = pa.timestamp("us", "UTC")
NAIVE = pa.timestamp("us")
SCALES = (0, 2, 4, 6, 9, 18)
EXACT_FLOAT_DIGITS = 15
"""Every decimal of so many digits comes back unchanged from a double."""
_ZERO, _ONE, _EXACT_SIZE = (
    scalar_of(number, pa.int64()).cast(pa.int32()) for number in (0, 1, EXACT_FLOAT_DIGITS)
)

_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_FLOAT = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_BOOLS = (frozenset({"true", "false"}), frozenset({"True", "False"}), frozenset({"TRUE", "FALSE"}))
_FAMILIES = (
    ("number", re.compile(r"-?[0-9]")),
    ("bool", re.compile(r"(?i:true|false)$")),
)
_TIMES = (
    (pa.date32(), re.compile(r"\d{4}-\d\d-\d\d$")),
    (UTC, re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")),
    (NAIVE, re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?$")),
)


class NumberProof:
    """Whether all of a column's numbers are of one exact type. Feed it, then ask `type`."""

    def __init__(self) -> None:
        self.whole = 0  # most digits before the point
        self.scale = 0  # most digits behind it
        self.int64 = True
        self.exponents = False
        self.float64 = True

    def see_texts(self, texts: pa.Array) -> bool:
        """Takes texts without nulls into account; False when one of them is no number, or no type is left."""
        try:
            integers = pc.cast(texts, pa.int64())
            if pc.all(pc.equal(pc.cast(integers, pa.string()), texts)).as_py():
                extremes = pc.min_max(integers).as_py()
                self.see_integers(extremes["min"], extremes["max"])
                return self.type is not None
        except pa.ArrowInvalid:
            pass
        plain = pc.match_substring_regex(texts, _NUMBER)
        if not pc.all(plain).as_py():
            others = texts.filter(pc.invert(plain))
            if not pc.all(pc.match_substring_regex(others, _FLOAT)).as_py():
                return False
            self.exponents = True
            self.float64 = self.float64 and _all_shortest(others)
            texts = texts.filter(plain)
        if len(texts):
            self._see_plain(texts)
        return self.type is not None

    def see_integers(self, lowest: int, highest: int) -> None:
        """Takes integers between the two into account."""
        most = max(abs(lowest), abs(highest))
        self._see_digits(len(str(most)), 0)
        self.int64 = self.int64 and lowest >= -(1 << 63) and highest < 1 << 63
        self.float64 = self.float64 and most <= 1 << 53

    def _see_plain(self, texts: pa.Array) -> None:
        size = pc.binary_length(texts)
        point = pc.find_substring(texts, ".")
        has_point = pc.greater_equal(point, _ZERO)
        negative = pc.cast(pc.starts_with(texts, "-"), pa.int32())
        whole = pc.subtract(pc.if_else(has_point, point, size), negative)
        scale = pc.if_else(has_point, pc.subtract(pc.subtract(size, point), _ONE), _ZERO)
        self._see_digits(pc.max(whole).as_py(), pc.max(scale).as_py())
        long = texts.filter(pc.greater(size, _EXACT_SIZE))
        self.float64 = self.float64 and _all_shortest(long)
        if self.int64 and not self.scale:
            try:
                pc.cast(texts, pa.int64())
            except pa.ArrowInvalid:
                self.int64 = False

    def _see_digits(self, whole: int, scale: int) -> None:
        self.whole = max(self.whole, whole)
        self.scale = max(self.scale, scale)

    @property
    def type(self) -> pa.DataType | None:
        """int64, decimal or float64; None when no type carries all of the numbers."""
        if self.exponents:
            return pa.float64() if self.float64 else None
        if self.int64 and not self.scale:
            return pa.int64()
        if (roomy := _roomy_decimal(self.whole, self.scale)) is not None:
            return roomy
        if self.float64:
            return pa.float64()
        fits = self.whole + self.scale <= 38
        return pa.decimal128(38, self.scale) if fits else None


def _roomy_decimal(whole: int, scale: int) -> pa.DataType | None:
    for wide in SCALES:
        if wide >= scale and whole + wide <= 38:
            return pa.decimal128(18 if whole + wide <= 18 else 38, wide)
    return None


def _all_shortest(texts: pa.Array) -> bool:
    again = pc.cast(pc.cast(texts, pa.float64()), pa.string())
    return all(map(_is_shortest, texts.filter(pc.not_equal(again, texts)).to_pylist()))


def _is_shortest(text: str) -> bool:
    return Decimal(text) == Decimal(repr(float(text)))


class TextProof:
    """The proof for one column of text. Feed it every value, then ask `type`."""

    def __init__(self) -> None:
        self._family = ""
        self._number = NumberProof()
        self._time: pa.DataType = pa.null()
        self._bools = frozenset[str]()

    def see(self, texts: pa.Array) -> None:
        """Takes more of the column's values into account; nulls say nothing."""
        if self._family == "text":
            return
        present = texts.drop_null()
        if not len(present):
            return
        if not self._family:
            self._begin(present[0].as_py())
        if not self._holds(present):
            self._family = "text"

    def _begin(self, text: str) -> None:
        for type, pattern in _TIMES:
            if pattern.match(text):
                self._family, self._time = "time", type
                return
        self._family = next((family for family, pattern in _FAMILIES if pattern.match(text)), "text")
        self._bools = next((ways for ways in _BOOLS if text in ways), frozenset())

    def _holds(self, texts: pa.Array) -> bool:
        if self._family == "number":
            return self._number.see_texts(texts)
        if self._family == "bool":
            return set(pc.unique(texts).to_pylist()) <= self._bools
        return self._family == "time" and self._holds_times(texts)

    def _holds_times(self, texts: pa.Array) -> bool:
        try:
            times = pc.cast(texts, self._time)
        except pa.ArrowInvalid:
            return False
        if self._time == pa.date32():
            return bool(pc.min(pc.cast(times, pa.int32())).as_py() >= -719_162)  # 0001-01-01
        if pc.min(pc.binary_length(texts)).as_py() < len("YYYY-MM-DD HH:MM:SS"):
            return False
        if pc.min(pc.cast(times, pa.int64())).as_py() < -62_135_596_800_000_000:
            return False
        if self._time == NAIVE:
            return True
        return bool(pc.all(pc.or_(pc.ends_with(texts, "Z"), pc.ends_with(texts, "+00:00"))).as_py())

    @property
    def type(self) -> pa.DataType:
        """The type that the values seen so far prove."""
        if not self._family:
            return pa.null()
        if self._family == "time":
            return self._time
        number = self._number.type if self._family == "number" else None
        return pa.bool_() if self._family == "bool" else number or pa.string()


def convert_texts(texts: pa.Array, type: pa.DataType, where: dict[str, str]) -> pa.Array:
    """The texts as values of the type; nulls stay nulls.

    Args:
        where: for the error: column, and file or stream.

    Raises:
        DataError: a text is no such value, or would lose something; names it.
    """
    if texts.type == type:
        return texts
    try:
        return _cast(texts, type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        index = first_misfit(texts, lambda part: _cast(part, type))
        raise misfit(texts[index].as_py(), type, where) from error


def _cast(texts: pa.Array, type: pa.DataType) -> pa.Array:
    if pa.types.is_null(type):
        if texts.null_count < len(texts):
            raise pa.ArrowInvalid("a value where none was")
        return pa.nulls(len(texts))
    if type in (pa.date32(), NAIVE, UTC) or pa.types.is_integer(type):
        # Arrow takes 0x1F for an integer, and times before the year 1
        strange = pc.match_substring_regex(texts, "^-?0[xX]|^0000")
        if pc.any(strange).as_py():
            raise pa.ArrowInvalid("no such value")
    return pc.cast(texts, type)


def misfit(value: Any, type: pa.DataType, where: dict[str, str]) -> DataError:
    """The error about a value that a column's type does not carry."""
    column = where.get("column", "")
    written = str(value) if isinstance(value, Decimal) else repr(value)
    shown = written if len(written) <= 80 else written[:77] + "..."
    return DataError(
        f"the value {shown} is no {word_of(type)}",
        hint=f"`columns: {{{column}: text}}` in asgard.yml carries the column as it is",
        where=where,
    )
