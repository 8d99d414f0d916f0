"""The page about faults says what the tests prove."""

from __future__ import annotations

import re

from tests.faults.matrix import PAGE, REPOSITORY, ROWS, with_table


def test_the_page_has_the_table_that_the_tests_prove() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "python -m tests.faults.matrix"


def test_every_row_of_the_table_names_a_test_that_is_there() -> None:
    for row in ROWS:
        file, _, function = row.proof.partition("::")
        text = (REPOSITORY / "tests" / "faults" / file).read_text()
        assert re.search(rf"^def {function}\(", text, re.M), row.proof
