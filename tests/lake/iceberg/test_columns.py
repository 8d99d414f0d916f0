"""Columns of Iceberg tables: what is said of Delta's but for what only Delta's log tells."""

from __future__ import annotations

from tests.lake import test_columns as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_a_new_column_comes_and_old_rows_have_null",  # small integers are int32: see test_types
        "test_columns_that_do_not_come_are_null_where_allowed",
        "test_field_ids_stay_and_are_never_given_twice",
        "test_names_and_types_of_the_source_stay_in_the_metadata",
    )
)
