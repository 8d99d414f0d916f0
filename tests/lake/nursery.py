"""Loads that are born to be killed: a process that has everything imported forks a child for each order.

Reads one JSON object a line and answers with the child's exit code, or minus the signal that ended it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from asgard.lake import boundaries
from tests.lake import scenarios


def main() -> None:
    pa.array([1])  # imports pandas where it is installed
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(order))
        timer = threading.Timer(order["kill_after"], os.kill, (pid, signal.SIGKILL))
        if order["kill_after"]:
            timer.start()
        _, status = os.waitpid(pid, 0)
        timer.cancel()
        sys.stdout.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
        sys.stdout.flush()


def _child(order: dict[str, Any]) -> int:
    name, _, count = order["kill_at"].partition(":")
    boundaries._name, boundaries._left = name, int(count or 1)
    scenarios.FAULTS[order["fault"]]()
    try:
        scenarios.run(order["scenario"], Path(order["lake"]))
        return 0
    except BaseException:
        traceback.print_exc()
        return 99


if __name__ == "__main__":
    main()
