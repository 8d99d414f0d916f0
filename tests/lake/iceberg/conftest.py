"""Borrowed tests get Iceberg's table where they ask for one."""

from __future__ import annotations

import sys

import pytest

from tests.lake.iceberg.borrowed import LONG
from tests.lake.iceberg.ground import ReadByPyiceberg, iceberg_table, unknown_data_files


@pytest.fixture(autouse=True)
def on_iceberg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[request.function.__module__]
    instead = {"table_in": iceberg_table, "unknown_files": unknown_data_files, "delta": ReadByPyiceberg}
    for name, ours in instead.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, ours)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/iceberg/" in str(item.path) and getattr(item, "originalname", "") in LONG:
            item.add_marker(pytest.mark.long)
