"""The instants between which a load may be killed, by name: tests kill at each of them (Promise 1).

`ASGARD_KILL_AT=committed:2` ends the process without a word when it reaches that boundary for the second
time. Nothing else ever looks at these names.
"""

from __future__ import annotations

import os
import signal

BOUNDARIES = (
    "ticket_written",  # the load announced itself; nothing is staged
    "staged",  # one call of stage is durable
    "prepared",  # adds and removes are worked out
    "table_created",  # an empty table, still without its identity
    "evolved",  # new columns, or a feature that they need, are committed
    "record_written",  # the position record lies there, nobody chooses it yet
    "before_quarantine_commit",
    "quarantine_committed",  # rows set aside, invisible until the table's commit
    "before_commit",
    "committed",  # visible, perhaps not on the disk's platter yet
    "log_synced",  # durable; the source may be told
    "settled",  # leftovers of this load are gone
    "epoch_written",  # undo, accept: the new epoch has a name, nothing chooses it yet
    "restored",  # undo: data and position are back
)
"""Of a load, an undo, an accept."""

UPKEEP = (
    "rows_moved",  # files are written that nobody names yet
    "moved",  # they stand for those that they were made of, perhaps not on the disk's platter yet
    "log_shortened",  # some entries that no kept version needs are gone
    "records_forgotten",  # position records that no kept version chooses are gone
    "vacuumed",  # some data files that no kept version needs are gone
)
"""Of upkeep."""

_name, _, _count = os.environ.get("ASGARD_KILL_AT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Says that the process is at the boundary."""
    global _left  # noqa: PLW0603 - one process, one countdown
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
