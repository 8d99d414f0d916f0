"""The encrypted store: what it keeps, what it refuses, and what a kill or a second writer does to it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.core.errors import ConfigError, Refused
from asgard.secrets import private_file
from asgard.secrets import store as store_module
from asgard.secrets.key import new_key
from asgard.secrets.store import EncryptedStore
from asgard.secrets.surroundings import Surroundings
from tests.cli.console import Console

CANARY = "c4n4ry-st0re-77aa"


@pytest.fixture
def store(surroundings: Surroundings) -> EncryptedStore:
    return EncryptedStore(surroundings)


def value(store: EncryptedStore, name: str) -> str:
    return store.read(name).get_secret_value()


def everything_below(*folders: Path) -> bytes:
    return b"".join(path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file())


def test_what_is_set_is_read_by_another_process_of_the_same_user(
    store: EncryptedStore, surroundings: Surroundings
) -> None:
    place = store.set("shop/password", CANARY)
    again = EncryptedStore(surroundings)
    assert value(again, "shop/password") == CANARY
    assert [entry.name for entry in again.entries()] == ["shop/password"]
    assert CANARY not in repr(again.read("shop/password"))
    assert place.startswith(f"file {Path.home()}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_every_text_comes_back(store: EncryptedStore, text: str) -> None:
    store.set("any", text)
    assert value(store, "any") == text


def test_no_file_holds_the_value_and_only_the_owner_may_read_the_key(
    store: EncryptedStore, project: Path
) -> None:
    place = store.set("password", CANARY)
    key_file = Path(place.removeprefix("file "))
    assert CANARY.encode() not in everything_below(project, Path.home())
    assert key_file.read_bytes().strip() not in everything_below(project)
    assert [oct(path.stat().st_mode & 0o777) for path in (key_file, store.file)] == ["0o600", "0o600"]


def test_a_key_that_others_may_read_or_that_lies_in_the_project_is_refused(
    store: EncryptedStore, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = Path(store.set("password", CANARY).removeprefix("file "))
    key_file.chmod(0o640)
    with pytest.raises(Refused, match="others than its owner") as refused:
        store.read("password")
    assert "chmod 600" in refused.value.hint
    monkeypatch.setenv("ASGARD_SECRET_KEY_FILE", "keys/mine")
    with pytest.raises(ConfigError, match="within the project"):
        store.set("other", "x")


def test_a_key_in_dotenv_is_refused(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.write(".env", f"ASGARD_SECRET_KEY={new_key()}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(CANARY))
    said = console.asgard("secrets", "set", "shop")
    assert (said.code, "beside what it locks" in said.err) == (2, True)
    assert not (console.folder / store_module.FILE).exists()


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 201, "ä"])
def test_names_that_are_none_are_refused(store: EncryptedStore, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a secret's name"):
        store.set(name, "x")


def test_what_is_missing_denied_or_damaged_is_said_without_the_value(
    store: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="has no secret 'password'"):
        store.read("password")
    with pytest.raises(ConfigError, match="is empty"):
        store.set("password", "")
    store.set("password", CANARY)
    monkeypatch.setenv("ASGARD_SECRET_KEY", new_key())
    with pytest.raises(Refused, match="does not open") as refused:
        store.read("password")
    assert CANARY not in str(refused.value.as_dict())
    with pytest.raises(Refused, match="does not open"):
        store.set("other", "would be locked with another key than the first")
    monkeypatch.setenv("ASGARD_SECRET_KEY", "no key at all")
    with pytest.raises(ConfigError, match="is no key") as wrong:
        store.read("password")
    assert "no key at all" not in str(wrong.value)
    store.file.write_text("{}")
    with pytest.raises(ConfigError, match="is no store of secrets"):
        store.read("password")
    store.file.write_text('{"format": 2}')
    with pytest.raises(ConfigError, match="has format 2"):
        store.read("password")


def test_a_lost_key_file_makes_no_new_key(store: EncryptedStore) -> None:
    key_file = Path(store.set("password", CANARY).removeprefix("file "))
    key_file.unlink()
    for attempt in (lambda: store.read("password"), lambda: store.set("b", "x"), store.rotate):
        with pytest.raises(ConfigError, match="there is no key"):
            attempt()
    assert not key_file.exists()


def test_a_value_moved_under_another_name_is_refused(store: EncryptedStore) -> None:
    store.set("admin", CANARY)
    store.set("reader", "harmless")
    document = json.loads(store.file.read_text())
    document["secrets"]["reader"]["value"] = document["secrets"]["admin"]["value"]
    store.file.write_text(json.dumps(document))
    with pytest.raises(Refused, match="somebody moved it"):
        store.read("reader")


def test_rotation_locks_anew_and_drops_the_old_key(
    store: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = Path(store.set("a", "one").removeprefix("file "))
    store.set("b", "two")
    old, before = key_file.read_text().strip(), store.file.read_text()
    assert store.rotate()[0] == 2
    assert (value(store, "a"), value(store, "b")) == ("one", "two")
    assert len(key_file.read_text().split()) == 1
    assert old not in key_file.read_text()
    monkeypatch.setenv("ASGARD_SECRET_KEY", old)
    with pytest.raises(Refused):
        store.read("a")
    assert store.file.read_text() != before


def test_keys_of_the_environment_are_rotated_by_whoever_sets_them(
    store: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = new_key(), new_key()
    monkeypatch.setenv("ASGARD_SECRET_KEY", old)
    store.set("a", "one")
    monkeypatch.setenv("ASGARD_SECRET_KEY", f"{new}, {old}")
    assert value(store, "a") == "one"
    store.rotate()
    monkeypatch.setenv("ASGARD_SECRET_KEY", new)
    assert value(store, "a") == "one"
    assert not Path.home().exists()


class _Killed(BaseException):
    """Stands for a kill between two writes."""


STEPS = 15
"""Three files - keys with the new one, the store, the new key alone - of five steps each."""


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_rotation_that_ends_anywhere_leaves_everything_readable(
    store: EncryptedStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    key_file = Path(store.set("a", "one").removeprefix("file "))
    store.set("b", "two")
    with monkeypatch.context() as patch:
        _kill_before(patch, step)
        with pytest.raises(_Killed):
            store.rotate()
    assert (value(store, "a"), value(store, "b")) == ("one", "two")
    store.rotate()
    assert (value(store, "a"), value(store, "b")) == ("one", "two")
    assert len(key_file.read_text().split()) == 1


def _kill_before(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Ends the process, as it were, before one of all opens, syncs and renames of private files."""
    done = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            done[0] += 1
            if done[0] == last:
                raise _Killed
            return real(*arguments)

        return step

    class Steps:
        open, fsync, replace = map(staticmethod, (counted(os.open), counted(os.fsync), counted(os.replace)))

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr(private_file, "os", Steps())


def test_writers_at_the_same_time_lose_nothing(store: EncryptedStore, surroundings: Surroundings) -> None:
    store.set("first", "x")

    def put(number: int) -> None:
        EncryptedStore(surroundings).set(f"n{number}", str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(12)))
    assert {value(store, f"n{number}") for number in range(12)} == {str(number) for number in range(12)}


def test_a_killed_writer_leaves_the_store_whole(store: EncryptedStore, project: Path) -> None:
    store.set("kept", CANARY)
    code = (
        "import itertools, os, sys\nfrom pathlib import Path\n"
        "from asgard.secrets.store import EncryptedStore\n"
        "from asgard.secrets.surroundings import Surroundings\n"
        f"store = EncryptedStore(Surroundings(Path({str(project)!r}), os.environ.get))\n"
        "print('ready', flush=True)\n"
        "for number in itertools.count():\n    store.set('busy', str(number))\n"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        while "busy" not in {entry.name for entry in store.entries()}:
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert value(store, "kept") == CANARY
        assert value(store, "busy").isdigit()
        store.delete("busy")


# ---- as people use it


def test_the_commands(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CANARY}\n"))
    said = console.asgard("secrets", "set", "shop")
    assert (said.code, "the key rests in file" in said.out) == (0, True)
    assert (
        console.asgard("secrets", "get", "shop").out == "shop is there and can be opened; --show prints it\n"
    )
    assert console.asgard("secrets", "get", "shop", "--json").json == {"name": "shop"}
    assert console.asgard("secrets", "get", "shop", "--show").out == f"{CANARY}\n"
    listed = console.asgard("secrets", "list", "--json")
    assert [entry["name"] for entry in listed.json["secrets"]] == ["shop"]
    assert console.asgard("secrets", "rotate").out.startswith("1 secrets are locked anew")
    assert console.asgard("secrets", "get", "shop", "--show").out == f"{CANARY}\n"
    assert console.asgard("secrets", "delete", "shop").code == 0
    missing = console.asgard("secrets", "get", "shop")
    assert (missing.code, "asgard secrets set shop" in missing.err) == (2, True)
    assert len(console.asgard("secrets", "key").out.strip()) == 44


def test_a_value_is_no_argument(console: Console) -> None:
    said = console.asgard("secrets", "set", "shop", CANARY)
    assert said.code == 2
    assert not (console.folder / store_module.FILE).exists()


def test_an_explanation_says_where_never_what(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(CANARY))
    console.asgard("secrets", "set", "shop")
    console.project({"shop": {"type": "postgres", "host": "${store:host}", "password": "${store:shop}"}})
    said = console.asgard("config", "explain", "data_sources.shop.password")
    assert "${store:shop}  <- won" in said.out
    assert f"store {console.folder / store_module.FILE} shop: found" in said.out
    assert CANARY not in said.out
    said = console.asgard("config", "explain", "data_sources.shop.host", "--json")
    assert said.json["problems"] == ["the store has no secret 'host'; asgard secrets set host"]
    wrong = console.asgard("config", "validate")
    assert "data_sources.shop.host: the store has no secret 'host'; asgard secrets set host" in wrong.err
    assert wrong.code == 2
