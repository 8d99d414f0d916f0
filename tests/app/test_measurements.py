"""What loads measured: written when it is known what became of a load, and read back in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asgard.app.checks import measurements
from asgard.app.checks.expectation_store import Store
from asgard.app.checks.measurements import Measurements
from asgard.core.errors import ConfigError
from asgard.core.events import Event, Kind

TABLE = "bronze.shop.odd/ name"
START = datetime(2026, 6, 1, tzinfo=UTC)


def load(store: Measurements, day: int, value: Any, *, committed: bool = True) -> None:
    at = START + timedelta(days=day)
    result = {"check": "rows", "kind": "anomaly", "passed": True, "message": "m", "observed": value}
    store(Event(Kind.CHECKED, f"r{day}", TABLE, {"results": [result]}, at))
    if committed:
        store(Event(Kind.STEP_COMMITTED, f"r{day}", TABLE, {"rows_added": 5, "version": day}, at))
    store(Event(Kind.STEP_FINISHED, f"r{day}", TABLE, {}, at))


def test_only_committed_loads_are_the_past(tmp_path: Path) -> None:
    store = Measurements(tmp_path)
    load(store, 1, 10)
    load(store, 2, 999, committed=False)
    load(store, 3, 12.5)
    load(store, 4, "text")
    load(store, 5, True)
    assert store.past(TABLE, "rows") == [(START + timedelta(days=1), 10.0), (START + timedelta(days=3), 12.5)]
    assert store.past(TABLE, "other") == []
    assert store.past("bronze.shop.another", "rows") == []
    loads = list(store.loads(TABLE))
    assert [one["committed"] for one in loads] == [True, False, True, True, True]
    assert loads[0]["rows_added"] == 5
    assert "rows_added" not in loads[1]
    assert "message" not in loads[0]["results"][0]


def test_a_line_that_is_half_written_or_newer_is_left_out(tmp_path: Path) -> None:
    store = Measurements(tmp_path)
    load(store, 1, 10)
    (file,) = tmp_path.iterdir()
    with file.open("a") as stream:
        stream.write(json.dumps({"format": 2, "committed": True}) + "\n" + '{"format": 1, "at"')
    assert [value for _, value in store.past(TABLE, "rows")] == [10.0]


def test_old_loads_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "MOST_LOADS", 5)
    store = Measurements(tmp_path)
    for day in range(10):
        load(store, day, day)
    assert [value for _, value in store.past(TABLE, "rows")] == [5.0, 6.0, 7.0, 8.0, 9.0]


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Measurements(tmp_path / "file" / "folder")
    load(store, 1, 10)
    with pytest.raises(NotADirectoryError):
        list(store.loads(TABLE))


def test_documents_are_put_and_replaced_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "suites", "suite")
    assert store.names() == []
    store.put("b", {"x": 1})
    store.put("a.1", {"x": 2})
    path = store.put("b", {"x": 3})
    assert store.names() == ["a.1", "b"]
    assert [one["x"] for one in store.all()] == [2, 3]
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.1.json", "b.json"]
    store.delete("b")
    with pytest.raises(ConfigError, match="there is no suite 'b'"):
        store.get("b")
    path.write_text('{"format": 2}')
    with pytest.raises(ConfigError, match="newer version"):
        store.get("b")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 101, "ü"])
def test_names_of_documents(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path, "suite")
    with pytest.raises(ConfigError, match="cannot be called"):
        store.put(name, {})
    with pytest.raises(ConfigError, match="there is no suite"):
        store.get(name)
