"""What a load tells about drift: columns that came, went or became wider, and what a contract discarded."""

from __future__ import annotations

from asgard.core.events import Kind
from asgard.core.table import Evolution, Load
from asgard.flow.outcome import Outcome
from asgard.flow.reading import Landing
from asgard.flow.setting import Setting


def tell_evolution(load: Load, landing: Landing, setting: Setting, outcome: Outcome) -> None:
    """Tells what a load changes about the table's columns, if it does and the step has not said so before."""
    change = together(outcome.evolution, load.evolution)
    if change == outcome.evolution:
        return  # said already: a column that is missing is missing in every commit
    outcome.evolution = change
    if landing.agreement is not None:
        outcome.renamings = [[pair.before, pair.now] for pair in landing.agreement.renamings]
    setting.tell(Kind.SCHEMA_CHANGED, outcome.schema_changes())


def tell_discards(landing: Landing, setting: Setting, outcome: Outcome) -> None:
    """Tells what the plan's rows lost to the contract, once they are published."""
    found = landing.agreement.discards.as_dict() if landing.agreement is not None else {}
    if not found:
        return
    outcome.discarded = summed(outcome.discarded, found)
    setting.tell(Kind.SCHEMA_CHANGED, outcome.schema_changes())


def together(one: Evolution, other: Evolution) -> Evolution:
    """What both of a step's commits changed."""
    return Evolution(
        added=tuple(dict.fromkeys((*one.added, *other.added))),
        widened={**one.widened, **other.widened},
        missing=tuple(dict.fromkeys((*one.missing, *other.missing))),
        rewritten={**one.rewritten, **other.rewritten},
    )


def summed(one: dict[str, dict[str, int]], other: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Counts by column, of both."""
    both = {name: dict(counts) for name, counts in one.items()}
    for name, counts in other.items():
        for kind, count in counts.items():
            column = both.setdefault(name, {})
            column[kind] = column.get(kind, 0) + count
    return both
