"""Files: found, opened through their compression, and noticed when they change."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from asgard.core.errors import (
    AsgardError,
    ConfigError,
    DataError,
    OutOfSpace,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.transport.files import existing_folder, find_files, opened, refuse_changed, translated

TEXT = b"id,name\n" + b"".join(b"%d,somebody\n" % number for number in range(20_000))


def packed(name: str, data: bytes) -> bytes:
    if name.endswith(".zst"):
        return bytes(pa.Codec("zstd").compress(data, asbytes=True))
    return {".gz": gzip.compress, ".bz2": bz2.compress}.get(name[name.rfind(".") :], bytes)(data)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.bz2", "a.csv.zst", "a.csv.GZ"])
def test_what_is_packed_comes_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed(name.lower(), TEXT))
    (file,) = find_files(tmp_path, "*")
    assert (file.suffix, file.plain_name, file.size_bytes) == (
        ".csv",
        "a.csv",
        (tmp_path / name).stat().st_size,
    )
    with opened(file) as stream:
        assert stream.read() == TEXT


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.zst", "a.zip"])
@pytest.mark.parametrize("cut", [1, 3, 100, -1])
def test_what_is_cut_off_is_an_error(tmp_path: Path, name: str, cut: int) -> None:
    path = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", TEXT)
    else:
        path.write_bytes(packed(name, TEXT))
    path.write_bytes(path.read_bytes()[:-cut] if cut > 0 else b"")

    def read_all() -> list[bytes]:
        contents = []
        for file in find_files(tmp_path, name):
            with opened(file) as stream:
                contents.append(stream.read())
        return contents

    with pytest.raises(DataError) as caught:
        read_all()
    assert name in caught.value.what
    assert caught.value.hint


def test_a_damaged_member_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
    path.write_bytes(path.read_bytes().replace(b"19999,somebody", b"19999,somebodx"))
    (file,) = find_files(tmp_path, "a.zip")
    with pytest.raises(DataError, match="CRC"), opened(file) as stream:
        stream.read()


def test_archives_are_their_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b/2.csv", "b/1.csv", "b/.hidden", "__MACOSX/b/1.csv"):
            archive.writestr(name, name)
        archive.mkdir("empty")
    files = find_files(tmp_path, "*.zip")
    assert [file.name for file in files] == ["a.zip!b/1.csv", "a.zip!b/2.csv"]
    with opened(files[1]) as stream:
        assert stream.read() == b"b/2.csv"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["1.csv", "[x].csv"]),
        ("**/*.csv", ["1.csv", "[x].csv", "sub/2.csv", "sub/deep/3.csv"]),
        ("sub/*", ["sub/2.csv"]),
        ("[x].csv", ["[x].csv"]),
        ("sub/deep/3.csv", ["sub/deep/3.csv"]),
        ("../*/1.csv", ["1.csv"]),
        ("nothing*", []),
        (".hidden.csv", [".hidden.csv"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, names: list[str]) -> None:
    root = tmp_path / "here [and] now"
    for name in ("1.csv", "[x].csv", "sub/2.csv", "sub/deep/3.csv", ".hidden.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a\n")
    (root / "folder.csv").mkdir()
    assert [file.name for file in find_files(root, pattern)] == names


def test_an_absolute_pattern_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "b").mkdir()
    (file,) = find_files(tmp_path / "b", str(tmp_path / "*.csv"))
    assert file.name == "../a.csv"


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    (file,) = find_files(tmp_path, "a.csv")
    refuse_changed(file)
    path.write_text("a\n2\n")
    os.utime(path, ns=(file.modified_ns + 1, file.modified_ns + 1))
    with pytest.raises(DataError, match="changed while it was being read"), opened(file):
        raise AssertionError("it was opened")
    path.unlink()
    with pytest.raises(QueryError, match=r"there is no file a\.csv"):
        refuse_changed(file)


def test_a_zip_with_a_password_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a\n")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of the local header, and the one of the directory: encrypted
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    (file,) = find_files(tmp_path, "a.zip")
    with pytest.raises(DataError, match="password"), opened(file) as stream:
        stream.read()


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (FileNotFoundError(2, "gone"), QueryError),
        (PermissionError(13, "no"), Refused),
        (IsADirectoryError(21, "is"), Refused),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), DataError),
        (zipfile.BadZipFile("bad"), DataError),
        (EOFError(), DataError),
        (pa.ArrowInvalid("bad"), DataError),
        (pa.ArrowNotImplementedError("new"), DataError),
        (OSError("Truncated compressed stream"), DataError),
        (OSError(errno.ENOSPC, "full"), OutOfSpace),
        (OSError(errno.EDQUOT, "full"), OutOfSpace),
        (OSError(errno.EIO, "broken"), Unreachable),
        (TimeoutError(), Unreachable),
    ],
)
def test_foreign_errors_become_ours(foreign: Exception, ours: type[AsgardError]) -> None:
    if isinstance(foreign, TimeoutError):
        foreign.errno = errno.ETIMEDOUT
    with pytest.raises(AsgardError) as caught, translated("a.csv"):
        raise foreign
    assert type(caught.value) is ours
    assert "a.csv" in str(caught.value)
    assert caught.value.__cause__ is foreign


def test_our_own_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mine"), translated("a.csv"):
        raise ConfigError("mine")


def test_a_folder_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="no folder or file") as caught:
        existing_folder(str(tmp_path / "dta" / "deep"))
    assert "data" in caught.value.hint
    assert existing_folder(str(tmp_path)) == tmp_path


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n")
    path.chmod(0)
    (file,) = find_files(tmp_path, "a.csv")
    root = os.geteuid() == 0
    if root:
        tmp_path.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(AsgardError) as caught, opened(file):
            raise AssertionError("it was opened")
        assert isinstance(caught.value, Refused | QueryError)
    finally:
        if root:
            os.seteuid(0)
