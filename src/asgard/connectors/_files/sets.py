"""Which files make up a table, what a place has, and which of the files are in the lake already."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from asgard.connectors._files.formats import SUFFIXES, FilesStreamOptions, Part
from asgard.core.errors import ConfigError, DataError, PositionLost, QueryError
from asgard.core.position import Token
from asgard.transport.files import MEMBER, FoundFile, Place
from asgard.transport.parquet import row_groups
from asgard.transport.spreadsheet import sheet_names

FORMAT = 1
SPLIT_BYTES = 32 << 20
LONGEST_PLAIN_TOKEN = 65_536


@dataclass(frozen=True)
class FileSet:
    """The files of one table, all written in one way.

    Attributes:
        name, namespace: of the stream; the namespace is the workbook of a sheet.
        several: it was asked for by a pattern or a folder: more files may come.
    """

    name: str
    files: tuple[FoundFile, ...]
    format: str
    namespace: str = ""
    sheet: str | None = None
    several: bool = False


def discovered(place: Place, format: str | None) -> Iterator[FileSet]:
    """What a place has: each readable file at its top is a table, and each of its folders with files of one
    format below it is one. Workbooks have a table for each sheet."""
    if place.only:
        for file in place.find(place.only):
            yield from _tables_of(file, format, _stem(file))
        return
    files = [file for file in place.find() if _format_of(file, format)]
    alone = [file for file in files if not file.member and "/" not in file.name]
    stems = [_stem(file) for file in alone]
    for file, stem in zip(alone, stems, strict=True):
        yield from _tables_of(file, format, stem if stems.count(stem) == 1 else file.plain_name)
    together = [file for file in files if file.member or "/" in file.name]
    for _, inside in groupby(together, key=_container):
        members = tuple(inside)
        formats = {_format_of(file, format) for file in members}
        if len(formats) == 1:
            yield FileSet(_container(members[0]), members, formats.pop() or "", several=True)


def _container(file: FoundFile) -> str:
    """The folder at the top, or the archive, that the file is in."""
    top, folders, _ = file.name.partition(MEMBER)[0].partition("/")
    return top if folders else Path(top).stem


def _tables_of(file: FoundFile, format: str | None, name: str) -> Iterator[FileSet]:
    written = _format_of(file, format)
    sheets: list[str] = []
    if written == "excel":
        with suppress(DataError):  # it is listed all the same: what is wrong is told when it is loaded
            sheets = sheet_names(file)
    if len(sheets) > 1:
        for sheet in sheets:
            yield FileSet(sheet, (file,), "excel", namespace=name, sheet=sheet)
    elif written:
        yield FileSet(name, (file,), written)


def _stem(file: FoundFile) -> str:
    return file.plain_name.removesuffix(Path(file.plain_name).suffix) or file.plain_name


def _format_of(file: FoundFile, given: str | None) -> str | None:
    return given or SUFFIXES.get(file.suffix)


def named_set(place: Place, name: str, options: FilesStreamOptions, format: str | None) -> FileSet:
    """The files of a table as it is configured, or as it is called in the folder.

    Raises:
        QueryError: no file matches; the hint says what there is.
        ConfigError: the files are written in several formats.
    """
    written = options.format or format
    only = place.only
    if options.path is not None:
        return matching(place, name, options.path, written)
    if only and not (written or SUFFIXES.get(Path(only).suffix.lower()) == "excel"):
        return matching(place, name, only, written)
    found = list(discovered(place, written))
    for table in found:
        if name in (table.name, f"{table.namespace}.{table.name}"):
            return table
    if only:
        return matching(place, name, only, written)
    names = [f"{t.namespace}.{t.name}" if t.namespace else t.name for t in found]
    raise QueryError(
        f"{place.location} has no file for {name!r}",
        hint=f"give it a path; there are: {', '.join(names[:10])}"
        if names
        else "there are no data files: look at the path, or give it a format",
        where={"stream": name},
    )


def matching(place: Place, name: str, pattern: str, format: str | None) -> FileSet:
    """The files that a path or pattern means, as one table.

    Raises:
        QueryError: there are none.
        ConfigError: they are written in several formats.
    """
    files = place.find(pattern)
    folder = not files and place.is_folder(pattern)
    if folder:
        files = place.find(f"{pattern.rstrip('/')}/**/*")
    known = [file for file in files if _format_of(file, format)]
    if not known:
        raise QueryError(
            f"no file matches {pattern!r}" if not files else f"{files[0].name} is of no known format",
            hint=place.near(pattern) if not files else "give it a format: csv, json, ...",
            where={"stream": name},
        )
    formats = {_format_of(file, format): file.name for file in known}
    if len(formats) > 1:
        listed = ", ".join(f"{file} ({written})" for written, file in formats.items())
        raise ConfigError(
            f"{pattern!r} matches files of several formats: {listed}",
            hint="make the pattern narrower, or give the table a format",
            where={"stream": name},
        )
    asked_for_several = any(sign in pattern for sign in "*?[") and not place.is_file(pattern)
    several = folder or asked_for_several or len(known) > 1
    return FileSet(name, tuple(known), _format_of(known[0], format) or "", several=several)


# ---- how they are read in parallel


def whole_parts(files: Sequence[FoundFile]) -> list[list[Part]]:
    """Files put together to splits of some size; the same for the same files."""
    groups: list[list[Part]] = []
    size = SPLIT_BYTES
    for file in files:
        if size >= SPLIT_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(Part(file))
        size += file.size_bytes
    return groups


def row_group_parts(files: Sequence[FoundFile]) -> list[list[Part]]:
    """The same for Parquet, whose large files are read by several workers."""
    small = [file for file in files if file.size_bytes < 2 * SPLIT_BYTES]
    groups = whole_parts(small)
    for file in files:
        if file.size_bytes < 2 * SPLIT_BYTES:
            continue
        sizes = [size for _, size in row_groups(file)]
        part: list[int] = []
        for number in range(len(sizes)):
            part.append(number)
            if sum(sizes[g] for g in part) >= 4 * SPLIT_BYTES or number == len(sizes) - 1:
                groups.append([Part(file, tuple(part))])
                part = []
    return groups


def split_id(parts: Sequence[Part]) -> str:
    """Stable for the same content of the same files."""
    told = [[part.file.name, part.file.state, list(part.groups)] for part in parts]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]


# ---- which of them are loaded


def written_token(states: Mapping[str, str], more: Mapping[str, str] | None = None) -> Token:
    """The position of a table whose files are loaded in these states; `more` is kept beside them."""
    plain = json.dumps({"format": FORMAT, "files": dict(states), **(more or {})}, sort_keys=True)
    if len(plain) <= LONGEST_PLAIN_TOKEN:
        return plain
    packed = base64.b85encode(zlib.compress(json.dumps(dict(states), sort_keys=True).encode(), 9)).decode()
    return json.dumps({"format": FORMAT, "packed": packed, **(more or {})})


def read_token(token: Token, stream: str) -> dict[str, str]:
    """File name to state, as the last load left it.

    Raises:
        PositionLost: the token is not of this connector.
    """
    try:
        document = json.loads(token)
        if document["format"] != FORMAT:
            raise KeyError("format")
        files = document.get("files")
        if files is None:
            files = json.loads(zlib.decompress(base64.b85decode(document["packed"])))
        return {str(name): str(state) for name, state in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise PositionLost(
            f"the position {token[:80]!r} is not of this connector",
            hint=f"asgard resync {stream} loads the table anew",
            where={"stream": stream},
        ) from error


def to_load(
    files: Sequence[FoundFile], loaded: Mapping[str, str], stream: str, *, reload: bool
) -> list[FoundFile]:
    """The files that are not loaded as they are now.

    Raises:
        DataError: a loaded file changed, and its rows would come twice; names it.
    """
    changed = [file for file in files if loaded.get(file.name, file.state) != file.state]
    if changed and not reload:
        raise DataError(
            f"{changed[0].name} changed after it was loaded"
            + (f", and {len(changed) - 1} more" if len(changed) > 1 else "")
            + ": to append it again would repeat its rows",
            hint="give the table a primary_key, or set changed_files: reload, or asgard resync it",
            where={"stream": stream, "file": changed[0].name},
        )
    return [file for file in files if loaded.get(file.name) != file.state]
