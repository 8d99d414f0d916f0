"""State in PostgreSQL that machines share: into a backup at one instant, and back in one step."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.app.access.access import Denied, authenticate, local_principal, open_access, record, sign_in
from asgard.app.access.users import create_user
from asgard.app.backup.archive import Archive
from asgard.app.config.project import Project, load_project
from asgard.app.documents.documents import open_documents
from asgard.app.jobs.jobs import JobWish, new_job, open_jobs
from asgard.app.runs.run_events import events_after
from asgard.core.secret import Secret
from asgard.state.documents import Document
from asgard.state.queue import Limits
from asgard.transport.postgres import Connection, Server
from tests.app.backup.kept_shop import KeptShop
from tests.servers.postgres import Server as Running
from tests.upgrade.shop import FIRST_DAY, SECOND_DAY

PASSPHRASE = "a long enough passphrase"
TABLES = (
    "asgard_jobs", "asgard_schedules", "asgard_users", "asgard_tokens", "asgard_audit", "asgard_audit_head",
    "asgard_documents", "asgard_run_events",
)  # fmt: skip
AWKWARD = 'tab\there, line\nthere, back\\slash, \\N, "quotes", Ärmel, 0.1'


@pytest.fixture
def server(pg16: Running) -> Iterator[dict[str, Any]]:
    name = pg16.create_database()
    yield {
        "host": pg16.host, "port": pg16.port, "database": name, "username": pg16.user,
        "password": pg16.password, "ssl_mode": "disable",
    }  # fmt: skip
    pg16.drop_database(name)


@pytest.fixture
def shared(shop: KeptShop, server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> KeptShop:
    """The shop, whose queue, users and documents lie in PostgreSQL, with something in every table."""
    monkeypatch.setenv("QUEUE_PASSWORD", server["password"])
    project = json.loads((shop.folder / "asgard.yml").read_text())
    project["queue"] = {"postgres": {**server, "password": "${QUEUE_PASSWORD}"}}
    (shop.folder / "asgard.yml").write_text(json.dumps(project))
    opened = load_project(shop.folder, with_sources=False)
    shop.load()
    with open_access(opened) as access:
        create_user(access, local_principal(), "ann", "editor", PASSPHRASE)
        record(access, local_principal(), "look", AWKWARD, detail={"at": 0.1})
    with open_documents(opened) as documents:
        assert documents.add(Document("sink", "1", AWKWARD, {"value": AWKWARD}))
    with open_jobs(opened) as store:
        store.queue.add([new_job(opened, JobWish(("shop.visits",), timeout_seconds=0.1 + 0.2))])
        store.schedules.pause("often", True)
    return shop


def project_of(shop: KeptShop) -> Project:
    return load_project(shop.folder, with_sources=False)


def connected(server: dict[str, Any]) -> Connection:
    return Connection(Server(**{**server, "password": Secret(server["password"])}))


def everything(server: dict[str, Any]) -> dict[str, list[Any]]:
    connection = connected(server)
    try:
        return {table: sorted(connection.rows(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
    finally:
        connection.close()


def emptied(server: dict[str, Any], *, tables_too: bool = True) -> None:
    connection = connected(server)
    formats = (
        "asgard_queue_format",
        "asgard_access_format",
        "asgard_documents_format",
        "asgard_events_format",
    )
    others = ("asgard_sessions", "asgard_attempts")
    for table in (*TABLES, *others, *(formats if tables_too else ())):
        connection.rows(f"DROP TABLE {table}" if tables_too else f"DELETE FROM {table}")
    connection.close()


@pytest.mark.parametrize("tables_too", [True, False], ids=["tables lost", "rows lost"])
def test_every_table_comes_back_as_it_was(shared: KeptShop, server: dict[str, Any], tables_too: bool) -> None:
    before = everything(server)
    assert all(before[table] for table in TABLES if table != "asgard_tokens")
    backup = shared.back_up()
    emptied(server, tables_too=tables_too)
    shared.lose_state()
    shared.done("restore", backup)
    after = everything(server)
    audit = [row for row in after["asgard_audit"] if row not in before["asgard_audit"]]
    assert [row[4] for row in audit] == ["restore"]
    for table in set(TABLES) - {"asgard_audit", "asgard_audit_head"}:
        assert after[table] == before[table], table
    shared.done("audit", "verify")
    project = project_of(shared)
    with open_access(project) as access:
        assert not isinstance(sign_in(access, "ann", PASSPHRASE, "192.0.2.1"), Denied)
    newest = shared.done("runs", "--json").json[0]["run"]
    assert len(events_after(project, newest)) > 3
    shared.live(SECOND_DAY)
    shared.holds(FIRST_DAY, SECOND_DAY)


def test_rows_that_are_there_are_only_replaced_when_told(shared: KeptShop, server: dict[str, Any]) -> None:
    backup = shared.back_up()
    project = project_of(shared)
    with open_jobs(project) as store:
        store.queue.add([new_job(project, JobWish())])
    (shared.state / "runs.db").unlink()
    before = everything(server)
    said = shared.asgard("restore", backup)
    assert (said.code, "state/queue/asgard_jobs.copy" in said.err) == (3, True), said
    shared.done("restore", backup, "--keep")
    assert everything(server)["asgard_jobs"] == before["asgard_jobs"]
    shared.done("restore", backup, "--overwrite")
    assert len(everything(server)["asgard_jobs"]) == 1


def test_other_workspaces_of_the_database_are_left_alone(shared: KeptShop, server: dict[str, Any]) -> None:
    backup = shared.back_up()
    connection = connected(server)
    connection.rows("UPDATE asgard_jobs SET workspace = 'theirs'")
    connection.close()
    shared.lose_state()
    shared.done("restore", backup, "--overwrite")
    assert sorted(row[0] for row in everything(server)["asgard_jobs"]) == ["default", "theirs"]
    assert b"theirs" not in Path(shared.back_up()).read_bytes()


def test_jobs_and_sessions_of_the_past_are_settled(shared: KeptShop, server: dict[str, Any]) -> None:
    project = project_of(shared)
    with open_jobs(project) as store, open_access(project) as access:
        leased = store.queue.lease("worker of then", Limits(), 3600.0)
        signed_in = sign_in(access, "ann", PASSPHRASE, "192.0.2.1")
        assert leased is not None
        assert not isinstance(signed_in, Denied)
        backup = shared.back_up()
        (shared.state / "runs.db").unlink()
        said = shared.asgard("restore", backup, "--overwrite")
        assert (said.code, "a worker is running job" in said.err) == (3, True), said
        emptied(server, tables_too=False)
        shared.done("restore", backup, "--overwrite")
        again = store.queue.lease("worker of now", Limits(), 60.0)
        assert again is not None
        assert (again.id, again.attempt) == (leased.id, 2)
        session = signed_in.session.get_secret_value()
        assert isinstance(authenticate(access, f"Bearer {session}", "192.0.2.1"), Denied)


def test_a_restore_that_fails_changes_no_table(
    shared: KeptShop, server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shared.back_up()
    (shared.state / "runs.db").unlink()
    connection = connected(server)
    connection.rows("ALTER TABLE asgard_documents ADD CONSTRAINT strange CHECK (length(name) < 3) NOT VALID")
    connection.close()
    before = everything(server)
    assert shared.asgard("restore", backup, "--overwrite").code != 0
    assert everything(server) == before


def test_all_tables_are_of_one_instant(shared: KeptShop, tmp_path: Path) -> None:
    """Audit log and its head are written together: no backup has one without the other."""
    project, ended = project_of(shared), threading.Event()

    def write() -> None:
        with open_access(project) as access:
            while not ended.is_set():
                record(access, local_principal(), "look", "again")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        backups = [shared.back_up() for _ in range(4)]
    finally:
        ended.set()
        thread.join()
    for backup in backups:
        with Archive(Path(backup)) as archive:
            rows = b"".join(archive.read("state/access/asgard_audit.copy")).splitlines()
            head = b"".join(archive.read("state/access/asgard_audit_head.copy")).split(b"\t")
        assert len(rows) == int(head[0])


def test_state_of_another_kind_is_refused(shared: KeptShop) -> None:
    backup = shared.back_up()
    project = json.loads((shared.folder / "asgard.yml").read_text())
    del project["queue"]
    (shared.folder / "asgard.yml").write_text(json.dumps(project))
    shared.lose_state()
    said = shared.asgard("restore", backup)
    assert (said.code, "lay in postgres" in said.err) == (2, True), said
