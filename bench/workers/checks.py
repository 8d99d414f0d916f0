"""Answers checks on Parquet files through the quality room. Arguments: FOLDER [without-unique].

As a load does it: what the files' footers prove (nulls, bounds of numbers) is not read again. Footers do not
tell of NaN, which a load knows from writing; so columns of floats have no bounds here.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asgard.core.stream import Mode
from asgard.core.table import Mount
from asgard.engines.duckdb import DuckDBEngine
from asgard.lake.statistics import FileStatistics, figures_of
from asgard.quality.audit import AuditContext, audit
from asgard.quality.spec import CheckSpec, checks_of

MEMORY_BYTES = 256 << 20
CHECKS: list[dict[str, Any]] = [
    {"not_null": ["id", "customer", "sku", "amount", "status", "updated_at"]},
    {"between": {"column": "quantity", "min": 1, "max": 50}},
    {"between": {"column": "discount", "min": 0, "max": 1}},
    {"between": {"column": "day", "min": "2020-01-01", "max": "2030-01-01"}},
    {"accepted_values": {"column": "status", "values": ["new", "paid", "sent", "done", "void"]}},
    {"matches": {"column": "sku", "pattern": "SKU-[0-9]{6}"}},
    {"matches": {"column": "email", "pattern": "email"}},
    {"non_negative": ["amount", "quantity", "customer"]},
    {"row_count": {"min": 1}},
    {"type": {"amount": "decimal(12,2)"}},
    {"expression": "quantity * amount < 10000000"},
    {"not_null": ["note"], "mostly": 0.7},
    {"unique": ["id"]},
]


def main(folder: str, without: str = "") -> None:
    """All of them in one audit, as a load does it before its commit."""
    files = sorted(Path(folder).glob("*.parquet"))
    mount = _mount(files)
    wanted = [entry for entry in CHECKS if not (without and "unique" in entry)]
    checks = checks_of(CheckSpec.model_validate(entry) for entry in wanted)
    context = AuditContext(Mode.REPLACE, None, datetime.now(UTC), resolve={}.get)  # type: ignore[arg-type]
    with DuckDBEngine(MEMORY_BYTES, threads=2) as engine:
        verdict = audit(engine, checks, mount, lambda: mount, context)
    bad = [result.message for result in verdict.results if not result.passed]
    if bad:
        raise SystemExit(f"error: checks failed that should not: {bad}")
    print(json.dumps({"checks": len(verdict.results)}))


def _mount(files: list[Path]) -> Mount:
    schema, rows, told = pq.read_schema(files[0]), 0, []
    floats = [column.name for column in schema if pa.types.is_floating(column.type)]
    for file in files:
        footer = pq.read_metadata(file)
        figures = FileStatistics(schema, floats)
        figures.add(footer.row_group(index) for index in range(footer.num_row_groups))
        rows += footer.num_rows
        told.append(figures.to_json(schema.names))
    return Mount(schema, tuple(map(str, files)), rows, figures=figures_of(told, schema))


if __name__ == "__main__":
    main(*sys.argv[1:])
