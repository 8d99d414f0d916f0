"""Upkeep that is born to be killed: a child puts in order, forgets and deletes all that may go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tests.lake.ground import table_in
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    table = table_in(Path(order["lake"]))
    while table.compact("", lambda: False, nullcontext, ("id",)) is not None:
        pass
    now = datetime.now(UTC) + timedelta(seconds=1)
    table.expire(now)
    table.vacuum(now)
    return 0


if __name__ == "__main__":
    pa.array([1])  # imports pandas where it is installed
    serve(child, {"": lambda: None})
