"""Upkeep of Iceberg tables that is born to be killed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.lake.iceberg.ground import iceberg_table
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    table = iceberg_table(Path(order["lake"]))
    while table.compact("", lambda: False, nullcontext) is not None:
        pass
    table.vacuum(datetime.now(UTC) + timedelta(minutes=1))
    return 0


if __name__ == "__main__":
    serve(child, {"": lambda: None})
