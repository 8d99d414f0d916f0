"""A contest: contenders that do the same work in turn, and the bars that ours has to clear."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.measure import Command, Measurement, measured

METRICS = {
    "wall_seconds": "wall s",
    "client_cpu_seconds": "client CPU s",
    "server_cpu_seconds": "server CPU s",
    "peak_bytes": "peak MB",
    "written_bytes": "written MB",
}
"""What is reported of every run, and how it is headed."""

NOISY_SHARE = 0.15
"""Above this share of the wall time spent by others on one core, a run counts as disturbed."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: as in the tables; ours begin with `asgard`.
        note: what it does, in a few words: settings, version, what it leaves out.
        command: None when it cannot run; then `failure` says why.
        before: untimed, before each run, after its folder was emptied.
        judge: untimed, after each run: why the run does not count, or "".
        told: untimed, after each run: facts besides those that the command tells.
    """

    name: str
    note: str
    command: Command | None = None
    before: Callable[[], None] | None = None
    judge: Callable[[Measurement], str] | None = None
    told: Callable[[], Mapping[str, Any]] | None = None
    failure: str = ""


@dataclass(frozen=True)
class Bar:
    """A figure that ours has to reach.

    Attributes:
        contender: whose figure.
        metric: of METRICS, or a fact that the contender tells.
        at_most: the largest figure allowed; of the other's figure where `of` is set.
        of: name of the contender that it is compared with.
    """

    contender: str
    metric: str
    at_most: float = 1.0
    of: str = ""


@dataclass(frozen=True)
class Contest:
    """Contenders, what they are given, and the bars.

    Attributes:
        name: stable; key of the results.
        title: one sentence for readers.
        rows: rows that each contender handles; 0 where rows are not the measure.
        reference: the contender whose figures are 1.0 in the ratios; empty for none.
        facts: names of facts to show as columns, and how they are headed.
        server_pid: the server whose CPU is counted.
        most_repeats: for what does not change from run to run.
    """

    name: str
    title: str
    contenders: Sequence[Contender]
    bars: Sequence[Bar] = ()
    rows: int = 0
    reference: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    server_pid: int | None = None
    most_repeats: int = 1000


Runs = dict[str, list[Measurement]]


def run(contest: Contest, repeats: int) -> Runs:
    """Every contender once, then every contender again: what disturbs one round disturbs all of them.

    A contender whose first run fails is not run again.
    """
    runs: Runs = {contender.name: [] for contender in contest.contenders}
    for number in range(min(repeats, contest.most_repeats)):
        for contender in contest.contenders:
            done = runs[contender.name]
            if contender.command is None or (done and done[0].failure):
                continue
            measurement = _once(contender, contender.command, contest.server_pid)
            done.append(measurement)
            print(_line(contest, contender, number, measurement), file=sys.stderr, flush=True)
    return runs


def _once(contender: Contender, command: Command, server_pid: int | None) -> Measurement:
    shutil.rmtree(command.folder, ignore_errors=True)
    command.folder.mkdir(parents=True)
    if contender.before:
        contender.before()
    measurement = measured(command, server_pid)
    if not measurement.failure and contender.judge:
        measurement = replace(measurement, failure=contender.judge(measurement))
    if not measurement.failure and contender.told:
        measurement = replace(measurement, facts={**measurement.facts, **contender.told()})
    if not measurement.failure:
        shutil.rmtree(command.out, ignore_errors=True)  # the disk is for the next one
    return measurement


def _line(contest: Contest, contender: Contender, number: int, one: Measurement) -> str:
    end = f"FAILED {one.failure}" if one.failure else ""
    return (
        f"  {contest.name} {number + 1} {contender.name:34s} wall {one.wall_seconds:7.2f} s"
        f"  cpu {one.client_cpu_seconds:7.2f} s  server {one.server_cpu_seconds or 0:6.2f} s"
        f"  peak {one.peak_bytes / 1e6:6.0f} MB  others {one.other_cpu_seconds:5.1f} s  {end}"
    )


def document(contest: Contest, runs: Runs) -> dict[str, Any]:
    """The contest with all its runs as JSON."""
    return {
        "title": contest.title,
        "rows": contest.rows,
        "reference": contest.reference,
        "facts": dict(contest.facts),
        "bars": [vars(bar) for bar in contest.bars],
        "contenders": {
            contender.name: {
                "note": contender.note,
                "failure": contender.failure
                or next((r.failure for r in runs[contender.name] if r.failure), ""),
                "runs": [vars(run) for run in runs[contender.name]],
            }
            for contender in contest.contenders
        },
    }


def median(contender: Mapping[str, Any], metric: str) -> float | None:
    """The median of a metric or fact over the runs that count; None where none of them has it."""
    values = []
    for one in contender["runs"]:
        value = one[metric] if metric in one else one["facts"].get(metric)
        if not one["failure"] and value is not None:
            values.append(float(value))
    return statistics.median(values) if values else None


def spread(contender: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """The least and the largest of a metric over the runs that count."""
    values = [float(one[metric]) for one in contender["runs"] if not one["failure"]]
    return (min(values), max(values)) if values else None


def disturbed(contender: Mapping[str, Any]) -> float:
    """How many cores others kept busy while this contender ran, at the median."""
    shares = [
        one["other_cpu_seconds"] / one["wall_seconds"] for one in contender["runs"] if not one["failure"]
    ]
    return statistics.median(shares) if shares else 0.0


def empty_folder(path: Path) -> Path:
    """The folder, made anew."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
