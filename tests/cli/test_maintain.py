"""`asgard maintain`: small files are put together, old ones go, and nothing that is kept is touched."""

from __future__ import annotations

from tests.cli.console import Console


def test_tables_are_looked_after(console: Console) -> None:
    day_table = {"name": "day", "mode": "append"}
    console.project({"in": {"type": "files", "path": ".", "tables": [day_table]}})
    for day in range(10):
        console.write("day.csv", f"n\n{day}\n")
        assert console.asgard("run").code == 0
    before = console.rows("bronze.in.day")
    assert console.asgard("maintain", "--dry-run", "--json").json[0]["files_before"] == 0
    (done,) = console.asgard("maintain", "--json").json
    assert done["files_before"] >= 8
    assert done["files_after"] == 1
    assert done["deleted_files"] == 0
    assert console.rows("bronze.in.day") == before
    assert console.asgard("run").code == 0
    assert "bronze.in.day" in console.asgard("maintain", "day").out


def test_too_short_a_time_and_unknown_tables_are_refused(console: Console) -> None:
    console.project({})
    assert "too few" in console.asgard("maintain", "--keep", "5s").err
    assert console.asgard("maintain", "nothing").code == 2


def test_a_table_that_cannot_be_read_keeps_no_other(console: Console) -> None:
    console.write("a.csv", "n\n1\n")
    console.write("b.csv", "n\n1\n")
    console.project({"in": {"type": "files", "path": ".", "tables": ["a", "b"]}})
    assert console.asgard("run").code == 0
    (log,) = (console.folder / "data/lakehouse/bronze/in").glob("a*/_delta_log")
    for file in log.iterdir():
        file.write_text("{")
    said = console.asgard("maintain", "--json")
    assert said.code != 0
    assert ["error" in one for one in said.json] == [True, False]
