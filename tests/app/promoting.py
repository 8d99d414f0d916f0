"""Promotions that are born to be killed: a child promotes one environment."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import pandas  # noqa: F401 - pyarrow imports it at its first array; what a run imports late is here

from asgard.app.models.promote import promote
from asgard.app.project.workspace import Workspace
from tests.flow.faults import FAULTS
from tests.nursery import serve


def child(order: Mapping[str, Any]) -> int:
    summary = promote(Workspace.open(order["project"], "dev"), lambda event: None)
    for outcome in summary.outcomes:
        if outcome.error is not None:
            traceback.print_exception(outcome.error)
    return summary.exit_code


if __name__ == "__main__":
    serve(child, FAULTS)
