"""Loads that are born to be killed: a child takes one scenario of the lake to its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tests.lake import scenarios
from tests.lake.far import far_table
from tests.lake.ground import table_in
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    bucket = order.get("bucket")
    limits = scenarios.SCENARIOS[order["scenario"]].limits
    table = far_table(bucket, limits) if bucket else table_in(Path(order["lake"]), limits)
    scenarios.run(order["scenario"], table)
    return 0


if __name__ == "__main__":
    pa.array([1])  # imports pandas where it is installed
    serve(child, scenarios.FAULTS)
