"""Figures of a load against those of earlier loads: what is far from its own history.

The measure of distance is robust: the median of the history, and the median of the distances from it, so that
one bad load in the history moves neither. Where each weekday has a history of its own, a Monday is compared
with Mondays. Nothing is judged before enough loads are known, and the answer says so.

Reference: B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, 1993 (the modified z-score)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Literal, Self

from pydantic import Field, model_validator

from asgard.core.check import Check
from asgard.quality import statistics
from asgard.quality.bounds import figure_json, figure_text
from asgard.quality.families import Asked, Found, TableKind, column
from asgard.quality.kinds import Kind, Name, Question, fault
from asgard.quality.tables import Past, Tables

SENSITIVITY = {"low": 6.0, "medium": 4.5, "high": 3.5}
"""From how many robust standard deviations on a figure is an anomaly."""
NORMAL = 1.4826
"""The standard deviation of what is normally distributed, as a multiple of the median distance."""
NORMAL_MEAN = 1.2533
"""The same as a multiple of the mean distance."""
LEAST_SPREAD = 0.01
"""As a share of the usual figure: less is never an anomaly, however alike earlier loads were."""
LEAST_SHARE = 0.005
WEEKS = 4
"""How many loads of each weekday are needed before weekdays are told apart."""
LONGEST = 90
"""How many earlier loads are looked at."""

Metric = Literal["rows", "null_share", "mean", "median", "quantile", "min", "max", "sum", "distinct"]


class Anomaly(Kind):
    """A figure of each load that must not be far from what it was at earlier loads."""

    kind = "anomaly"
    metric: Metric = "rows"
    column: Name | None = None
    quantile: float | None = Field(None, ge=0, le=1, description="of the metric quantile: 0.95")
    sensitivity: Literal["low", "medium", "high"] = "medium"
    direction: Literal["both", "up", "down"] = Field("both", description="which way is an anomaly")
    min_runs: int = Field(7, ge=3, description="so many earlier loads must be known")
    weekdays: bool = Field(True, description="compares Mondays with Mondays, where there are enough")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.metric == "rows") != (self.column is None):
            raise fault("every metric but rows needs a column, and rows has none")
        if (self.metric == "quantile") != (self.quantile is not None):
            raise fault("the metric quantile needs quantile, and no other has it")
        return self

    def questions(self) -> Iterator[Question]:
        quantile = {} if self.quantile is None else {"quantile": self.quantile}
        fields = ("metric", "sensitivity", "direction", "min_runs", "weekdays")
        options = {name: getattr(self, name) for name in fields}
        yield (self.column,) if self.column else (), options | quantile

    def default_name(self, columns: tuple[str, ...]) -> str:
        return f"{self.kind}({', '.join((self.metric, *columns))})"


def _aggregates(check: Check, tables: Tables) -> Mapping[str, str]:
    if check.options["metric"] == "rows":
        return {"value": "count(*)"}
    return {} if _alone(check) else statistics.figures_sql(check, column(check, tables))


def _query(check: Check, tables: Tables) -> str:
    return statistics.query_sql(check, column(check, tables), tables.fresh_sql) if _alone(check) else ""


def _alone(check: Check) -> bool:
    return check.options["metric"] in (*statistics.SORTED, *statistics.GROUPED)


def _judged(check: Check, asked: Asked) -> Found:
    metric, options = check.options["metric"], check.options
    figure = asked.row["value"] if metric == "rows" else statistics.figure_of(check, asked.rows)
    what = " of ".join((metric, *check.columns))
    if figure is None or isinstance(figure, str):
        return Found(True, f"{what} has no figure in this load, which is not judged")
    observed, value = figure_json(figure), float(figure)
    past = asked.context.past(check.name)
    said = f"{what} is {figure_text(figure)}"
    if past is None:
        return Found(True, f"{said}; it is judged when rows are loaded", observed)
    if len(past) < options["min_runs"]:
        return Found(True, f"{said}; {len(past)} of {options['min_runs']} earlier loads are known", observed)
    usual = _usual(past[-LONGEST:], asked, options["weekdays"])
    least = LEAST_SHARE if metric == "null_share" else LEAST_SPREAD * abs(usual.figure)
    beyond = max(value - usual.highest, 0.0) + min(value - usual.lowest, 0.0)
    distance = beyond / max(usual.spread, least) if beyond else 0.0
    directed = {"both": abs(distance), "up": distance, "down": -distance}[options["direction"]]
    passed = directed < SENSITIVITY[options["sensitivity"]]
    said += f"; {figure_text(Fraction(usual.figure))} is usual{usual.days}"
    if not passed:
        said += f", which is {abs(distance):,.1f} robust standard deviations away"
    return Found(passed, said, observed)


@dataclass(frozen=True)
class _Usual:
    """What a figure usually is.

    Attributes:
        figure, spread: the median, and one robust standard deviation.
        lowest, highest: in between nothing is an anomaly.
        days: what it is compared with, for people.
    """

    figure: float
    spread: float
    lowest: float
    highest: float
    days: str = ""


def _usual(past: Past, asked: Asked, weekdays: bool) -> _Usual:
    by_day: dict[int, list[float]] = defaultdict(list)
    for at, value in past:
        by_day[at.weekday()].append(value)
    today = asked.context.now.weekday()
    centers = {day: median(values) for day, values in by_day.items()}
    if not (weekdays and len(by_day) > 1):
        center = median(value for _, value in past)
        return _Usual(center, NORMAL * median(abs(value - center) for _, value in past), center, center)
    if len(by_day.get(today, ())) < WEEKS:
        return _before_weekdays([value for _, value in past])
    center = centers[today]
    # Busy days vary by more: distances are shares of their day's figure, where that can be a share.
    shares = len({figure > 0 for figure in centers.values()}) == 1 and 0 not in centers.values()
    away = [
        abs(v - centers[day]) / (abs(centers[day]) if shares else 1) for day in by_day for v in by_day[day]
    ]
    spread = max(NORMAL * median(away) * (abs(center) if shares else 1), _own_spread(by_day[today], center))
    return _Usual(center, spread, center, center, f" on a {asked.context.now:%A}")


def _own_spread(values: list[float], center: float) -> float:
    """How far the figures of one weekday are from its median, of many without the farthest: quiet days may
    vary by more than busy ones, for their size."""
    away = sorted(abs(value - center) for value in values)
    away = away[:-1] if len(away) > WEEKS + 1 else away
    return NORMAL_MEAN * sum(away) / len(away)


def _before_weekdays(values: list[float]) -> _Usual:
    """As long as weekdays cannot be told apart, what was there twice may be what such a day is like."""
    center, ordered = median(values), sorted(values)
    spread = NORMAL * median(abs(value - center) for value in values)
    return _Usual(center, spread, min(ordered[1], center), max(ordered[-2], center))


KINDS = {"anomaly": TableKind(_judged, aggregates=_aggregates, query=_query, of_load=True)}
