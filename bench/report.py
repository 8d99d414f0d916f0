"""The figures as tables: for the terminal and for docs/benchmarks.md, in the same Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contest import METRICS, NOISY_SHARE, disturbed, median, spread

Document = Mapping[str, Any]


def contest_table(contest: Document) -> str:
    """One row a contender, those that failed at the end, with the reason."""
    contenders = contest["contenders"]
    reference = contenders.get(contest["reference"])
    heads = ["contender", "n", *_heads(contest, reference), *contest["facts"].values()]
    rows, failed = [], []
    for name, one in contenders.items():
        if median(one, "wall_seconds") is None:
            failed.append(f"- **{name}** failed: {_cell(one['failure'] or 'it was not run')}")
        else:
            count = sum(not run["failure"] for run in one["runs"])
            rows.append([name, str(count), *_figures(contest, reference, one), *_told(contest, one)])
    rows.sort(key=lambda row: row[0].startswith("limit") is False)
    return "\n".join([_table(heads, rows), "", *failed, *([""] if failed else [])])


def notes(contest: Document) -> str:
    """What each contender does."""
    return "\n".join(f"- {name}: {one['note']}" for name, one in contest["contenders"].items())


def bars_table(contest: Document) -> str:
    """Every bar with the figure that was reached, and whether that is enough."""
    rows = []
    for bar, figure, met in judged(contest):
        answer = "" if met is None else ("met" if met else "**missed**")
        rows.append([bar["contender"], _head(contest, bar["metric"]), *_limit(bar, figure), answer])
    return _table(["bar", "figure", "at most", "reached", ""], rows) if rows else ""


def bar_text(contest: Document, bar: Document, figure: float | None) -> str:
    """A bar and its figure in words."""
    limit, reached = _limit(bar, figure)
    return f"{bar['contender']}, {_head(contest, bar['metric'])}: at most {limit}, reached {reached}"


def _limit(bar: Document, figure: float | None) -> tuple[str, str]:
    limit = f"{bar['at_most']:g}x of {bar['of']}" if bar["of"] else _shown(bar["metric"], bar["at_most"])
    if figure is None:
        return limit, "not measured"
    return limit, f"{figure:.2f}x" if bar["of"] else _shown(bar["metric"], figure)


def judged(contest: Document) -> Iterator[tuple[Document, float | None, bool | None]]:
    """Every bar with the figure reached (a ratio where it compares); None where a figure is missing."""
    for bar in contest["bars"]:
        ours = _of(contest, bar["contender"], bar["metric"])
        if bar["of"]:
            theirs = _of(contest, bar["of"], bar["metric"])
            ours = ours / theirs if ours is not None and theirs else None
        yield bar, ours, None if ours is None else ours <= bar["at_most"]


def disturbances(contest: Document) -> str:
    """A sentence on how much others worked on the machine meanwhile."""
    shares = {name: disturbed(one) for name, one in contest["contenders"].items()}
    worst = max(shares.values(), default=0.0)
    if worst < NOISY_SHARE:
        return "The machine was quiet."
    loud = sum(share >= NOISY_SHARE for share in shares.values())
    return (
        f"The machine was not quiet: during {loud} of {len(shares)} contenders others kept {NOISY_SHARE:g} to"
        f" {worst:.1f} cores busy (median). Trust CPU seconds before wall time."
    )


def _of(contest: Document, contender: str, metric: str) -> float | None:
    one = contest["contenders"].get(contender)
    return median(one, metric) if one else None


def _heads(contest: Document, reference: Document | None) -> Iterator[str]:
    yield "wall s (least to most)"
    if reference:
        yield "ratio"
    yield METRICS["client_cpu_seconds"]
    if reference:
        yield "ratio"
    if _has(contest, "server_cpu_seconds"):
        yield METRICS["server_cpu_seconds"]
    yield METRICS["peak_bytes"]
    if _has(contest, "written_bytes"):
        yield METRICS["written_bytes"]
    if contest["rows"]:
        yield "rows a CPU s"


def _figures(contest: Document, reference: Document | None, one: Document) -> Iterator[str]:
    least, most = spread(one, "wall_seconds") or (0.0, 0.0)
    wall, cpu = median(one, "wall_seconds") or 0.0, median(one, "client_cpu_seconds") or 0.0
    yield f"{wall:.2f} ({least:.2f} to {most:.2f})"
    if reference:
        yield _ratio(wall, median(reference, "wall_seconds"))
    yield f"{cpu:.2f}"
    if reference:
        yield _ratio(cpu, median(reference, "client_cpu_seconds"))
    if _has(contest, "server_cpu_seconds"):
        yield _shown("server_cpu_seconds", median(one, "server_cpu_seconds"))
    yield _shown("peak_bytes", median(one, "peak_bytes"))
    if _has(contest, "written_bytes"):
        yield _shown("written_bytes", median(one, "written_bytes"))
    if contest["rows"]:
        yield f"{contest['rows'] / cpu:,.0f}" if cpu else ""


def _told(contest: Document, one: Document) -> Iterator[str]:
    for fact in contest["facts"]:
        yield _shown(fact, median(one, fact))


def _has(contest: Document, metric: str) -> bool:
    return any(median(one, metric) for one in contest["contenders"].values())


def _ratio(figure: float, of: float | None) -> str:
    return f"{figure / of:.2f}" if of else ""


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    if metric.endswith("_bytes"):
        return f"{value / 1e6:,.0f}"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _head(contest: Document, metric: str) -> str:
    head: str = METRICS.get(metric) or contest["facts"].get(metric, metric)
    return head


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in [heads, *rows]) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 1) + ("-" if not n else ":") for n, width in enumerate(widths)) + "|"
    return "\n".join([line(heads), rule, *(line(row) for row in rows)])
