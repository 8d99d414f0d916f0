"""Loads of Iceberg tables: the modes, what they report, what they refuse."""

from __future__ import annotations

from tests.lake import test_load as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_of_rows_with_one_key_in_a_load_one_stays",  # looks into a table of Delta
        "test_append_leaves_rows_as_they_are_whose_key_is_there",
        "test_a_file_of_another_type_cannot_be_staged",
        "test_a_truncated_staged_file_is_refused",
        "test_a_value_that_does_not_fit_is_refused_by_name",
        "test_readers_of_delta_see_the_same",
        "test_tables_are_found_under_their_names",
        "test_time_travel",
        "test_vacuum_between_staging_and_publishing_is_noticed",
        "test_vacuum_leaves_positions_alone",
        "test_versions_tell_what_was_done_by_which_run",
    )
)
