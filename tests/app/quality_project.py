"""A project whose table comes from files of one day each, with checks of every family."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import asgard


def orders(day: int, rows: int = 200) -> list[dict[str, Any]]:
    """The clean rows of a day."""
    return [
        {
            "id": day * 100_000 + number,
            "customer": f"C-{number % 50:04d}",
            "email": f"user{number}@example.com",
            "status": ("new", "paid", "sent")[number % 3],
            "country": ("DE", "FR", "US")[number % 3],
            "net": 1000 + number,
            "tax": 190 + number % 7,
            "gross": 1190 + number + number % 7,
            "ordered": f"2026-06-{day:02d}",
            "payload": json.dumps({"items": number % 5 + 1}),
        }
        for number in range(rows)
    ]


CHECKS: list[dict[str, Any]] = [
    {"not_null": ["id", "customer", "email", "status", "net", "gross"]},
    {"unique": "id"},
    {"matches": {"column": "email", "pattern": "email"}},
    {"regex": {"column": "customer", "patterns": "^C-[0-9]{4}$"}},
    {"length": {"column": "country", "min": 2, "max": 2}},
    {"accepted_values": {"column": "status", "values": ["new", "paid", "sent"]}},
    {"rejected_values": {"column": "country", "values": ["XX", "ZZ"]}},
    {"between": {"column": "net", "min": 0, "max": 1_000_000}},
    {"compare": {"columns": ["gross", "net"], "sign": ">="}},
    {"expression": "gross = net + tax"},
    {"time_format": {"column": "ordered", "format": "%Y-%m-%d"}},
    {"is_json": {"column": "payload", "schema": {
        "type": "object", "required": ["items"],
        "properties": {"items": {"type": "integer", "minimum": 1}}}}},
]  # fmt: skip
SCHEMA = pa.schema(
    [("id", pa.int64()), ("customer", pa.string()), ("email", pa.string()), ("status", pa.string()),
     ("country", pa.string()), ("net", pa.int64()), ("tax", pa.int64()), ("gross", pa.int64()),
     ("ordered", pa.string()), ("payload", pa.string())]
)  # fmt: skip


class QualityProject:
    """A folder with a project; days of data are put into it one by one."""

    def __init__(self, folder: Path, checks: Sequence[Mapping[str, Any]], **table: Any) -> None:
        self.folder = folder
        (folder / "days").mkdir(parents=True)
        entry = {"name": "orders", "path": "days/*.parquet", "mode": "append", "cursor": "_file", **table}
        document = {
            "version": 1,
            "name": "shop <script>",
            "data_sources": {"shop": {"type": "files", "path": str(folder), "tables": [entry]}},
        }
        entry["checks"] = list(checks)
        (folder / "asgard.yml").write_text(json.dumps(document))
        models = folder / "models" / "gold"
        models.mkdir(parents=True)
        (models / "revenue.sql").write_text(
            "/*\nmode: replace\n*/\nSELECT status, sum(gross) AS gross, count(*) AS n, "
            "list(id ORDER BY id) AS ids FROM bronze.shop.orders GROUP BY status\n"
        )

    def day(self, day: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Puts a file of a day there."""
        table = pa.Table.from_pylist([dict(row) for row in rows], SCHEMA)
        pq.write_table(table, self.folder / "days" / f"day-{day:02d}.parquet")

    def run(self) -> Any:
        """Loads what is new and builds the models; the summary."""
        return self.opened().run(check=False)

    def opened(self) -> asgard.Project:
        return asgard.Project(self.folder / "asgard.yml")
