"""What mkdocs cannot be told in mkdocs.yml; it calls these functions as hooks."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ORDER = ("Asgard", "Tutorial", "How to", "Reference", "Explanation", "Decisions")
WORDS_FOR_THE_RUNNER = re.compile(r"^( *`{3,}(?:bash|sh|python|py)) +(?:run|no-run:.*)$", re.MULTILINE)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Sorts the top level by ORDER; a section that ORDER does not know is a mistake."""
    unknown = sorted({str(item.title) for item in nav.items if item.title and item.title not in ORDER})
    if unknown:
        raise ValueError(f"docs/ has sections that tools/docs_hooks.py does not order: {', '.join(unknown)}")
    nav.items.sort(key=lambda item: ORDER.index(item.title) if item.title else 0)
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Takes out what stands behind a block's language for tools/docs_code.py: mkdocs would show no block."""
    return WORDS_FOR_THE_RUNNER.sub(r"\1", markdown)
