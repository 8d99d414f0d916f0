"""A whole run: streams first, then models in their order; one failure stops what needs it.

Steps are done one after another, but for small ones that follow each other: what they take is mostly waiting,
for the source and for the disk, so several are done at the same time, each with a part of the budget.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from asgard.core.budget import MEBIBYTE
from asgard.core.errors import AsgardError, Bug, Cancelled, OutOfSpace
from asgard.core.events import Kind
from asgard.core.journal import Journal
from asgard.flow.outcome import Outcome, Status
from asgard.flow.retry import retrying
from asgard.flow.setting import Setting

_STARVED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
MOST_AT_ONCE = 4
PART_BYTES = 64 * MEBIBYTE
"""What a step needs at least for its rows; with less memory fewer are done at the same time (Promise 5)."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        name: `bronze.shop.orders`, `gold.revenue`, ...
        needs: steps that must have ended well before.
        work: does it; called again after a retryable error, so it must begin at the last commit.
        about: for the screen: mode, estimated rows and bytes.
        small: may be done beside other small ones: it needs none of them, and shares nothing with them.
    """

    name: str
    work: Callable[[Setting], Outcome]
    needs: frozenset[str] = frozenset()
    about: dict[str, Any] = field(default_factory=dict)
    small: bool = False


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    run: str
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def status(self) -> str:
        """done, cancelled or failed."""
        statuses = {outcome.status for outcome in self.outcomes}
        if Status.CANCELLED in statuses:
            return "cancelled"
        return "failed" if statuses & {Status.FAILED, Status.SKIPPED} else "done"

    @property
    def exit_code(self) -> int:
        """0, or the code of the first step that failed."""
        codes = [outcome.error.exit_code for outcome in self.outcomes if outcome.error is not None]
        return codes[0] if codes else 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "run": self.run,
            "status": self.status,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "steps": [outcome.as_dict() for outcome in self.outcomes],
        }


def run_steps(
    steps: Sequence[Step], setting: Setting, journal: Journal, selector: str, project: str
) -> Summary:
    """Does the steps in their order, small ones beside each other, and remembers each.

    A step that fails does not stop those that do not need it. Nothing is raised but what is a mistake of
    ours: every error is in the outcome of its step.
    """
    started = setting.clock.monotonic()
    journal.start_run(setting.run, selector, project)
    setting.tell(Kind.RUN_STARTED, {"selector": selector, "steps": [step.name for step in steps]})
    outcomes: dict[str, Outcome] = {}
    for small, group in groupby(steps, key=lambda step: step.small):
        for step, outcome in _beside(list(group), setting) if small else _in_turn(group, outcomes, setting):
            outcomes[step.name] = outcome
            journal.record_step(setting.run, step.name, str(outcome.status), outcome.as_dict())
            setting.for_step(step.name).tell(Kind.STEP_FINISHED, outcome.as_dict())
    ordered = tuple(outcomes[name] for name in dict.fromkeys(step.name for step in steps))
    summary = Summary(setting.run, ordered, setting.clock.monotonic() - started)
    journal.finish_run(setting.run, summary.status, summary.as_dict())
    setting.tell(Kind.RUN_FINISHED, summary.as_dict())
    return summary


def _in_turn(
    steps: Iterator[Step], outcomes: dict[str, Outcome], setting: Setting
) -> Iterator[tuple[Step, Outcome]]:
    for step in steps:
        yield step, run_step(step, outcomes, setting.for_step(step.name))


def _beside(steps: Sequence[Step], setting: Setting) -> Iterator[tuple[Step, Outcome]]:
    """Does steps at the same time, each with its part of the budget; gives each as it ends."""
    budget = setting.budget
    most = MOST_AT_ONCE if budget.parallel > 1 else 1
    at_once = max(1, min(most, len(steps), budget.data_bytes // PART_BYTES))
    setting = replace(setting, budget=budget.shared(at_once)) if at_once > 1 else setting
    with ThreadPoolExecutor(at_once, "step") as pool:
        under_way = {pool.submit(run_step, step, {}, setting.for_step(step.name)): step for step in steps}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def run_step(step: Step, before: dict[str, Outcome], setting: Setting) -> Outcome:
    """Does one step, and again what may heal; every error is in the outcome."""
    good = (Status.DONE, Status.UNCHANGED)
    missing = sorted(name for name in step.needs if name in before and before[name].status not in good)
    if setting.cancel.requested:
        return Outcome(step.name, Status.CANCELLED, error=Cancelled("cancelled before it began"))
    if missing:
        return Outcome(
            step.name, Status.SKIPPED, warnings=[f"needs {', '.join(missing)}, which did not end well"]
        )
    started = setting.clock.monotonic()
    setting.tell(Kind.STEP_STARTED, step.about)
    try:
        return retrying(lambda: step.work(setting), setting)
    except Cancelled as error:
        outcome = Outcome(step.name, Status.CANCELLED, error=error)
    except AsgardError as error:
        outcome = Outcome(step.name, Status.FAILED, error=error)
    except Exception as error:
        if _starved(error):
            outcome = Outcome(step.name, Status.FAILED, error=_out_of_memory(error))
        else:  # what nobody translated is our bug: told as one, with its cause kept
            setting.tell(Kind.CRASHED, {"trace": traceback.format_tb(error.__traceback__)})
            outcome = Outcome(step.name, Status.FAILED, error=_bug(error))
    outcome.seconds = setting.clock.monotonic() - started
    return outcome


def _starved(error: Exception) -> bool:
    """Whether the machine had no memory, threads or open files left."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _STARVED)
        or (type(error) is RuntimeError and str(error) == "can't start new thread")
    )


def _out_of_memory(error: Exception) -> OutOfSpace:
    spent = OutOfSpace(
        f"the machine has none left: {str(error) or 'memory'}",
        hint="nothing was published: give it more memory, threads or open files, or less to do at once "
        "(--memory, --parallel)",
    )
    spent.__cause__ = error
    return spent


def _bug(error: Exception) -> Bug:
    bug = Bug(
        f"{type(error).__name__}: {error}",
        hint="this is a mistake in Asgard; the run's log has the trace. Please report it with that log",
    )
    bug.__cause__ = error
    return bug
