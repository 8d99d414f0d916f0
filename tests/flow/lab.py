"""A project with models over bronze tables that a test writes itself: no source, no waiting."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa

from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.app.tables.rows import json_rows
from asgard.core.position import Position
from asgard.core.stream import Mode
from asgard.core.table import Commit, LoadRequest, TableName


class Lab:
    """A folder with a project file, models and a lake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "asgard.yml").write_text(json.dumps({"version": 1, "memory": "400MB"}))

    def workspace(self, env: str | None = None) -> Workspace:
        """The project, read anew."""
        return Workspace.open(self.folder / "asgard.yml", env)

    def model(self, name: str, sql: str, **front: Any) -> None:
        """Writes a model's file: `silver.orders`."""
        file = self.folder / "models" / Path(*name.split(".")).with_suffix(".sql")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"/*\n{json.dumps(front)}\n*/\n{sql}" if front else sql)

    def load(self, name: str, rows: pa.Table, mode: Mode = Mode.APPEND, keys: tuple[str, ...] = ()) -> Commit:
        """One load of a bronze table: `shop.orders`."""
        table = self.workspace().lake.table(TableName("bronze", *name.split(".")))
        with table.load(LoadRequest("stream", mode, rows.schema, keys=keys)) as load:
            staged = load.stage(rows.to_batches())
            position = (load.position or Position()).finished(str(rows.num_rows))
            return load.publish(load.prepare([staged]), position)

    def compact(self, name: str) -> None:
        """Puts the small files of a bronze table together; there must be enough of them."""
        table = self.workspace().lake.table(TableName("bronze", *name.split(".")))
        assert table.compact("compaction", lambda: False, nullcontext) is not None

    def run(self, *selectors: str, env: str | None = None, full: bool = False) -> Summary:
        """Builds; every step must end well."""
        summary = run(self.workspace(env), RunWish(selectors, full_refresh=full), lambda event: None)
        assert summary.status == "done", [outcome.error for outcome in summary.outcomes]
        return summary

    def actions(self, *selectors: str, env: str | None = None) -> dict[str, str]:
        """Builds, and says of each model what was done."""
        summary = self.run(*selectors, env=env)
        return {outcome.step: outcome.about["action"] for outcome in summary.outcomes}

    def rows(self, name: str, env: str | None = None) -> Counter[str]:
        """A table's rows by content, without the metadata columns; each as JSON."""
        workspace = self.workspace(env)
        table = workspace.table(name)
        with workspace.open_engine(64 << 20) as engine:
            engine.attach("t", table.mount())
            found = json_rows(engine.query("SELECT * EXCLUDE (_asgard_run_id) FROM t"))
        return Counter(json.dumps(row) for row in found)

    def asked(self, sql: str) -> Counter[str]:
        """What a SELECT over the lake makes now."""
        workspace = self.workspace()
        with workspace.open_engine(64 << 20) as engine:
            for name in workspace.lake.tables():
                engine.attach(name, workspace.lake.table(name).mount())
            return Counter(json.dumps(row) for row in json_rows(engine.query(sql)))


def orders(*ids: int, amount: int = 1) -> pa.Table:
    """Rows of a table of orders: id, customer, amount."""
    columns = {"id": pa.int64(), "customer": pa.int64(), "amount": pa.int64()}
    rows = [{"id": one, "customer": one % 3, "amount": amount} for one in ids]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns.items()))
