"""Tables for checks to look at: real Parquet files, the real engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from asgard.core.check import Check, CheckResult, Verdict
from asgard.core.stream import Mode
from asgard.core.table import Mount, TableName
from asgard.engines.duckdb import DuckDBEngine
from asgard.quality.audit import AuditContext, audit
from asgard.quality.quarantine import REASON, split_rows
from asgard.quality.spec import CheckSpec, checks_of

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
MEBIBYTE = 1 << 20


def checks(*specs: dict[str, Any]) -> tuple[Check, ...]:
    """As they would be read from YAML."""
    return checks_of(TypeAdapter(list[CheckSpec]).validate_python(list(specs)))


def column(type_: pa.DataType, *values: Any) -> pa.Table:
    return pa.table({"v": pa.array(values, type_)})


def keys(*values: int | None) -> pa.Table:
    return pa.table({"v": pa.array(values, pa.int64())})


@dataclass
class Ground:
    """A folder of files and the other tables that checks may refer to."""

    folder: Path
    others: dict[str, Mount] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def mount(self, *tables: pa.Table) -> Mount:
        """The tables in a file each, as one mount."""
        files = []
        for table in tables:
            path = self.folder / f"{next(self._numbers)}.parquet"
            pq.write_table(table, path)
            files.append(str(path))
        return Mount(tables[0].schema, tuple(files))

    def context(self, mode: Mode = Mode.REPLACE, previous_rows: int | None = None) -> AuditContext:
        """What else is known; `bronze.shop.self` is the table itself."""

        def resolve(name: TableName) -> Mount:
            return self.others[str(name)]

        return AuditContext(mode, previous_rows, NOW, resolve, TableName("bronze", "shop", "self"))

    def verdict(
        self,
        asked: Sequence[Check],
        fresh: pa.Table | Mount,
        old: pa.Table | None = None,
        context: AuditContext | None = None,
    ) -> Verdict:
        """The audit of a replace, or of an append to the old rows."""
        mount, whole, context = self._arranged(fresh, old, context)
        with DuckDBEngine(256 * MEBIBYTE) as engine:
            return audit(engine, asked, mount, whole, context)

    def answer(self, spec: dict[str, Any], fresh: pa.Table, old: pa.Table | None = None) -> CheckResult:
        """The answer to the only check of the spec."""
        (result,) = self.verdict(checks(spec), fresh, old).results
        return result

    def parted(
        self, asked: Sequence[Check], fresh: pa.Table | Mount, old: pa.Table | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """Good and bad rows."""
        mount, whole, context = self._arranged(fresh, old, None)
        with DuckDBEngine(256 * MEBIBYTE) as engine:
            parts = split_rows(engine, asked, mount, whole, context)
            bad_schema = mount.schema.append(pa.field(REASON, pa.string()))
            bad = pa.Table.from_batches(parts.bad(), bad_schema)
            return pa.Table.from_batches(parts.good(), mount.schema), bad

    def _arranged(
        self, fresh: pa.Table | Mount, old: pa.Table | None, context: AuditContext | None
    ) -> tuple[Mount, Callable[[], Mount], AuditContext]:
        mount = fresh if isinstance(fresh, Mount) else self.mount(fresh)
        if old is None:
            return mount, _nobody_asks, context or self.context()
        whole = Mount(mount.schema, (*self.mount(old).files, *mount.files))
        return mount, lambda: whole, context or self.context(Mode.APPEND)


def _nobody_asks() -> Mount:
    raise AssertionError("a replace is the whole table")
