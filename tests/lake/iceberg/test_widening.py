"""Columns of Iceberg tables that become wider."""

from __future__ import annotations

from tests.lake import test_widening as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_old_versions_stay_as_they_were_and_the_position_is_kept",  # small integers are int32
    )
)
