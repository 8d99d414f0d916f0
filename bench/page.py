"""docs/benchmarks.md from figures: the newest run of each contest, with what people wrote about it.

`bench/published.json` holds every run that the page is made of, `bench/remarks.md` the words: a section for
each contest. Nobody edits the page itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import report
from bench.environments import REPOSITORY

PUBLISHED = REPOSITORY / "bench" / "published.json"
REMARKS = REPOSITORY / "bench" / "remarks.md"
PAGE = REPOSITORY / "docs" / "benchmarks.md"

ORDER = (
    *("extract", "mysql", "mongodb", "s3", "kafka", "api"),
    *("memory", "checks", "merge", "commits", "startup", "install"),
)

INTRODUCTION = """\
# Benchmarks

Asgard's figures beside those of its peers and of the limits that the machine sets, losses included.
`make bench` makes them on your machine, in an hour or so; this page is written by
`python -m bench --write-docs` from the newest run of each contest, and every single run is in
`bench/published.json`.

- All contenders of a contest take turns, in as many rounds as the column n says; a figure is the **median**.
  What disturbs one round disturbs everybody.
- **CPU seconds** are those of the whole process tree, start and imports included. CPU seconds and ratios are
  the figures to trust; wall time suffers from whoever else works on the machine, which is measured and told,
  too.
- **Peak** is the largest sum of resident memory over the process tree, looked at fifty times a second.
- Peers run from their own environments in pinned versions, with the settings that make them fastest, and with
  their telemetry off. One that cannot be installed, fails, or does not write every row stands below its table
  with the reason.
"""


def write(results: Path) -> None:
    """Takes over what is newer than the published figures, and writes the page."""
    published = _published()
    for file in sorted(results.glob("*.json")):
        made = json.loads(file.read_text())
        if made["quick"]:
            continue  # what is published is whole
        for name, contest in made["contests"].items():
            known = published["contests"].get(name)
            if known is None or known["made"]["machine"]["at"] < made["machine"]["at"]:
                how = {"command": made["command"], "machine": made["machine"]}
                published["contests"][name] = {**_rounded(contest), "made": how}
    PUBLISHED.write_text(_as_text(published))
    PAGE.write_text("\n".join(_page(published["contests"])))


def _published() -> dict[str, Any]:
    if PUBLISHED.exists():
        known: dict[str, Any] = json.loads(PUBLISHED.read_text())
        return known
    return {"format": 1, "contests": {}}


def _as_text(published: Mapping[str, Any]) -> str:
    """One run a line, so that a change can be read."""
    text = json.dumps(published, indent=1, ensure_ascii=False)
    return (
        re.sub(
            r"\{[^{}\[\]]*?(?:\{[^{}]*\})?[^{}\[\]]*?\}", lambda run: re.sub(r"\s*\n\s*", " ", run[0]), text
        )
        + "\n"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


def _page(contests: Mapping[str, Any]) -> Iterator[str]:
    yield INTRODUCTION
    contests = dict(sorted(contests.items(), key=lambda pair: _place(pair[0])))
    yield from _summary(contests)
    remarks = _remarks()
    for name, contest in contests.items():
        yield f"## {contest['title']}\n"
        yield from _made(contest["made"])
        yield report.contest_table(contest)
        if bars := report.bars_table(contest):
            yield bars + "\n"
        if said := remarks.get(name):
            yield said + "\n"
        yield "What each of them does:\n"
        yield report.notes(contest) + "\n"
        yield report.disturbances(contest) + "\n"
    yield from _machine(contests)


def _place(contest: str) -> int:
    """As a reader asks: how fast, how much memory, then the rest."""
    return next((n for n, kind in enumerate(ORDER) if contest.startswith(kind)), len(ORDER))


def _summary(contests: Mapping[str, Any]) -> Iterator[str]:
    answers = [
        (contest, bar, figure, met)
        for contest in contests.values()
        for bar, figure, met in report.judged(contest)
    ]
    missed = [one for one in answers if one[3] is False]
    counted = sum(one[3] is not None for one in answers)
    yield "## In short\n"
    yield f"{counted - len(missed)} of {counted} bars are met." + (" Missed:\n" if missed else "\n")
    for contest, bar, figure, _ in missed:
        yield f"- {contest['title']}: {report.bar_text(contest, bar, figure)}"
    if missed:
        yield ""
    loud = sum("not quiet" in report.disturbances(contest) for contest in contests.values())
    if loud:
        yield (
            f"{loud} of {len(contests)} contests were run while others worked on the machine; how much\n"
            "stands with each. Their wall times say little; a process that shares a core takes more CPU.\n"
        )


def _made(made: Mapping[str, Any]) -> Iterator[str]:
    yield f"`{made['command']}`, {made['machine']['at'][:10]}.\n"


def _machine(contests: Mapping[str, Any]) -> Iterator[str]:
    yield "## The machine\n"
    seen = []
    for contest in contests.values():
        told = contest["made"]["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
        line = (
            f"- {told['processor']}, {told['cores']} cores, {told['memory_bytes'] / 2**30:.0f} GiB,"
            f" {told['system']}, Linux {told['kernel']}, Python {told['python']}; {packages}."
        )
        if line not in seen:
            seen.append(line)
            yield line
    yield ""


def _remarks() -> dict[str, str]:
    if not REMARKS.exists():
        return {}
    parts = re.split(r"^## (.+)$", REMARKS.read_text(), flags=re.MULTILINE)
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
