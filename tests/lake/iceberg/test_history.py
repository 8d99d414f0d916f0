"""Histories in Iceberg tables."""

from __future__ import annotations

from tests.lake import test_history as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(borrowed(on_delta))
