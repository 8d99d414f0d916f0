"""Merges into Iceberg tables."""

from __future__ import annotations

from tests.lake import test_merge as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_files_that_other_writers_made_are_merged_with",
    )
)
