"""A run that never ends by itself: each step in a thread of its own, remembered like those of any run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from asgard.core.events import Kind
from asgard.core.journal import Journal
from asgard.flow.run import Step, Summary, run_step
from asgard.flow.setting import Setting


def run_endless(
    steps: Sequence[Step], setting: Setting, journal: Journal, selector: str, project: str
) -> Summary:
    """Does all steps at the same time; ends when all have ended.

    A step that fails stops no other. Every error is in the outcome of its step.
    """
    started = setting.clock.monotonic()
    journal.start_run(setting.run, selector, project)
    setting.tell(Kind.RUN_STARTED, {"selector": selector, "steps": [step.name for step in steps]})
    outcomes = {}
    with ThreadPoolExecutor(max(len(steps), 1), "follow") as pool:
        under_way = {pool.submit(run_step, step, {}, setting.for_step(step.name)): step for step in steps}
        for done in as_completed(under_way):
            step, outcome = under_way[done], done.result()
            outcomes[step.name] = outcome
            journal.record_step(setting.run, step.name, str(outcome.status), outcome.as_dict())
            setting.for_step(step.name).tell(Kind.STEP_FINISHED, outcome.as_dict())
    ordered = tuple(outcomes[step.name] for step in steps)
    summary = Summary(setting.run, ordered, setting.clock.monotonic() - started)
    journal.finish_run(setting.run, summary.status, summary.as_dict())
    setting.tell(Kind.RUN_FINISHED, summary.as_dict())
    return summary
