"""What a newer version wrote is refused by name, with the way out, and left as it is. Promise 10."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from asgard.app.config.project import load_project
from asgard.app.documents.sinks import sinks
from asgard.core.errors import ConfigError
from asgard.lake.leftovers import machine
from tests.cli.console import Console
from tests.upgrade.make_golden import GOLDEN
from tests.upgrade.shop import KEY, THIRD_DAY, live_a_day

NEWEST = max(GOLDEN.glob("*.tar.xz"))
WAY_OUT = ("newer", "upgrade")
Edit = Callable[[Path], None]


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    monkeypatch.setenv("ASGARD_SECRET_KEY", KEY)
    with tarfile.open(NEWEST) as archive:
        archive.extractall(tmp_path, filter="data")
    live_a_day(tmp_path, THIRD_DAY)
    return Console(tmp_path, monkeypatch, capsys)


def document(pattern: str, key: str = "format") -> Edit:
    """Sets the format of every document that matches."""

    def edit(folder: Path) -> None:
        files = list(folder.glob(pattern))
        assert files
        for file in files:
            found = json.loads(file.read_text())
            assert found[key] == 1
            file.write_text(json.dumps({**found, key: 2}))

    return edit


def database(name: str) -> Edit:
    """Sets the format of a file of the state."""

    def edit(folder: Path) -> None:
        with closing(sqlite3.connect(folder / ".asgard" / name)) as opened:
            assert opened.execute("PRAGMA user_version").fetchone() == (1,)
            opened.execute("PRAGMA user_version = 2")

    return edit


def column(name: str, table: str, text: str) -> Edit:
    """Sets the format of the documents in a column."""

    def edit(folder: Path) -> None:
        with closing(sqlite3.connect(folder / ".asgard" / name)) as opened, opened:
            changed = f"""UPDATE {table} SET {text} = replace({text}, '"format": 1', '"format": 2')"""
            assert opened.execute(changed).rowcount > 0

    return edit


def model_token(folder: Path) -> None:
    for file in folder.glob("lake/gold/customers/_asgard/positions/*/*.json"):
        text = file.read_text()
        assert '\\"format\\": 1' in text
        file.write_text(text.replace('\\"format\\": 1', '\\"format\\": 2'))


BRONZE = "lake/bronze/shop/visits/_asgard"
REFUSED: dict[str, tuple[Edit, tuple[str, ...], int]] = {
    "position record": (document(f"{BRONZE}/positions/*/*.json"), ("run", "shop.visits"), 4),
    "identity of a table": (document(f"{BRONZE}/table.json"), ("run", "shop.visits"), 4),
    "schema record": (document(f"{BRONZE}/schemas/*.json"), ("run", "shop.visits"), 4),
    "what built a model": (model_token, ("run", "gold.customers"), 4),
    "run history": (database("runs.db"), ("runs",), 2),
    "queue": (database("queue.db"), ("jobs",), 2),
    "users": (database("access.db"), ("users",), 2),
    "encrypted secrets": (document(".asgard/secrets.json"), ("secrets", "list"), 2),
    "suite": (document(".asgard/expectations/suites/*.json"), ("suites", "show", "prices"), 2),
    "checkpoint": (document(".asgard/expectations/checkpoints/*.json"), ("suites", "run", "daily"), 2),
    "validation": (document(".asgard/expectations/validations/*.json"), ("suites", "validations"), 2),
    "project file": (document("asgard.yml", "version"), ("tables",), 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_newer_document_is_refused_with_the_way_out(console: Console, name: str) -> None:
    edit, command, code = REFUSED[name]
    edit(console.folder)
    before = {path: path.read_bytes() for path in console.folder.glob("lake/**/*") if path.is_file()}
    said = console.asgard(*command)
    assert said.code == code, said
    assert any(word in said.err for word in WAY_OUT), said
    assert {path: path.read_bytes() for path in before} == before


def test_a_newer_document_of_a_program_is_refused(console: Console) -> None:
    column("documents.db", "asgard_documents", "document")(console.folder)
    with pytest.raises(ConfigError, match="newer version") as refused:
        sinks(load_project(console.folder), None, 10)
    assert "upgrade" in refused.value.hint


def test_a_newer_task_ends_its_job_with_the_reason(console: Console) -> None:
    column("queue.db", "asgard_jobs", "task")(console.folder)
    assert console.asgard("worker", "--until-idle", "--no-clock").code == 0
    (job,) = console.asgard("jobs", "--json").json["jobs"]
    assert job["status"] == "failed"
    assert "does not know" in job["error"]


def test_a_newer_announcement_of_a_load_is_left_alone(console: Console) -> None:
    """Its files may be those of a load that lives, in a way that this version does not know."""
    visits = console.folder / "lake/bronze/shop/visits"
    ticket = visits / f"_asgard/loads/{'a' * 32}.json"
    ticket.parent.mkdir(exist_ok=True)
    ticket.write_text(json.dumps({"format": 2, "version": 0, "machine": machine()}))
    staged = visits / f"part-{'a' * 32}-{'b' * 12}.parquet"
    staged.write_bytes(b"theirs")
    assert console.asgard("run", "shop.visits").code == 0
    assert (ticket.exists(), staged.read_bytes()) == (True, b"theirs")
