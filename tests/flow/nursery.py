"""A process that has everything imported and forks a child for each run: starting Python anew for a hundred
kills would take longer than the kills.

Reads one JSON object a line: {"project": path, "kill_at": "boundary:count" or "", "undo": table or "",
"break": name of a fault or ""}; answers {"pid": n} when the child has been forked, and {"status": n, "hits":
[...]} when it ended: the exit code, or minus the signal.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

import pandas  # noqa: F401 - pyarrow imports it at its first array; what a run imports late is here
import pyarrow.parquet  # noqa: F401

from asgard.app.runs import RunWish, run
from asgard.app.workspace import Workspace
from asgard.connectors import sqlite  # noqa: F401
from asgard.lake import boundaries
from tests.flow import faults


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(order))
        _answer({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _answer({"status": os.waitstatus_to_exitcode(status)})


def _child(order: dict[str, str]) -> int:
    name, _, count = order["kill_at"].partition(":")
    boundaries._name, boundaries._left = name, int(count or 1)
    faults.FAULTS[order["break"]]()
    try:
        workspace = Workspace.open(order["project"])
        if order["undo"]:
            workspace.table(order["undo"]).undo()
            return 0
        summary = run(workspace, RunWish(), lambda event: None)
        for outcome in summary.outcomes:
            if outcome.error is not None:
                traceback.print_exception(outcome.error)
        return summary.exit_code
    except BaseException:
        traceback.print_exc()
        return 99


def _answer(answer: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
