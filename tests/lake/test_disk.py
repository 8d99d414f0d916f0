"""Full disks, folders that may not be written, files that were taken away: clear errors, old data safe."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from asgard.core.errors import AsgardError, DataError, OutOfSpace, Refused, Unreachable
from asgard.core.stream import Mode
from asgard.lake.disk import put_if_absent, translated
from tests.lake.ground import content, folder_of, load, rows, table_in, token, unknown_files

A = [(1, "a"), (2, "a")]
MANY = [(number, random.Random(number).randbytes(50).hex()) for number in range(5_000)]

LOAD = """
import json, os, resource, sys
from pathlib import Path
from asgard.core.errors import AsgardError
from asgard.core.stream import Mode
from tests.lake.ground import load, rows, table_in
from tests.lake.test_disk import MANY
what, *lakes = sys.argv[1:]
if what == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
elif what == "full log":
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
elif what == "stranger" and os.geteuid() == 0:  # nothing is forbidden to root
    os.setgid(65534), os.setuid(65534)
for lake in lakes:
    mode = Mode(Path(lake).name)
    try:
        load(table_in(Path(lake)), mode, rows(MANY if what == "full" else MANY[:1]), "2", keys=("id",))
        print("null")
    except AsgardError as error:
        print(json.dumps(error.as_dict()))
"""


def elsewhere(what: str, lakes: Sequence[Path]) -> list[dict[str, Any]]:
    """The errors of loads in a process of its own, one a lake; a lake's folder is named after the mode."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, what, *map(str, lakes)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("what", ["full", "full log"])
def test_a_full_disk(tmp_path: Path, what: str) -> None:
    lakes = [tmp_path / mode for mode in ("append", "merge", "replace")]
    tables = [table_in(lake) for lake in lakes]
    for table in tables:
        load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    for lake, table, error in zip(lakes, tables, elsewhere(what, lakes), strict=True):
        assert (error["type"], error["exit_code"]) == ("OutOfSpace", 5)
        assert "free space" in error["hint"]
        assert error["where"] == {"table": "bronze.shop.orders"}
        assert (content(table), token(table)) == (A, "1")
        load(table, Mode.APPEND, rows([(3, "b")]), "2")
        assert content(table) == [*A, (3, "b")]
        assert unknown_files(lake) == set()


def test_a_full_disk_at_the_first_load(tmp_path: Path) -> None:
    lake = tmp_path / "append"
    assert elsewhere("full", [lake])[0]["type"] == "OutOfSpace"
    table = table_in(lake)
    assert not table.exists()
    load(table, Mode.APPEND, rows(A), "1")
    assert (content(table), unknown_files(lake)) == (A, set())


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    for folder in list(tmp_path.parents)[:2]:
        folder.chmod(0o755)
    table = table_in(tmp_path / "append")
    load(table, Mode.APPEND, rows(A), "1")
    folder = folder_of(tmp_path / "append")
    places = [tmp_path, folder, folder / "_asgard" / "loads"]
    for folder in places:
        folder.chmod(0o555)
    errors = elsewhere("stranger", [tmp_path / "append", tmp_path / "merge"])
    for folder in places:
        folder.chmod(0o755)
    assert [(error["type"], error["exit_code"]) for error in errors] == [("Refused", 3)] * 2
    assert (content(table), token(table)) == (A, "1")


def test_a_data_file_that_was_taken_away(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    Path(table.mount().files[0]).unlink()
    with pytest.raises(DataError, match="No such file") as caught:
        table.scan().read_all()
    with pytest.raises(DataError, match="no file") as filtered:
        table.scan(where="id = 1").read_all()
    assert filtered.value.hint == caught.value.hint != ""
    with pytest.raises(AsgardError, match="part-"):
        load(table, Mode.MERGE, rows(A), "2", keys=("id",))
    assert token(table) == "1"


@pytest.mark.parametrize("damage", ["truncated log", "damaged log"])
def test_a_damaged_log(tmp_path: Path, damage: str) -> None:
    table = table_in(tmp_path)
    load(table, Mode.APPEND, rows(A), "1")
    log = folder_of(tmp_path) / "_delta_log" / f"{1:020d}.json"
    log.write_bytes(log.read_bytes()[:200] if damage == "truncated log" else b"\xff\xfe{")
    with pytest.raises(AsgardError) as caught:
        content(table)
    assert caught.value.where == {"table": "bronze.shop.orders"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), OutOfSpace),
        (OSError(122, "Disk quota exceeded"), OutOfSpace),
        (OSError("Generic LocalFileSystem error: x: No space left on device (os error 28)"), OutOfSpace),
        (PermissionError(13, "Permission denied"), Refused),
        (OSError(30, "Read-only file system"), Refused),
        (OSError("Permission denied (os error 13)"), Refused),
        (OSError(5, "Input/output error"), Unreachable),
        (FileNotFoundError(2, "No such file"), DataError),
    ],
)
def test_errors_of_the_disk_become_ours(error: OSError, kind: type[AsgardError]) -> None:
    with pytest.raises(kind), translated({"table": "t"}):
        raise error


def test_a_file_is_put_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.json"
    assert put_if_absent(path, b"first")
    assert not put_if_absent(path, b"second")
    assert path.read_bytes() == b"first"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            put_if_absent(tmp_path / "y.json", b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "x.json"]


Sync = Callable[[int], None]


def test_everything_that_a_commit_needs_is_synced_before_it_and_the_commit_itself_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which files reached the platter, in order, by the descriptors that fsync was called with."""
    table, synced = table_in(tmp_path), list[str]()
    load(table, Mode.MERGE, rows(A), "1", keys=("id",))
    real: Sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    load(table, Mode.MERGE, rows([(2, "b")]), "2", keys=("id",))
    monkeypatch.undo()
    new = {Path(path).name for path in table.mount().files}
    record = next(place for place, name in enumerate(synced) if ".json." in name and name[1].isdigit())
    log = synced.index(f"{2:020d}.json")
    assert new <= set(synced[:record])
    assert "orders" in synced[:record]  # the table's folder: the names of its files
    assert record < log
    assert synced[log + 1] == "_delta_log"
