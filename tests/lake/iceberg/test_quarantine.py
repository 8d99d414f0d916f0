"""What is set aside from loads of Iceberg tables."""

from __future__ import annotations

from tests.lake import test_quarantine as on_delta
from tests.lake.iceberg.borrowed import borrowed

globals().update(
    borrowed(
        on_delta,
        "test_a_replace_replaces_what_was_set_aside",
        "test_it_grows_with_the_columns_and_begins_anew_with_other_types",
        "test_rows_of_a_failed_commit_are_never_seen",
        "test_undo_of_a_whole_run_shows_what_was_set_aside_before_it",
        "test_undo_step_by_step_shows_what_belonged_to_each_version",
    )
)
