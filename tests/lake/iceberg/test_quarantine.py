"""What is set aside from loads of Iceberg tables."""

from __future__ import annotations

from tests.lake import test_quarantine as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_rows_of_a_failed_commit_are_never_seen",
    )
)
