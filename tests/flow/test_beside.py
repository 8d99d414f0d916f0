"""Small steps of a run are done at the same time; everything else is as it was when they took turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from asgard.core.budget import MEBIBYTE, Budget
from asgard.core.cancel import Cancel
from asgard.core.errors import DataError
from asgard.core.events import Event, Kind
from asgard.flow.outcome import Outcome, Status
from asgard.flow.run import MOST_AT_ONCE, Step, Summary, run_steps
from asgard.flow.setting import Setting

ENOUGH_BYTES = Budget.OVERHEAD_BYTES + 64 * MOST_AT_ONCE * MEBIBYTE
LONG_SECONDS = 120


class Remembered:
    """A journal in memory."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.status = ""

    def start_run(self, run: str, selector: str, project: str) -> None:
        pass

    def finish_run(self, run: str, status: str, summary: dict[str, Any]) -> None:
        self.status = status

    def record_step(self, run: str, step: str, status: str, summary: dict[str, Any]) -> None:
        self.steps.append((step, status))

    def runs(self, limit: int = 20) -> Any:
        raise AssertionError("nobody asks")


class Stage:
    """Runs steps with a budget, and keeps what was told."""

    def __init__(self, memory_bytes: int = ENOUGH_BYTES, parallel: int = 2) -> None:
        self.events: list[Event] = []
        self.journal = Remembered()
        self.cancel = Cancel()
        self.budget = Budget(memory_bytes, parallel)

    def run(self, *steps: Step) -> Summary:
        setting = Setting("run", self.budget, self.cancel, self.events.append, _never, _never)
        return run_steps(steps, setting, self.journal, "", "asgard.yml")

    def place(self, kind: Kind, step: str) -> int:
        """When an event was told, as its place among all."""
        return next(i for i, event in enumerate(self.events) if (event.kind, event.step) == (kind, step))


def _never(*given: object) -> Any:
    raise AssertionError(f"nobody asks for {given}")


def step(name: str, work: Callable[[Setting], object], *, small: bool = True) -> Step:
    def done(setting: Setting) -> Outcome:
        work(setting)
        return Outcome(name)

    return Step(name, done, small=small)


def test_small_steps_are_done_at_the_same_time() -> None:
    met = threading.Barrier(MOST_AT_ONCE, timeout=LONG_SECONDS)  # breaks if they do not all come to it
    summary = Stage().run(*(step(f"t{i}", lambda _: met.wait()) for i in range(2 * MOST_AT_ONCE)))
    assert [(one.step, one.status) for one in summary.outcomes] == [
        (f"t{i}", Status.DONE) for i in range(2 * MOST_AT_ONCE)
    ]


def test_others_are_done_alone_and_in_their_turn() -> None:
    stage, nothing = Stage(), lambda _: None
    names = [("a", True), ("b", True), ("large", False), ("c", True), ("model", False)]
    assert stage.run(*(step(name, nothing, small=small) for name, small in names)).status == "done"
    for before, after in (("a", "large"), ("b", "large"), ("large", "c"), ("c", "model")):
        assert stage.place(Kind.STEP_FINISHED, before) < stage.place(Kind.STEP_STARTED, after)
    assert sorted(stage.journal.steps[:2]) == [("a", "done"), ("b", "done")]
    assert [name for name, _ in stage.journal.steps[2:]] == ["large", "c", "model"]


def test_what_fails_stops_no_other_and_the_summary_keeps_the_order() -> None:
    def fail(_: Setting) -> None:
        raise DataError("no such luck")

    def mistake(_: Setting) -> None:
        raise KeyError("a mistake of ours")

    stage, nothing = Stage(), lambda _: None
    summary = stage.run(step("a", nothing), step("b", fail), step("c", mistake), step("d", nothing))
    assert [str(one.status) for one in summary.outcomes] == ["done", "failed", "failed", "done"]
    assert summary.exit_code == DataError.exit_code
    assert stage.journal.status == "failed"
    assert {event.step for event in stage.events if event.kind is Kind.CRASHED} == {"c"}


def test_a_cancel_reaches_those_that_have_not_begun() -> None:
    stage = Stage(parallel=1)
    summary = stage.run(step("a", lambda _: stage.cancel.cancel()), step("b", _never), step("c", _never))
    assert [str(one.status) for one in summary.outcomes] == ["done", "cancelled", "cancelled"]


def test_parts_of_the_budget_are_no_more_than_the_whole() -> None:
    parts: list[int] = []
    stage = Stage()
    stage.run(*(step(f"t{i}", lambda setting: parts.append(setting.budget.data_bytes)) for i in range(9)))
    assert len(parts) == 9
    assert max(parts) * MOST_AT_ONCE <= stage.budget.data_bytes


def test_with_little_memory_or_one_worker_they_take_turns() -> None:
    for stage in (Stage(Budget.OVERHEAD_BYTES + 100 * MEBIBYTE), Stage(parallel=1)):
        alone = threading.Semaphore(1)
        parts: list[int] = []

        def work(setting: Setting, alone: threading.Semaphore = alone, parts: list[int] = parts) -> None:
            assert alone.acquire(blocking=False)
            parts.append(setting.budget.data_bytes)
            alone.release()

        assert stage.run(*(step(f"t{i}", work) for i in range(20))).status == "done"
        assert set(parts) == {stage.budget.data_bytes}
