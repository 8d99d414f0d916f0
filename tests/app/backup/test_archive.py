"""The archive itself: whole or not there, and never believed when it is damaged."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asgard.app.backup.archive import DRAFT, Archive, Draft
from asgard.app.backup.manifest import Manifest
from asgard.core.errors import ConfigError, DataError, OutOfSpace, Refused
from tests.app.backup.kept_shop import KeptShop

EMPTY = Manifest.from_bytes(
    b'{"format": 1, "asgard": "0.1.0", "made_at": "2026-01-31T12:00:00+00:00", "project": "shop",'
    b' "workspace": "default", "environment": null, "lake": "lake", "kind": "sqlite", "with_project": false,'
    b' "stores": [], "tables": [], "secrets": null, "members": []}'
)
CONTENT = {"logs/a.jsonl": os.urandom(3000), "logs/b.jsonl": b"the same again " * 500, "logs/c.jsonl": b""}
START = "from asgard.cli.main import main; main()"


def written(file: Path) -> Path:
    with Draft(file) as draft:
        for name, content in CONTENT.items():
            draft.add(name, [content[:100], content[100:]])
        draft.finish(EMPTY)
    return file


def read(file: Path) -> dict[str, bytes]:
    with Archive(file) as opened:
        return {name: b"".join(opened.read(name)) for name in opened.members}


def test_what_was_written_is_read_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = written(tmp_path / "a name with spaces.zip")
    assert read(file) == CONTENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_the_same_content_is_the_same_file_whatever_the_clock_says(tmp_path: Path) -> None:
    assert written(tmp_path / "one.zip").read_bytes() == written(tmp_path / "two.zip").read_bytes()


def test_a_byte_that_is_another_is_found_or_says_nothing(tmp_path: Path) -> None:
    """Every byte of a ZIP, turned over: what is read is what was written, or it is refused."""
    whole, file = written(tmp_path / "whole.zip").read_bytes(), tmp_path / "damaged.zip"
    chosen = random.Random(1)
    places = {*range(len(whole) - 300, len(whole)), *(chosen.randrange(len(whole)) for _ in range(300))}
    refused = 0
    for place in sorted(places):
        for bit in (0, 7):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                assert read(file) == CONTENT
            except (DataError, ConfigError):
                refused += 1
    assert refused > len(places)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    file = written(tmp_path / "cut.zip")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(DataError, match="is damaged"):
        read(file)


def test_the_member_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "damaged.zip")
    content = bytearray(file.read_bytes())
    content[content.index(CONTENT["logs/a.jsonl"][:20]) + 10] ^= 1  # random bytes are stored as they are
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"logs/a\.jsonl is damaged"):
        read(file)


def test_a_member_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    file, other = written(tmp_path / "one.zip"), tmp_path / "other.zip"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(b"again", b"twice") if name == "logs/b.jsonl" else content)
    with pytest.raises(DataError, match=r"logs/b\.jsonl is damaged"):
        read(other)


def test_a_member_that_unfolds_without_end_is_read_no_further_than_it_says(tmp_path: Path) -> None:
    file, other = written(tmp_path / "one.zip"), tmp_path / "other.zip"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, bytes(64 << 20) if name == "logs/b.jsonl" else source.read(name))
    with Archive(other) as opened, pytest.raises(DataError, match="longer than it was"):
        list(opened.read("logs/b.jsonl"))


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file, other = written(tmp_path / "one.zip"), tmp_path / "other.zip"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        manifest = json.loads(source.read("manifest.json")) | {"format": 2, "asgard": "9.9.9"}
        target.writestr("manifest.json", json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"format 2, made by Asgard 9\.9\.9") as refused:
        Archive(other)
    assert "version of Asgard that made it" in refused.value.hint


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "there.zip"
    file.write_bytes(b"mine")
    with pytest.raises(Refused, match="already"):
        written(file)
    assert file.read_bytes() == b"mine"


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "there.zip"
    with Draft(file) as draft:
        file.write_bytes(b"mine")
        with pytest.raises(Refused, match="already"):
            draft.finish(EMPTY)
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"mine", [file])


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with Draft(tmp_path / "full.zip") as draft, pytest.raises(OutOfSpace, match=r"full\.zip"):
            draft.add("logs/a.jsonl", (os.urandom(50_000) for _ in range(10)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_large_members_are_not_held_in_memory(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.app.backup.test_archive import EMPTY, Archive, Draft\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with Draft(Path(sys.argv[1])) as draft:\n"
        "    draft.add('logs/a.jsonl', (bytes(1 << 20) for _ in range(300)))\n"
        "    draft.finish(EMPTY)\n"
        "with Archive(Path(sys.argv[1])) as opened:\n"
        "    opened.check()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000  # kilobytes, of 120 MB


KILLED = """
import os, signal, sys
from asgard.app.backup.archive import Draft
left = int(sys.argv.pop(1))
def counted(method):
    def call(self, *given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *given)
    return call
Draft.add, Draft.finish, Draft.aside = counted(Draft.add), counted(Draft.finish), counted(Draft.aside)
"""


@pytest.mark.parametrize("steps", [0, 3, 5])
def test_a_backup_that_is_killed_leaves_no_archive_and_the_next_one_sweeps(
    shop: KeptShop, steps: int
) -> None:
    shop.backups.mkdir()
    command = [sys.executable, "-c", KILLED + START, str(steps), "backup", str(shop.backups / "a.zip")]
    done = subprocess.run(command, cwd=shop.folder, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done
    assert all(path.name.startswith(DRAFT) for path in shop.backups.iterdir())
    assert list(shop.backups.iterdir()) != []
    shop.done("backup", str(shop.backups / "a.zip"))
    assert [path.name for path in shop.backups.iterdir()] == ["a.zip"]


def test_a_backup_that_is_under_way_is_not_swept(tmp_path: Path) -> None:
    with Draft(tmp_path / "one.zip") as first:
        first.aside("db").write_bytes(b"a copy")
        written(tmp_path / "two.zip")
        first.add_file("logs/a.jsonl", first.aside("db"))
        first.finish(EMPTY)
    assert read(tmp_path / "one.zip") == {"logs/a.jsonl": b"a copy"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "two.zip"]


@pytest.mark.parametrize(
    ("destination", "error"),
    [
        ("lake/backup.zip", "lies within the lake"),
        ("lake/bronze/../a folder/", "lies within the lake"),
        (".asgard/backup.zip", "lies within the state"),
        ("asgard.yml/backup.zip", "cannot be written"),
        ("/proc/backup.zip", "cannot be written"),
        ("asgard.yml", "already"),
    ],
)
def test_where_a_backup_cannot_lie(shop: KeptShop, destination: str, error: str) -> None:
    said = shop.asgard("backup", destination)
    assert (said.code, error in said.err) == (3, True), said


def test_a_link_into_the_lake_is_the_lake(shop: KeptShop) -> None:
    (shop.folder / "elsewhere").symlink_to(shop.folder / "lake")
    assert shop.asgard("backup", "elsewhere/backup.zip").code == 3


def test_a_bucket_is_no_destination(shop: KeptShop) -> None:
    said = shop.asgard("backup", "s3://bucket/backups/")
    assert (said.code, "a file of this machine" in said.err) == (2, True), said


def test_what_is_no_archive_is_refused(shop: KeptShop) -> None:
    for name, code in (("asgard.yml", 4), ("nothing.zip", 3), ("lake", 3)):
        assert shop.asgard("restore", name).code == code
