"""Cancel and Budget: who waits is woken, who holds too much waits."""

from __future__ import annotations

import threading
import time

import pytest

from asgard.core.budget import MEBIBYTE, Budget
from asgard.core.cancel import Cancel
from asgard.core.errors import Cancelled


def test_the_first_reason_stays_and_listeners_hear_it_once() -> None:
    cancel, heard = Cancel(), []
    cancel.on_cancel(lambda: heard.append("before"))
    cancel.cancel("first")
    cancel.cancel("second")
    cancel.on_cancel(lambda: heard.append("after"))
    assert heard == ["before", "after"]
    with pytest.raises(Cancelled, match="first"):
        cancel.check()


def test_a_listener_that_was_taken_away_hears_nothing() -> None:
    cancel, heard = Cancel(), []
    forget = cancel.on_cancel(lambda: heard.append("x"))
    forget()
    forget()
    cancel.cancel()
    assert heard == []


def test_a_deadline_cancels_by_itself() -> None:
    cancel = Cancel(timeout_seconds=0.05)
    assert not cancel.requested
    with pytest.raises(Cancelled, match="time limit"):
        cancel.sleep(10)


def test_a_cancel_wakes_who_sleeps() -> None:
    cancel = Cancel()
    threading.Timer(0.05, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        cancel.sleep(30)
    assert time.monotonic() - began < 5


def test_leases_never_exceed_the_budget() -> None:
    budget, cancel = Budget(Budget.OVERHEAD_BYTES + 100 * MEBIBYTE, 4), Cancel()
    held, most, lock = 0, 0, threading.Lock()

    def work(size_bytes: int) -> None:
        nonlocal held, most
        for _ in range(20):
            with budget.lease(size_bytes, cancel):
                with lock:
                    held += size_bytes
                    most = max(most, held)
                time.sleep(0.0005)
                with lock:
                    held -= size_bytes

    threads = [threading.Thread(target=work, args=(size * MEBIBYTE,)) for size in (30, 40, 50, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == 0
    assert 50 * MEBIBYTE <= most <= budget.data_bytes


def test_a_wish_larger_than_all_waits_for_all_and_gets_it() -> None:
    budget, cancel = Budget(Budget.OVERHEAD_BYTES + 64 * MEBIBYTE, 1), Cancel()
    with budget.lease(1 << 40, cancel):
        pass
    with budget.lease(1, cancel):
        cancel.cancel()
        with pytest.raises(Cancelled), budget.lease(1 << 40, cancel):
            pass


@pytest.mark.parametrize("parallel", [1, 2, 8, 64])
@pytest.mark.parametrize("megabytes", [200, 512, 4096])
def test_batches_of_all_readers_fit_into_the_data_share(megabytes: int, parallel: int) -> None:
    budget = Budget(megabytes * MEBIBYTE, parallel)
    assert budget.batch_bytes * parallel * 2 <= budget.data_bytes
    assert budget.engine_bytes < budget.memory_bytes
