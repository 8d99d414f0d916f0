"""Checks of a frame that is in memory already: the plain face of `asgard.quality`.

It asks the same questions in the same way as the checks of a project, and remembers every answer. What a
type is called by the libraries that frames come from is known here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from asgard.app.config.mistakes import near
from asgard.app.frames.frames import to_arrow
from asgard.app.frames.listening import LOGGER
from asgard.core.check import Check, Verdict
from asgard.core.clock import SystemClock
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.stream import Mode
from asgard.core.table import Mount, TableName
from asgard.core.types import canonical_batch, canonical_schema
from asgard.engines.duckdb import DuckDBEngine
from asgard.quality.audit import AuditContext, audit
from asgard.quality.types import carries, is_text, parsed

MEMORY_BYTES = 512 << 20

Answer = tuple[bool, str]
Entry = tuple[str, str, bool, str]
"""Kind, subject, passed, message."""


class DataQualityChecker:
    """Asks a frame questions and keeps the answers, those that passed and those that did not.

    Args:
        df: a pandas or polars frame, an Arrow table, a DuckDB relation or a list of dictionaries. It is
            looked at as it is now: what is changed in it later is not seen.
        name: what reports call it.

    Attributes:
        checks: every answer: kind (null_check, duplicate_check, type_check, range_check), subject, passed,
            message.

    >>> checker = DataQualityChecker([{"id": 1, "price": 10}, {"id": 1, "price": -5}], "orders")
    >>> checker.check_null_columns(["id", "price"])
    (True, 'all 2 rows have id; all 2 rows have price')
    >>> checker.check_duplicates(["id"])[0]
    False
    >>> checker.check_value_range("price", 0, None)[0]
    False
    >>> checker.run_all_checks()
    False
    """

    def __init__(self, df: Any, name: str = "dataset") -> None:
        self.df = df
        self.name = name
        self.checks: list[Entry] = []
        self._table = to_arrow(df, name)

    def check_null_columns(self, columns: str | Iterable[str]) -> Answer:
        """Whether no column has a null (of pandas: a missing value). One answer a column is kept."""
        wanted = _names(columns)
        answers = self._asked([Check("not_null", (column,), name=column) for column in self._there(wanted)])
        return self._kept("null_check", [(column, *self._of(column, answers)) for column in wanted])

    def check_duplicates(self, columns: str | Iterable[str] | None = None) -> Answer:
        """Whether no two rows are the same in the columns together; in all columns by default. Nulls are the
        same as nulls."""
        wanted = _names(columns) if columns is not None else []
        subject = str(wanted)
        missing = [column for column in wanted if column not in self._table.column_names]
        if missing:
            return self._kept("duplicate_check", [(subject, False, "; ".join(map(_not_there, missing)))])
        if not self._table.num_columns:
            return self._kept("duplicate_check", [(subject, True, "there are no columns")])
        answers = self._asked([Check("no_duplicates", tuple(wanted), name=subject)])
        return self._kept("duplicate_check", [(subject, *answers[subject])])

    def check_data_types(self, type_schema: Mapping[str, Any]) -> Answer:
        """Whether columns have types: names of pandas, polars, Arrow, numpy or SQL (`int64`, `datetime64`,
        `decimal(12,2)`), families (`int`, `float`, `string`, `datetime`) or Python types. One answer a column
        is kept.

        Raises:
            ConfigError: nothing is known of such a type.
        """
        entries = []
        for column, expected in type_schema.items():
            if column not in self._table.column_names:
                entries.append((column, False, _not_there(column)))
                continue
            kind = self._table.schema.field(column).type
            called = _own_name(self.df, column)
            passed = _is_type(kind, called, expected)
            wanted = expected.__name__ if isinstance(expected, type) else str(expected)
            message = f"{column} is {called or kind}"
            entries.append((column, passed, message if passed else f"{message}, not {wanted}"))
        return self._kept("type_check", entries)

    def check_value_range(self, column: str, min_val: Any = None, max_val: Any = None) -> Answer:
        """Whether all values lie between the bounds, both included; None is no bound. Nulls are not asked,
        NaN lies nowhere."""
        if column not in self._table.column_names:
            return self._kept("range_check", [(column, False, _not_there(column))])
        bounds = {"min": _plain(min_val), "max": _plain(max_val)}
        options = {side: bound for side, bound in bounds.items() if bound is not None}
        if not options:
            raise ConfigError("a range needs min_val, max_val or both")
        answers = self._asked([Check("between", (column,), options, name=column)])
        return self._kept("range_check", [(column, *answers[column])])

    def run_all_checks(self) -> bool:
        """Whether everything that was asked so far passed."""
        passed = sum(entry[2] for entry in self.checks)
        LOGGER.info("%s: %d of %d checks passed", self.name, passed, len(self.checks))
        return passed == len(self.checks)

    def get_report(self) -> dict[str, Any]:
        """dataset, total_rows, total_columns, checks and all_passed."""
        return {
            "dataset": self.name,
            "total_rows": self._table.num_rows,
            "total_columns": self._table.num_columns,
            "checks": list(self.checks),
            "all_passed": all(entry[2] for entry in self.checks),
        }

    def _there(self, columns: Iterable[str]) -> list[str]:
        return [column for column in columns if column in self._table.column_names]

    def _of(self, column: str, answers: Mapping[str, Answer]) -> Answer:
        return answers.get(column) or (False, _not_there(column))

    def _kept(self, kind: str, entries: list[tuple[str, bool, str]]) -> Answer:
        self.checks += [(kind, subject, passed, message) for subject, passed, message in entries]
        failed = [message for _, passed, message in entries if not passed]
        for message in failed:
            LOGGER.warning("%s: %s", self.name, message)
        return not failed, "; ".join(failed or [message for _, _, message in entries])

    def _asked(self, checks: list[Check]) -> dict[str, Answer]:
        """The answers by the checks' names. A question that does not fit its column is one that failed."""
        columns = dict.fromkeys(column for check in checks for column in check.columns)
        try:
            verdict = audited(self._table.select(list(columns)) if columns else self._table, checks)
        except AsgardError as error:
            return {check.name: (False, error.what) for check in checks}
        return {result.check.name: (result.passed, result.message) for result in verdict.results}


def audited(table: pa.Table, checks: list[Check]) -> Verdict:
    """The answers to checks about rows that are in memory.

    Raises:
        AsgardError: a question does not fit its column.
    """
    context = AuditContext(Mode.REPLACE, None, SystemClock().now(), _no_other_table)
    mount = _mount(table)
    with DuckDBEngine(MEMORY_BYTES) as engine:
        return audit(engine, checks, mount, lambda: mount, context)


def _mount(table: pa.Table) -> Mount:
    schema = canonical_schema(table.schema)

    def read() -> pa.RecordBatchReader:
        batches = (canonical_batch(batch, schema) for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(schema, batches)

    return Mount(schema, rows=table.num_rows, reader=read)


def _no_other_table(name: TableName) -> Mount:
    raise ConfigError(f"a frame knows no table {name}")


def _names(columns: str | Iterable[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else [str(column) for column in columns]


def _not_there(column: str) -> str:
    return f"there is no column {column}"


def _plain(value: Any) -> Any:
    """Scalars of numpy as Python has them."""
    return value.item() if hasattr(value, "item") and not isinstance(value, dt.date) else value


def _own_name(frame: Any, column: str) -> str:
    """What the frame's own library calls the type of a column; empty for lists of rows."""
    try:
        column_type = frame[column].dtype
    except (TypeError, KeyError, AttributeError):
        return ""
    return str(column_type)


def _is_number(kind: Any) -> bool:
    return bool(t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind))


def _is_binary(kind: Any) -> bool:
    return any(
        is_(kind) for is_ in (t.is_binary, t.is_large_binary, t.is_binary_view, t.is_fixed_size_binary)
    )


def _is_list(kind: Any) -> bool:
    return any(is_(kind) for is_ in (t.is_list, t.is_large_list, t.is_fixed_size_list))


Family = Callable[[Any], bool]
_FAMILIES: dict[Family, tuple[str, ...]] = {
    t.is_integer: ("int", "integer"),
    t.is_floating: ("float", "floating"),
    _is_number: ("number", "numeric"),
    t.is_decimal: ("decimal",),
    is_text: ("str", "string", "text", "object"),
    t.is_boolean: ("bool", "boolean"),
    t.is_timestamp: ("datetime", "datetime64", "timestamp"),
    t.is_date: ("date",),
    t.is_time: ("time",),
    t.is_duration: ("timedelta", "timedelta64", "duration"),
    _is_binary: ("bytes", "binary"),
    t.is_dictionary: ("category", "categorical", "dictionary", "enum"),
    _is_list: ("list", "array"),
    t.is_struct: ("dict", "struct"),
}
FAMILIES: dict[str, Family] = {name: family for family, names in _FAMILIES.items() for name in names}
"""What a word that stands for several types means."""
_NUMPY_TIME = re.compile(r"(?P<kind>datetime64|timedelta64)\[(?P<unit>s|ms|us|ns)(?:, (?P<zone>.+))?\]")
_PARAMETERS = re.compile(r"[\[(<]")


def _is_type(kind: pa.DataType, called: str, expected: Any) -> bool:
    """Whether a column of an Arrow type, which its own library calls by some name, is what is expected.

    Raises:
        ConfigError: nothing is known of such a type.
    """
    if isinstance(expected, pa.DataType):
        return bool(kind == expected)
    text = expected.__name__ if isinstance(expected, type) else str(expected).strip()
    if text.casefold() in (called.casefold(), str(kind).casefold()):
        return True
    if text.casefold() in FAMILIES:
        return FAMILIES[text.casefold()](kind)
    wanted = _arrow_type(text)
    if wanted is not None:
        return bool(kind == wanted)
    sql = parsed(text)
    if sql is not None:
        return carries(kind, sql)
    if _PARAMETERS.search(text):  # some library's own way to write a type; this column's is another
        return False
    hint = near(text, FAMILIES) or "write for example int64, float, string, datetime64, decimal(12,2)"
    raise ConfigError(f"there is no type {text!r}", hint=hint)


def _arrow_type(text: str) -> pa.DataType | None:
    numpy = _NUMPY_TIME.fullmatch(text)
    if numpy and numpy["kind"] == "timedelta64":
        return pa.duration(numpy["unit"])
    if numpy:
        return pa.timestamp(numpy["unit"], numpy["zone"])
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return None
