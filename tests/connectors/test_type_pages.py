"""The pages of types say what the cases say that the tests run."""

from __future__ import annotations

import pytest

from tests.connectors.type_pages import ANEW, FOLDER, TypePage, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.source)
def test_the_page_is_what_its_cases_say(page: TypePage) -> None:
    said = page.path.read_text(encoding="utf-8") if page.path.exists() else ""
    assert said == page.made(), ANEW


def test_there_is_no_page_without_cases() -> None:
    assert {path.stem for path in FOLDER.glob("types-*.md")} == {f"types-{page.source}" for page in pages()}
