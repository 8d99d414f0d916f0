"""Writes one commit of the log by itself: a file of a few lines, put where the next version belongs.

delta-rs reads the table again after each commit and gives the result to nobody: at the 500th commit that is
most of what a commit costs. A commit that only adds and removes files needs none of it: it is the very next
version, or none, because nobody else can have put a file of that name (protocol, line 10), and it is durable
when it is seen (line 12). Tables whose writers must do more than that are left to delta-rs.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from deltalake import Transaction
from deltalake.exceptions import CommitFailedError

from asgard.core.table import DataFile
from asgard.lake.delta.commits import LOG, MARK, log_name
from asgard.lake.delta.deletion_vectors import ENABLED, FEATURE, Vector
from asgard.lake.delta.snapshot import LakeFile, Snapshot
from asgard.lake.folder import Folder

Action = dict[str, Any]

OF_OLDER_PROTOCOLS = ((2, "appendOnly"), (2, "invariants"))
"""Features that a writer's version stood for, before they had names; of the versions that we write."""


def added(file: DataFile, *, moves_rows: bool = False) -> Action:
    """A file of ours that comes; its rows are new, unless they only move."""
    return {
        "add": {
            "path": file.path,
            "partitionValues": {},
            "size": file.size_bytes,
            "modificationTime": _now(),
            "dataChange": not moves_rows,
            "stats": file.stats,
        }
    }


def removed(file: LakeFile, *, moves_rows: bool = False) -> Action:
    """A file that goes, by the path that the log has, and with its vector: without it nothing would go."""
    vector = {} if file.vector is None else {"deletionVector": file.vector.to_log()}
    return {
        "remove": {
            "path": file.path,
            "deletionTimestamp": _now(),
            "dataChange": not moves_rows,
            "extendedFileMetadata": True,
            "partitionValues": {},
            "size": file.size_bytes,
            **vector,
        }
    }


def marked(add: Mapping[str, Any], vector: Vector, rows: int) -> Action:
    """A file that stays, with more of its rows gone; the same commit removes it as it was.

    Args:
        add: what the log says about the file.
        vector: all rows of it that are gone.
        rows: how many it holds, those that are gone included.
    """
    kept = {key: value for key, value in add.items() if value is not None}
    changed = {"dataChange": True, "stats": _wide(add.get("stats"), rows), "deletionVector": vector.to_log()}
    return {"add": {**kept, **changed}}


def _wide(stats: str | None, rows: int) -> str:
    """Statistics that hold for fewer rows, too. Bounds stay digit by digit: rounded ones would hide rows."""
    told = json.loads(stats or "{}")
    if stats is None or told.get("numRecords") != rows:
        return json.dumps({"numRecords": rows, "tightBounds": False})
    if "tightBounds" in told:
        return re.sub(r'"tightBounds": *true', '"tightBounds":false', stats)
    return stats.replace("{", '{"tightBounds":false,', 1)


def vectors_enabled(snapshot: Snapshot) -> list[Action]:
    """What lets a table have deletion vectors; the features that it had stay, those too for which an older
    version of the protocol stood."""
    protocol, metadata = snapshot.handle.protocol(), snapshot.handle.metadata()
    writers = {name for least, name in OF_OLDER_PROTOCOLS if protocol.min_writer_version >= least}
    if protocol.writer_features is not None:
        writers = {*protocol.writer_features}
    readers = {*(protocol.reader_features or ())}
    return [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": sorted(readers | {FEATURE}),
                "writerFeatures": sorted(writers | readers | {FEATURE}),
            }
        },
        {
            "metaData": {
                "id": str(metadata.id),
                "name": metadata.name,
                "description": metadata.description,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": snapshot.handle.schema().to_json(),
                "partitionColumns": list(metadata.partition_columns),
                "createdTime": metadata.created_time,
                "configuration": {**metadata.configuration, ENABLED: "true"},
            }
        },
    ]


def put_commit(
    folder: Folder,
    version: int,
    actions: Iterable[Action],
    provenance: Mapping[str, Any],
    transactions: Iterable[Transaction] = (),
) -> int:
    """Commits actions as a version, durably.

    Args:
        folder: of a table that `takes_plain_commits`.
        version: the one after that on which the commit was worked out.
        provenance: who did what, for readers of the history.
        transactions: the streams' integers.

    Returns:
        The version.

    Raises:
        CommitFailedError: somebody else has made that version - or, in a bucket, perhaps this commit itself.
    """
    told = dict(provenance)
    info = {
        "timestamp": _now(),
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": "[]"},
        "isBlindAppend": bool(told.pop("isBlindAppend", False)),
        "engineInfo": "asgard",
        **told,
        MARK: "1",
    }
    numbers = [{"txn": {"appId": one.app_id, "version": one.version}} for one in transactions]
    lines = [{"commitInfo": info}, *actions, *numbers]
    content = "\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    if not (folder / LOG).put_if_absent(log_name(version), content.encode()):
        raise CommitFailedError(f"version {version} was made by somebody else")
    return version


def _now() -> int:
    return int(time.time() * 1000)
