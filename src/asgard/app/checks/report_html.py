"""Pieces of an HTML page: elements whose texts are escaped, and small charts drawn inline.

Whatever is no `Markup` is a text and is escaped; nothing else makes `Markup` but the functions here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

LONGEST_CELL = 200
"""Characters of a value that are shown."""


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """An element; `class_` is class, underscores are hyphens, None leaves an attribute out.

    >>> element("td", "<script>", class_="cell")
    '<td class="cell">&lt;script&gt;</td>'
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{said}>{joined(children)}</{tag}>")


def joined(children: Iterable[Any]) -> Markup:
    """Children one behind the other, texts escaped."""
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def table(caption: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table that scrolls where it is wider than the page.

    Args:
        columns: of each its name and its class (`number`, `cell`, `name` or nothing).
        rows: cells; None is shown as a missing value.
    """
    head = element("tr", *(element("th", name, scope="col", class_=kind or None) for name, kind in columns))
    body = [
        element("tr", *(_cell(value, kind) for value, (_, kind) in zip(row, columns, strict=True)))
        for row in rows
    ]
    inner = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(value: Any, kind: str) -> Markup:
    if value is None:
        return element("td", element("span", "none", class_="null"), class_=kind or None)
    if isinstance(value, Markup):
        return element("td", value, class_=kind or None)
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if len(text) > LONGEST_CELL:
        text = text[: LONGEST_CELL - 1] + "…"
    return element("td", text, class_=kind or None)


def badge(text: str, kind: str) -> Markup:
    """A word with a colour; the word says it, too, for who does not see the colour."""
    return element("span", text, class_=f"badge {kind}")


def line_chart(values: Sequence[float | None], label: str) -> Markup:
    """A line over runs, the last point marked; a value that is not known is left out."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Markup("")
    width, height, edge = 120.0, 26.0, 3.0
    least, greatest = min(v for _, v in known), max(v for _, v in known)
    span = greatest - least or 1.0
    points = [
        (edge + place * (width - 2 * edge) / max(len(values) - 1, 1),
         height - edge - (value - least) * (height - 2 * edge) / span)
        for place, value in known
    ]  # fmt: skip
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return element(
        "svg",
        element("polyline", points=path, class_="track"),
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="2.2", class_="dot"),
        viewBox=f"0 0 {width:.0f} {height:.0f}", width=f"{width:.0f}", height=f"{height:.0f}",
        role="img", aria_label=label,
    )  # fmt: skip


def bar_chart(bars: Sequence[tuple[float, bool, str]], label: str) -> Markup:
    """Bars over runs: height, whether the run was stopped, and what its bar says when pointed at."""
    if not bars:
        return Markup("")
    width, height, gap = 640.0, 90.0, 2.0
    each = min((width - gap * len(bars)) / len(bars), 28.0)
    greatest = max((value for value, _, _ in bars), default=1.0) or 1.0
    drawn = []
    for place, (value, stopped, said) in enumerate(bars):
        tall = max(value * (height - 8) / greatest, 2.0)
        drawn.append(
            element(
                "rect", element("title", said), x=f"{place * (each + gap):.1f}", y=f"{height - tall:.1f}",
                width=f"{each:.1f}", height=f"{tall:.1f}", rx="1.5",
                class_="bar stopped" if stopped else "bar",
            )
        )  # fmt: skip
    axis = element("line", x1="0", x2=f"{width:.0f}", y1=f"{height:.0f}", y2=f"{height:.0f}", class_="axis")
    return element(
        "svg", *drawn, axis, viewBox=f"0 0 {width:.0f} {height + 1:.0f}", width="100%",
        style="max-width:40rem", role="img", aria_label=label,
    )  # fmt: skip
