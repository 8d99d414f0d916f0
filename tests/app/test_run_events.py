"""What a run tells on one machine is told on another one that shares its queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from asgard.api.application import create_app
from asgard.app.config.project import load_project
from asgard.app.jobs.jobs import JobWish, add_job
from asgard.app.jobs.worker import WorkerWish, work
from asgard.app.project.workspace import Workspace
from asgard.app.runs.run_events import RunLog, events_after, lines_of
from asgard.app.runs.runs import RunWish, run
from asgard.app.runs.shared_runs import runs_anywhere
from asgard.core.cancel import Cancel
from asgard.core.errors import Unreachable
from asgard.core.events import Event, Kind
from asgard.observe.shared_events import SharedEvents
from tests.cli.console import Console
from tests.servers.postgres import Server


@pytest.fixture
def machines(tmp_path: Path, pg16: Server) -> Iterator[tuple[Path, Path]]:
    """The project files of two machines with folders of their own and one queue."""
    database = pg16.create_database()
    where = {"host": pg16.host, "port": pg16.port, "database": database, "ssl_mode": "disable"}
    files = []
    for name in ("here", "there"):
        folder = tmp_path / name
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "orders.csv").write_text("id\n1\n2\n")
        document = {
            "queue": {"postgres": {**where, "username": pg16.user, "password": pg16.password}},
            "data_sources": {
                "shop": {
                    "type": "files",
                    "path": "files",
                    "tables": [{"name": "orders", "path": "orders.csv"}],
                }
            },
        }
        (folder / "asgard.yml").write_text(json.dumps(document))
        files.append(folder / "asgard.yml")
    yield files[0], files[1]
    pg16.drop_database(database)


def test_a_run_on_another_machine_is_told_to_its_end(
    machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = machines
    job = add_job(load_project(here), JobWish(("shop",)))["job"]
    wish = WorkerWish(str(there), slots=1, clock=False, until_idle=True)
    work(wish, lambda event: None, Cancel(), Cancel())
    own = list(lines_of(load_project(there), job))
    assert [json.loads(line)["event"] for line in (own[0], own[-1])] == ["run.started", "run.finished"]
    assert (there.parent / ".asgard" / "logs" / f"{job}.jsonl").exists()

    assert not (here.parent / ".asgard" / "logs").exists()
    assert list(lines_of(load_project(here), job)) == own
    said = Console(here.parent, monkeypatch, capsys).asgard("runs", "log", job)
    assert (said.code, said.out.splitlines()) == (0, own)
    app = create_app(here, worker=False)
    with closing(TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 5000))) as client, client:
        stream = client.get(f"/runs/{job}/events").text
        assert [line[6:] for line in stream.splitlines() if line.startswith("data: ")] == own
        later = client.get(f"/runs/{job}/events", headers={"Last-Event-ID": str(len(own) - 1)}).text
        assert [line[6:] for line in later.splitlines() if line.startswith("data: ")] == own[-1:]
        assert client.get("/runs/nothing/events").status_code == 404


def test_runs_of_all_machines_are_listed_and_shown(
    machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = machines
    for number in range(4):
        workspace = Workspace.open((here, there)[number % 2])
        run(workspace, RunWish(run_id=f"run-{number}"), lambda event: None)
    newest = [f"run-{number}" for number in reversed(range(4))]
    console = Console(here.parent, monkeypatch, capsys)
    listed = json.loads(console.asgard("runs", "--json").out)
    assert [one["run"] for one in listed] == newest
    assert {one["status"] for one in listed} == {"done"}
    assert all(one["machine"] for one in listed)
    steps = json.loads(console.asgard("runs", "show", "run-1", "--json").out)
    assert [(step["step"], step["rows_read"]) for step in steps] == [("bronze.shop.orders", 2)]
    assert "bronze.shop.orders" in console.asgard("runs", "show", "run-3").out
    app = create_app(here, worker=False)
    with closing(TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 5000))) as client, client:
        seen, cursor = [], None
        for _ in range(4):
            page = client.get("/runs", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
            seen += [one["run"] for one in page["items"]]
            cursor = page["next"]
        assert (seen, cursor) == (newest, None)
        shown = client.get("/runs/run-3").json()
        assert (shown["status"], [step["step"] for step in shown["steps"]]) == (
            "done",
            ["bronze.shop.orders"],
        )
        assert client.get("/runs/nothing").status_code == 404


def test_a_run_that_said_no_last_word_is_not_known_to_go_on(machines: tuple[Path, Path]) -> None:
    here, there = machines
    log = RunLog(load_project(there), "begun")
    log(Event(Kind.RUN_STARTED, "begun", data={"selector": "shop"}))
    log.close()
    (found,) = runs_anywhere(load_project(here), 10)
    assert (found["run"], found["selector"], found["status"]) == ("begun", "shop", "not known")


def test_a_database_that_is_away_stops_no_run(machines: tuple[Path, Path], pg16: Server) -> None:
    here, _ = machines
    document = json.loads(here.read_text())
    document["queue"]["postgres"]["database"] = "there_is_none"
    here.write_text(json.dumps(document))
    project = load_project(here)
    summary = run(Workspace(project), RunWish(run_id="alone"), lambda event: None)
    assert [outcome.error for outcome in summary.outcomes] == [None]
    assert len(list(lines_of(project, "alone"))) > 2


def test_what_could_not_be_written_is_tried_again() -> None:
    calls: list[tuple[int, list[str]]] = []

    def write(first: int, lines: Sequence[str]) -> None:
        calls.append((first, list(lines)))
        if len(calls) == 1:
            raise Unreachable("not now")

    events = SharedEvents(write)
    events(Event(Kind.RUN_STARTED, "r"))
    events(Event(Kind.STEP_PROGRESS, "r"))
    events._hand_over()
    assert events.broken == "not now"
    events(Event(Kind.RUN_FINISHED, "r"))
    events.close()
    assert events.broken == ""
    told = [json.loads(line)["event"] for first, lines in calls[1:] for line in lines]
    assert told == ["run.started", "run.finished"]
    assert [first for first, _ in calls][:2] == [1, 1]


def test_one_machine_alone_has_files_alone(tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text("version: 1\n")
    project = load_project(tmp_path / "asgard.yml")
    assert events_after(project, "any") == []
    assert list(lines_of(project, "any")) == []
