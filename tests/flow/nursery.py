"""Runs that are born to be killed: a child runs one project."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import pandas  # noqa: F401 - pyarrow imports it at its first array; what a run imports late is here
import pyarrow.parquet  # noqa: F401

from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, run
from asgard.connectors import sqlite  # noqa: F401
from tests.flow.faults import FAULTS
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    summary = run(Workspace.open(order["project"]), RunWish(), lambda event: None)
    for outcome in summary.outcomes:
        if outcome.error is not None:
            traceback.print_exception(outcome.error)
    return summary.exit_code


if __name__ == "__main__":
    serve(child, FAULTS)
