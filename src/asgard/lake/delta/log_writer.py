"""Writes one commit of the log by itself: a file of a few lines, put where the next version belongs.

delta-rs reads the table again after each commit and gives the result to nobody: at the 500th commit that is
most of what a commit costs. A commit that only adds and removes files needs none of it: it is the very next
version, or none, because nobody else can have put a file of that name (protocol, line 10), and it is durable
when it is seen (line 12). Tables whose writers must do more than that are left to delta-rs.

Reference: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from deltalake import Transaction
from deltalake.exceptions import CommitFailedError

from asgard.core.table import DataFile
from asgard.lake.delta.commits import LOG, MARK, log_name
from asgard.lake.delta.snapshot import LakeFile
from asgard.lake.folder import Folder

Action = dict[str, Any]


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
    """A file that goes, by the path that the log has."""
    return {
        "remove": {
            "path": file.path,
            "deletionTimestamp": _now(),
            "dataChange": not moves_rows,
            "extendedFileMetadata": True,
            "partitionValues": {},
            "size": file.size_bytes,
        }
    }


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
