"""Pieces of a report: what is shown is escaped, and can be read on light and dark screens."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from asgard.app.checks.report_html import Markup, bar_chart, element, line_chart, table

TEXTS = [
    ("ink", "card"), ("soft", "card"), ("soft", "ground"), ("accent", "card"), ("good", "card"),
    ("bad", "card"), ("warn", "card"), ("good", "good-ground"), ("bad", "bad-ground"),
    ("warn", "warn-ground"),
]  # fmt: skip


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_texts_stand_out_from_their_ground(theme: int) -> None:
    """As the guidelines of accessibility want it: 4.5 to 1."""
    css = files("asgard.app.checks").joinpath("report_pages", "report.css").read_text()
    colours = dict(
        re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", css, re.S)[theme])
    )
    for text, ground in TEXTS:
        dark, light = sorted((_luminance(colours[text]), _luminance(colours[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_whatever_is_no_markup_is_escaped() -> None:
    evil = "</td><script>\"'&"
    safe = "&lt;/td&gt;&lt;script&gt;&quot;&#x27;&amp;"
    assert element("p", evil, title=evil) == f'<p title="{safe}">{safe}</p>'
    assert element("p", Markup("<b>1</b>")) == "<p><b>1</b></p>"
    whole = table(evil, [(evil, "cell")], [[evil], [None], [1234567], ["x" * 500]])
    assert "<script" not in whole
    assert '<span class="null">none</span>' in whole
    assert "1,234,567" in whole
    assert f"{'x' * 199}…" in whole
    assert "<script" not in bar_chart([(1.0, False, evil)], evil)
    assert "<script" not in line_chart([1.0, 2.0], evil)


def test_charts_of_little() -> None:
    assert line_chart([1.0, None], "x") == ""
    assert bar_chart([], "x") == ""
    flat = line_chart([5.0, None, 5.0], "the same")
    assert 'aria-label="the same"' in flat
    assert flat.count(",") == 2
    bars = bar_chart([(0.0, False, "none"), (0.0, True, "stopped")], "x")
    assert bars.count("<rect") == 2
    assert "bar stopped" in bars
