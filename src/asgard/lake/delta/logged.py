"""A version's data files as its log has them: with what delta-rs does not hand out, deletion vectors and
statistics in the writer's own words.

The newest checkpoint is read, and the commits after it. It is asked for tables with vectors alone.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from asgard.core.errors import DataError
from asgard.lake.delta.commits import LOG, log_name
from asgard.lake.folder import Folder

CHECKPOINT = re.compile(
    r"(?P<version>\d{20})\.checkpoint(\.(?P<part>\d{10})\.(?P<parts>\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)"
)
SIDECARS = "_sidecars"
TOLD = (
    "path", "partitionValues", "size", "modificationTime", "stats", "tags", "deletionVector", "baseRowId",
    "defaultRowCommitVersion", "clusteringProvider",
)  # fmt: skip
"""What an `add` may say, besides what is worked out of it for quick readers."""

Add = Mapping[str, Any]


def logged_adds(folder: Folder, version: int) -> dict[str, Add]:
    """Path, as the log has it, to the `add` that counts at the version.

    Raises:
        DataError: the log does not hold all that is needed.
    """
    log = folder / LOG
    found: dict[str, Add] = {}
    start, names = _checkpoint(log.files(), version)
    for name in names:
        found |= {add["path"]: add for add in _of_checkpoint(log, name)}
    read = partial(_read, log)
    with ThreadPoolExecutor(folder.asked_at_once, "log") as pool:
        for commit in pool.map(read, range(start + 1, version + 1)):
            actions = [json.loads(line) for line in commit if line.startswith((b'{"add"', b'{"remove"'))]
            for gone in (one["remove"] for one in actions if "remove" in one):
                found.pop(gone["path"], None)
            # Of a path that a commit removes and adds, it removes what was there before, with another vector.
            found |= {one["add"]["path"]: one["add"] for one in actions if "add" in one}
    return found


def _read(log: Folder, version: int) -> list[bytes]:
    try:
        return log.read(log_name(version)).splitlines()
    except FileNotFoundError as error:
        raise DataError(
            f"the table's log has no version {version}, and no checkpoint after it",
            hint="the table's files are damaged or were taken away",
        ) from error


def _checkpoint(names: Iterable[str], version: int) -> tuple[int, list[str]]:
    """The newest whole one up to a version, and its files; -1 where there is none."""
    there: dict[tuple[int, int], list[str]] = {}
    for name in names:
        told = CHECKPOINT.fullmatch(name)
        if told is not None and int(told["version"]) <= version:
            parts = int(told["parts"] or 1)
            there.setdefault((int(told["version"]), parts), []).append(name)
    whole = [(at, parts) for (at, parts), files in there.items() if len(files) >= parts]
    if not whole:
        return -1, []
    newest = max(whole)
    files = sorted(there[newest])
    return newest[0], files if newest[1] > 1 else files[:1]


def _of_checkpoint(log: Folder, name: str) -> Iterator[Add]:
    """What a file of a checkpoint adds, and those that it names."""
    if name.endswith(".json"):
        actions = [json.loads(line) for line in log.read(name).splitlines()]
    else:
        actions = list(_rows(log, name))
    for action in actions:
        if action.get("add"):
            yield action["add"]
        if action.get("sidecar"):
            path = str(action["sidecar"]["path"])
            yield from (one["add"] for one in _rows(log / SIDECARS, path) if one.get("add"))


def _rows(folder: Folder, name: str) -> Iterator[dict[str, Any]]:
    with folder.opened(folder.absolute(name)) as opened, pq.ParquetFile(opened) as file:
        there = {path for path in file.schema_arrow.names if path in ("add", "sidecar")}
        told = {field.name for field in file.schema_arrow.field("add").type} if "add" in there else set()
        columns = [f"add.{part}" for part in TOLD if part in told] + [*(there & {"sidecar"})]
        for batch in file.iter_batches(columns=columns, use_threads=False):
            for row in batch.to_pylist():
                if row.get("add") and row["add"].get("path") is not None:
                    row["add"] = {key: _plain(value) for key, value in row["add"].items()}
                else:
                    row["add"] = None
                yield row


def _plain(value: Any) -> Any:
    """Parquet's maps, which come as pairs, as JSON has them."""
    return dict(value) if isinstance(value, list) else value
