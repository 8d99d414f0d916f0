"""Texts, dates and casts of DuckDB as Spark's: those that are known to mean the same.

Where the values decide (a year before 1, text that is no date, letters beyond ASCII), the check is written
into the SQL, and Spark refuses the value while it runs.

Reference: https://duckdb.org/docs/stable/sql/functions/text, https://duckdb.org/docs/stable/sql/functions/date
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlglot import exp

from asgard.transform.kinds import BOOL, DATE, DOUBLE, INT64, NAIVE, NULL, TEXT, Kind
from asgard.transform.typed import Typed, Writing, as_double, checked, only, refused, text_literal

DATE_PARTS = {
    **{"YEAR": "year", "MONTH": "month", "DAY": "day", "QUARTER": "quarter", "WEEK": "weekofyear"},
    **{"DOY": "dayofyear", "DAYOFYEAR": "dayofyear", "HOUR": "hour", "MINUTE": "minute"},
}
TIME_PARTS = frozenset(("HOUR", "MINUTE"))
UNITS = {
    **{name: name for name in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")},
    **{f"{name}S": name for name in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")},
}
COMMON_ERA = "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
TEXT_FORMS = {
    "int": r"^-?[0-9]+$",
    "decimal": r"^-?[0-9]+([.][0-9]+)?$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "naive": r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$",
}
CAST_KINDS = {
    **{"TINYINT": "int8", "SMALLINT": "int16", "INT": "int32", "BIGINT": "int64", "DOUBLE": "double"},
    **{"TEXT": "text", "VARCHAR": "text", "DATE": "date", "BOOLEAN": "bool", "TIMESTAMPTZ": "instant"},
    **{"TIMESTAMP": "naive", "TIMESTAMPNTZ": "naive", "DECIMAL": "decimal", "INT128": "huge"},
}
PART_NAMES: dict[type, str] = {exp.DayOfWeek: "DOW", exp.DayOfWeekIso: "ISODOW", exp.DayOfYear: "DOY"}
TEXT_FUNCTIONS: dict[type, tuple[str, Kind]] = {
    **{
        exp.Length: ("char_length", INT64),
        exp.StrPosition: ("instr", INT64),
        exp.Contains: ("contains", BOOL),
    },
    **{exp.StartsWith: ("startswith", BOOL), exp.EndsWith: ("endswith", BOOL)},
}


class Words(Writing):
    """Writes texts, dates and casts."""

    # ---- texts

    def text_function(self, node: exp.Expr) -> Typed:
        only(node, "this", "expression", "substr")
        name, kind = TEXT_FUNCTIONS[type(node)]
        arguments = [
            part for part in (node.this, node.args.get("expression"), node.args.get("substr")) if part
        ]
        sql = f"{name}({', '.join(self.texts(node, *arguments))})"
        return Typed(f"CAST({sql} AS BIGINT)" if kind == INT64 else sql, kind)

    def letters(self, node: exp.Expr) -> Typed:
        only(node, "this")
        (value,) = self.texts(node, node.this)
        name = "upper" if isinstance(node, exp.Upper) else "lower"
        ascii_only = f"{value} RLIKE '^[\\\\x00-\\\\x7F]*$'"
        return Typed(
            checked(f"{name}({value})", ascii_only, value, f"has letters without one {name} case"), TEXT
        )

    def trim(self, node: exp.Trim) -> Typed:
        only(node, "this", "position")
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
        return Typed(f"{name}({self.texts(node, node.this)[0]})", TEXT)

    def part_of_text(self, node: exp.Expr) -> Typed:
        only(node, "this", "start", "length", "expression")
        (value,) = self.texts(node, node.this)
        if isinstance(node, exp.Substring):
            numbers = [self.whole(node.args["start"])]
            numbers += [self.whole(node.args["length"])] if node.args.get("length") is not None else []
            name, least = "substring", 1
        else:
            numbers, name, least = [self.whole(node.expression)], "left", 0
            name = "right" if isinstance(node, exp.Right) else "left"
        if numbers[0] < least or numbers[-1] < 0:
            raise refused(node, hint="count from 1, and not backwards")
        return Typed(f"{name}({value}, {', '.join(map(str, numbers))})", TEXT)

    def replaced(self, node: exp.Replace) -> Typed:
        only(node, "this", "expression", "replacement")
        self.written_text(node.expression)
        texts = self.texts(node, node.this, node.expression, node.args.get("replacement"))
        return Typed(f"replace({', '.join(texts)})", TEXT)

    def joined(self, node: exp.Expr) -> Typed:
        if isinstance(node, exp.DPipe):
            only(node, "this", "expression", "safe")
            return Typed(f"concat({', '.join(self.texts(node, node.this, node.expression))})", TEXT)
        only(node, "expressions", "safe", "coalesce")
        return Typed(f"concat_ws('', {', '.join(self.texts(node, *node.expressions))})", TEXT)

    def split_part(self, node: exp.SplitPart) -> Typed:
        only(node, "this", "delimiter", "part_index")
        (value,) = self.texts(node, node.this)
        delimiter, index = self.written_text(node.args["delimiter"]), self.whole(node.args["part_index"])
        if index < 1:
            raise refused(node, hint="count from 1")
        return Typed(f"split_part({value}, {text_literal(delimiter)}, {index})", TEXT)

    def digest(self, node: exp.Expr) -> Typed:
        only(node, "this", "length")
        (value,) = self.texts(node, node.this)
        if isinstance(node, exp.MD5):
            return Typed(f"md5({value})", TEXT)
        return Typed(f"sha2({value}, {self.whole(node.args.get('length'))})", TEXT)

    # ---- dates

    def extracted(self, node: exp.Extract) -> Typed:
        only(node, "this", "expression")
        return self._date_part(node, node.name.upper(), node.expression)

    def named_part(self, node: exp.Expr) -> Typed:
        only(node, "this")
        return self._date_part(node, PART_NAMES.get(type(node), type(node).__name__.upper()), node.this)

    def _date_part(self, node: exp.Expr, part: str, of: exp.Expr) -> Typed:
        typed = self.write(of)
        if not typed.kind.is_time or (part in TIME_PARTS and typed.kind == DATE):
            raise refused(node, hint="CAST it AS DATE or TIMESTAMP")
        if part in ("DOW", "DAYOFWEEK"):
            return Typed(f"CAST(dayofweek({typed.sql}) - 1 AS BIGINT)", INT64)
        if part == "ISODOW":
            return Typed(f"CAST(weekday({typed.sql}) + 1 AS BIGINT)", INT64)
        if part not in DATE_PARTS:
            raise refused(node)
        return Typed(f"CAST({DATE_PARTS[part]}({typed.sql}) AS BIGINT)", INT64)

    def truncated(self, node: exp.TimestampTrunc) -> Typed:
        only(node, "this", "unit")
        typed, unit = self.write(node.this), UNITS.get(node.args["unit"].name.upper())
        if unit is None or not typed.kind.is_time:
            raise refused(node)
        kind = NAIVE if typed.kind == DATE else typed.kind
        sql = f"date_trunc('{unit}', CAST({typed.sql} AS TIMESTAMP))"
        return Typed(f"CAST({sql} AS {kind.spark})", kind)

    def shifted(self, node: exp.Expr) -> Typed:
        interval, base = node.expression, node.this
        if isinstance(base, exp.Interval) and isinstance(node, exp.Add):
            interval, base = base, interval
        if not isinstance(interval, exp.Interval) or isinstance(node, exp.Mul) or interval.unit is None:
            raise refused(node)
        unit, typed = UNITS.get(interval.unit.name.upper()), self.write(base)
        count = interval.this.name if isinstance(interval.this, exp.Literal) else ""
        if unit is None or not count.isdigit() or not typed.kind.is_time:
            raise refused(node, hint="write INTERVAL with a whole number: INTERVAL 3 MONTH")
        sign = "-" if isinstance(node, exp.Sub) else ""
        kind = NAIVE if typed.kind == DATE else typed.kind
        return Typed(f"timestampadd({unit}, {sign}{count}, CAST({typed.sql} AS {kind.spark}))", kind)

    def days_between(self, node: exp.Expr, one: Typed, other: Typed, sign: str) -> Typed:
        if other.kind == DATE and sign == "-":
            return Typed(f"CAST(datediff({one.sql}, {other.sql}) AS BIGINT)", INT64)
        if other.kind.name not in ("int8", "int16", "int32"):
            raise refused(node)
        name = "date_add" if sign == "+" else "date_sub"
        return Typed(f"{name}({one.sql}, {other.sql})", DATE)

    def day_difference(self, node: exp.DateDiff) -> Typed:
        only(node, "this", "expression", "unit", "date_part_boundary")
        to, since = self.write(node.this), self.write(node.expression)
        if node.args["unit"].name.upper() not in ("DAY", "DAYS") or {to.kind, since.kind} != {DATE}:
            raise refused(node, hint="date_diff('day', ...) of two dates is portable")
        return Typed(f"CAST(datediff({to.sql}, {since.sql}) AS BIGINT)", INT64)

    def last_day(self, node: exp.LastDay) -> Typed:
        only(node, "this")
        typed = self.write(node.this)
        if typed.kind != DATE:
            raise refused(node, hint="CAST it AS DATE")
        return Typed(f"last_day({typed.sql})", DATE)

    # ---- casts

    def converted(self, node: exp.Cast) -> Typed:
        only(node, "this", "to")
        typed, kind = self.write(node.this), self._target(node)
        sql = f"CAST({typed.sql} AS {kind.spark})"
        if typed.kind in (kind, NULL):
            return Typed(sql, kind)
        written = self._exact_cast(typed, kind, sql) if typed.kind.is_exact else None
        if typed.kind == DOUBLE and kind.is_whole and kind.name != "huge":
            written = f"CAST(rint({typed.sql}) AS {kind.spark})"  # DuckDB rounds halves to even
        elif typed.kind.name == "float" and kind == DOUBLE:
            written = sql
        elif typed.kind == TEXT:
            written = self._cast_of_text(typed, kind, sql)
        elif typed.kind.is_time:
            written = self._cast_of_time(typed, kind, sql)
        elif typed.kind == BOOL and (kind == TEXT or (kind.is_whole and kind.name != "huge")):
            written = sql
        if written is None:
            raise refused(
                node, f"a cast from {typed.kind} to {kind} is not known to be equal on DuckDB and Spark"
            )
        return Typed(written, kind)

    def _target(self, node: exp.Cast) -> Kind:
        to = node.args["to"]
        name = CAST_KINDS.get(to.this.name)
        parameters = [int(part.name) for part in to.expressions]
        if name == "decimal":
            digits, scale = {0: (18, 3), 1: (*parameters, 0), 2: parameters}[len(parameters)]
            return Kind("decimal", digits, scale)
        if name is None or parameters:
            raise refused(node)
        return Kind(name)

    def _exact_cast(self, typed: Typed, kind: Kind, sql: str) -> str | None:
        if kind == DOUBLE:
            return as_double(typed)
        if kind.is_whole:
            # DuckDB rounds what Spark cuts off.
            return sql if typed.kind.is_whole else f"CAST(round({typed.sql}, 0) AS {kind.spark})"
        if kind.name == "decimal" or (kind == TEXT and typed.kind.is_whole):
            return sql
        return None

    def _cast_of_text(self, typed: Typed, kind: Kind, sql: str) -> str | None:
        form = TEXT_FORMS.get("int" if kind.is_whole else "decimal" if kind == DOUBLE else kind.name)
        if form is None:
            return None
        if isinstance(typed.value, str):
            if not re.search(form, typed.value):
                return None
            return f"{kind.spark} {typed.sql}" if kind.is_time else sql
        pattern = text_literal(form)
        return checked(sql, f"{typed.sql} RLIKE {pattern}", typed.sql, f"is no {kind} in the form")

    def _cast_of_time(self, typed: Typed, kind: Kind, sql: str) -> str | None:
        if kind.is_time:
            return sql
        if kind == TEXT and typed.kind.name != "instant":
            day = f"CAST({typed.sql} AS DATE) {COMMON_ERA}"
            return checked(sql, day, typed.sql, "has no year of four digits, the text")
        return None


WORDS: dict[type, Callable[[Any, Any], Typed]] = {
    **dict.fromkeys(TEXT_FUNCTIONS, Words.text_function),
    **dict.fromkeys((exp.Upper, exp.Lower), Words.letters),
    **{exp.Trim: Words.trim, exp.Replace: Words.replaced, exp.SplitPart: Words.split_part},
    **dict.fromkeys((exp.Substring, exp.Left, exp.Right), Words.part_of_text),
    **dict.fromkeys((exp.DPipe, exp.Concat), Words.joined),
    **dict.fromkeys((exp.MD5, exp.SHA2), Words.digest),
    **{exp.Extract: Words.extracted, exp.TimestampTrunc: Words.truncated},
    **dict.fromkeys((exp.Year, exp.Month, exp.Quarter, exp.Day, exp.Week), Words.named_part),
    **dict.fromkeys((exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear), Words.named_part),
    **dict.fromkeys((exp.Hour, exp.Minute), Words.named_part),
    **{exp.DateDiff: Words.day_difference, exp.LastDay: Words.last_day, exp.Cast: Words.converted},
}
