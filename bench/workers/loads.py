"""The load that the workers ask Asgard's lake for."""

from __future__ import annotations

import pyarrow as pa

from asgard.core.stream import Mode
from asgard.core.table import LoadRequest, TableName

NAME = TableName("bronze", "shop", "orders")


def request(schema: pa.Schema, mode: Mode) -> LoadRequest:
    """As a source with a primary key asks for it."""
    keys = ("id",) if mode is Mode.MERGE else ()
    return LoadRequest(
        stream="shop/orders", mode=mode, schema=schema, keys=keys, keys_unique=True, run="bench"
    )
