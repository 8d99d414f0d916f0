"""What is in a backup: everything that a project remembers, at one instant each, and no secret."""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from asgard.app.access.access import local_principal, open_access, record
from asgard.app.backup.archive import Archive
from asgard.app.config.project import load_project
from asgard.app.jobs.jobs import JobWish, new_job, open_jobs
from tests.app.backup.kept_shop import KeptShop
from tests.upgrade.shop import FIRST_DAY, KEY, SECOND_DAY

PLANTED = {
    "STORED": "stored-9f8e7d6c5b4a",
    "FROM_VARIABLE": "variable-1a2b3c4d5e6f",
    "FROM_DOTENV": "dotenv-0f1e2d3c4b5a",
    "PASSPHRASE": "passphrase of ann 77aa",
    "MASKING": "masking-key-0123456789abcdef",
}


def contents(backup: str) -> dict[str, bytes]:
    with zipfile.ZipFile(backup) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_no_secret_is_in_it_in_plain_text(shop: KeptShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_VARIABLE", PLANTED["FROM_VARIABLE"])
    shop.write(".env", f"PLANTED_DOTENV={PLANTED['FROM_DOTENV']}\nPLANTED_MASKING={PLANTED['MASKING']}\n")
    for arguments, text in (
        (("secrets", "set", "shop/password"), PLANTED["STORED"]),
        (("users", "create", "ann", "--role", "editor"), PLANTED["PASSPHRASE"]),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
        shop.done(*arguments)
    token = shop.done("tokens", "create", "--name", "ci", "--json").json["text"]
    project = json.loads((shop.folder / "asgard.yml").read_text())
    project["masking_key"] = "${PLANTED_MASKING}"
    for number, reference in enumerate(("store:shop/password", "PLANTED_VARIABLE", "PLANTED_DOTENV")):
        connection = {"host": "127.0.0.1", "port": 1, "database": "x", "username": "u", "ssl_mode": "disable"}
        project["data_sources"][f"far{number}"] = {
            "type": "postgres",
            "connection": {**connection, "password": "${" + reference + "}"},
            "tables": ["orders"],
        }
    (shop.folder / "asgard.yml").write_text(json.dumps(project))
    assert shop.asgard("check").code == 5
    shop.load()
    found = contents(shop.back_up("--with-project"))
    assert {"project/asgard.yml", "secrets.json", "state/access.db"} <= found.keys()
    for name, content in found.items():
        for secret in (*PLANTED.values(), token, token.rpartition("_")[2], KEY):
            assert secret.encode() not in content, name
    assert not any(".env" in name or name.endswith(".key") for name in found)


@pytest.mark.parametrize(
    "planted", [{"password": "short"}, {"path": "shop.db", "note": "token=planted-in-a-text"}]
)
def test_a_project_with_a_secret_written_in_it_is_not_taken(shop: KeptShop, planted: dict[str, str]) -> None:
    project = json.loads((shop.folder / "asgard.yml").read_text())
    if "password" in planted:
        project["data_sources"]["far"] = {
            "type": "postgres",
            "connection": {"host": "h", "database": "d", **planted},
            "tables": ["orders"],
        }
    else:
        shop.write("models/gold/customers.sql", f"-- {planted['note']}\nSELECT 1 AS one\n")
        project["masking_key"] = "${file:masking}"
        shop.write("masking", planted["note"])
    (shop.folder / "asgard.yml").write_text(json.dumps(project))
    said = shop.asgard("backup", f"{shop.backups}/", "--with-project")
    assert (said.code, "leave --with-project out" in said.err) == (2, True), said
    assert planted.get("password", "planted-in-a-text") not in said.err
    assert not shop.backups.exists() or list(shop.backups.iterdir()) == []
    shop.back_up()


def test_the_key_that_the_secrets_need_is_told(shop: KeptShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hidden\n"))
    shop.done("secrets", "set", "shop/password")
    told = shop.done("backup", f"{shop.backups}/", "--json").json
    assert told["secrets"]["secrets"] == 1
    shop.lose_state()
    restored = shop.done("restore", told["backup"], "--json").json
    assert restored["key"] == "environment variable ASGARD_SECRET_KEY"
    assert shop.done("secrets", "get", "shop/password", "--show").out.strip() == "hidden"
    shop.lose_state()
    monkeypatch.delenv("ASGARD_SECRET_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shop.folder.parent / "nothing here"))
    restored = shop.done("restore", told["backup"], "--json").json
    assert "key" not in restored
    assert any(told["secrets"]["key_id"] in note for note in restored["notes"])


def test_logs_measurements_and_suites_come_back_as_they_were(shop: KeptShop) -> None:
    places = {
        "expectations/suites/sales.json": b'{"format": 1, "name": "sales"}',
        "expectations/checkpoints/daily.json": b'{"format": 1, "name": "daily"}',
        "expectations/validations/one.json": b'{"format": 1, "name": "one"}',
        "jobs/20260101-000000-ab.log": b"what a job said\n",
    }
    for name, content in places.items():
        shop.write(f".asgard/{name}", content)
    before = {
        path.relative_to(shop.state): path.read_bytes()
        for kind in ("logs", "measurements", "expectations/*", "jobs")
        for path in shop.state.glob(f"{kind}/*.*")
    }
    backup = shop.back_up()
    shop.lose_state()
    shop.done("restore", backup)
    assert len(before) >= 6
    assert {name: (shop.state / name).read_bytes() for name in before} == before


def test_a_log_that_has_grown_since_stays_and_a_suite_that_changed_is_asked_about(shop: KeptShop) -> None:
    suite = shop.write(".asgard/expectations/suites/sales.json", '{"format": 1, "name": "sales"}')
    backup = shop.back_up()
    (shop.state / "runs.db").unlink()
    (log,) = (shop.state / "logs").iterdir()
    with log.open("a") as stream:
        stream.write("{}\n")
    grown = log.read_bytes()
    shop.done("restore", backup)
    assert log.read_bytes() == grown
    suite.write_text('{"format": 1, "name": "sales", "expectations": []}')
    (shop.state / "runs.db").unlink()
    said = shop.asgard("restore", backup)
    assert (said.code, "expectations/suites/sales.json" in said.err) == (3, True), said
    shop.done("restore", backup, "--overwrite")
    assert suite.read_text() == '{"format": 1, "name": "sales"}'


def test_a_project_is_brought_into_an_empty_folder(shop: KeptShop, tmp_path: Path) -> None:
    backup = shop.back_up("--with-project")
    target = tmp_path / "another place"
    said = shop.asgard("restore", shop.back_up(), "--into", str(target))
    assert (said.code, "--with-project" in said.err) == (2, True), said
    said = shop.asgard("restore", backup, "--into", str(target), "--dry-run", "--json")
    assert {part["part"] for part in said.json["parts"]} == {
        "project/asgard.yml",
        "project/models/gold/customers.sql",
    }
    assert not target.exists()
    said = shop.asgard("restore", backup, "--into", str(target), "--json")
    assert (said.code, {table["standing"] for table in said.json["tables"]}) == (4, {"gone"})
    assert len(shop.done("runs", "--json", "-p", str(target / "asgard.yml")).json) == 1
    (target / "shop.db").write_bytes((shop.folder / "shop.db").read_bytes())
    shop.folder = target
    shop.live(SECOND_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY)


def test_names_that_lead_elsewhere_are_refused(shop: KeptShop, tmp_path: Path) -> None:
    backup = Path(shop.back_up("--with-project"))
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(backup) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "manifest.json":
                content = content.replace(b"project/asgard.yml", b"project/../asgard")
            target.writestr(name.replace("project/asgard.yml", "project/../asgard"), content)
    said = shop.asgard("restore", str(other), "--keep")
    assert (said.code, "no file of a project" in said.err) == (2, True), said


@contextmanager
def _busy(*deeds: object) -> Iterator[None]:
    """Does each of the deeds over and over, in a thread of its own."""
    ended = threading.Event()

    def go_on(deed: object) -> None:
        while not ended.is_set():
            deed()  # type: ignore[operator]

    threads = [threading.Thread(target=go_on, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_databases_are_whole_while_others_write(shop: KeptShop, tmp_path: Path) -> None:
    """Each write is two rows that belong together: no copy has one without the other."""
    project = load_project(shop.folder, with_sources=False)
    pair = [new_job(project, JobWish(("shop.visits",)))] * 2
    with open_jobs(project) as store, open_access(project) as access:
        record(access, local_principal(), "look", "before")
        store.queue.add(pair)
        with _busy(
            lambda: store.queue.add(pair),
            lambda: record(access, local_principal(), "look", "again"),
        ):
            backups = [shop.back_up() for _ in range(6)]
    for number, backup in enumerate(backups):
        with Archive(Path(backup)) as archive:
            for name in ("queue.db", "access.db"):
                copy = tmp_path / f"{number}-{name}"
                copy.write_bytes(b"".join(archive.read(f"state/{name}")))
                with closing(sqlite3.connect(copy)) as database:
                    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                    counted = {
                        "queue.db": "SELECT count(*) % 2 FROM asgard_jobs",
                        "access.db": "SELECT (SELECT count(*) FROM asgard_audit) - number"
                        " FROM asgard_audit_head",
                    }
                    assert database.execute(counted[name]).fetchone() == (0,)
    shop.lose_state()
    shop.done("restore", backups[-1])
    shop.done("audit", "verify")
