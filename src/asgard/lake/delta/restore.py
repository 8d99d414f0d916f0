"""Ways back: the last load undone with its position, and positions that were lost, accepted or begun anew.

Each is a new epoch of the stream (protocol, line 14): integers of another epoch have nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import unquote

from deltalake import CommitProperties, PostCommitHookProperties, Transaction

from asgard.core.errors import ConfigError, Conflict, DataError, PositionLost
from asgard.lake.boundaries import reach
from asgard.lake.delta.commits import MARK, Entry, entry, sync_log
from asgard.lake.delta.ledger import Ledger, app_id
from asgard.lake.delta.positions import RESYNC_HINT, Positions, Record, inline, next_number
from asgard.lake.delta.quarantine import Quarantine
from asgard.lake.delta.snapshot import Snapshot
from asgard.lake.folder import Folder
from asgard.lake.schemas import to_delta

UNDONE_TO = "asgard.undone_to"
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def undo(folder: Folder, run: str = "") -> None:
    """Restores what was before the last load, data and position in one commit.

    Args:
        folder: the table's folder.
        run: take all loads back that this run made last; empty: the last load alone.

    Raises:
        ConfigError: there is no load to take back, or the last one is not of the run.
        DataError: another writer changed rows since, or the older files are gone.
        Conflict: another writer was faster.
    """
    snapshot = _open(folder)
    loads = _last_loads(folder, snapshot, run)
    target = loads[-1].version - 1
    _check_files(folder, target)
    ledger = Ledger(folder)
    transactions, records = [], {}
    for stream in {str(load.provenance["asgard.stream"]) for load in loads}:
        positions = ledger.positions(stream)
        first = next(load for load in reversed(loads) if load.provenance["asgard.stream"] == stream)
        before = positions.read(int(first.provenance["asgard.load"])).prev
        known = Record(0, None, None, 0) if before is None else positions.read(before)
        _, current = ledger.current(snapshot, stream)
        record = replace(known, number=next_number(current), prev=before, base=snapshot.version)
        transaction, records[stream] = _begin(positions, snapshot, record, "undo")
        transactions.append(transaction)
    with _decided(folder, transactions):
        snapshot.handle.restore(
            target,
            commit_properties=CommitProperties(
                custom_metadata={
                    MARK: "1",
                    UNDONE_TO: target,
                    "asgard.mode": "undo",
                    "asgard.run": run,
                    **inline(records),
                },
                app_transactions=transactions,
                max_commit_retries=0,
            ),
            post_commithook_properties=_NO_HOOKS,
        )
    reach("restored")
    sync_log(folder, snapshot.version + 1)


def accept(folder: Folder, stream: str, resync: bool) -> None:
    """Ends PositionLost: a new epoch with the last position that the log chooses, or with none.

    Args:
        folder: the table's folder.
        stream: whose position.
        resync: begin anew: the next load replaces every row of the table.

    Raises:
        PositionLost: no position is known that could be trusted; only resync is left.
        Conflict: another writer was faster.
    """
    ledger = Ledger(folder)
    snapshot = Snapshot.open(folder)
    if snapshot is None:
        if not resync:
            raise PositionLost("there is no table whose position could be trusted", hint=RESYNC_HINT)
        ledger.forget_identity()
        return
    positions = ledger.positions(stream)
    known = ledger.last_known(snapshot, stream)
    if known is None and not resync:
        raise PositionLost("the table's log chooses no position that is recorded", hint=RESYNC_HINT)
    if known is not None:
        Quarantine(folder).forget_failed(stream, known.number, known.prev)
    prev = known.number if known else None
    record = replace(
        known or Record(0, None, None, 0), number=next_number(prev), prev=prev, base=snapshot.version
    )
    if resync:
        record = replace(record, position=None, anew=True)
    transaction, record = _begin(positions, snapshot, record, "resync" if resync else "accept")
    with _decided(folder, [transaction]):
        snapshot.handle.create_write_transaction(
            [],
            "append",
            to_delta(snapshot.schema),
            commit_properties=CommitProperties(
                custom_metadata={
                    MARK: "1",
                    "asgard.mode": "resync" if resync else "accept",
                    **inline({stream: record}),
                },
                app_transactions=[transaction],
                max_commit_retries=0,
            ),
            post_commithook_properties=_NO_HOOKS,
        )
    sync_log(folder, snapshot.version + 1)
    ledger.adopt(snapshot, again=True)


@contextmanager
def _decided(folder: Folder, transactions: Sequence[Transaction]) -> Iterator[None]:
    """Around a commit: the integers of the new epochs say whether it happened, never the exception (protocol,
    line 11). Nobody else can have written them."""
    try:
        yield
    except Exception:
        snapshot = Snapshot.open(folder)
        if snapshot is None or any(
            snapshot.handle.transaction_version(one.app_id) != one.version for one in transactions
        ):
            raise


def _begin(positions: Positions, snapshot: Snapshot, record: Record, why: str) -> tuple[Transaction, Record]:
    """Names the next epoch and writes its first record; the commit that carries the result begins it."""
    epoch = positions.new_epoch(why)
    reach("epoch_written")
    if record.position is not None:
        record = replace(record, position=replace(record.position, epoch=epoch))
    if not positions.put(record):
        raise Conflict("another process is undoing or accepting, too", hint="run again")
    return Transaction(app_id(snapshot.table_id, positions.stream, epoch), record.number), record


def _open(folder: Folder) -> Snapshot:
    snapshot = Snapshot.open(folder)
    if snapshot is None:
        raise ConfigError("there is no table, so there is nothing to undo")
    return snapshot


def _last_loads(folder: Folder, snapshot: Snapshot, run: str) -> list[Entry]:
    """The loads to take back, newest first."""
    loads: list[Entry] = []
    version = snapshot.version
    while version >= 0:
        found = entry(folder, version)
        if found is None:
            break
        if UNDONE_TO in found.provenance:
            version = int(found.provenance[UNDONE_TO])
            continue
        if "asgard.load" in found.provenance:
            if loads and found.provenance.get("asgard.run") != run:
                break
            loads.append(found)
            if not run:
                break
        elif found.touches_files and not found.rearranges and not loads:
            raise DataError(
                f"another writer changed the table in version {version} ({found.operation}): undo would take "
                "that back, too",
                hint="restore the version that you want with your own tool, then asgard resync --accept",
            )
        elif found.touches_files and not found.rearranges:
            break
        version -= 1
    if not loads:
        raise ConfigError("there is no load to take back")
    if run and loads[0].provenance.get("asgard.run") != run:
        raise ConfigError(
            f"the last load is not of run {run}, but of {loads[0].provenance.get('asgard.run') or 'no run'}",
            hint="asgard undo takes the last load back",
        )
    return loads


def _check_files(folder: Folder, version: int) -> None:
    before = Snapshot.open(folder, version)
    files = [] if before is None else before.files()
    vectors = {file.vector.file for file in files if file.vector is not None and file.vector.storage == "u"}
    names = [*(unquote(file.path) for file in files), *sorted(vectors)]
    there = folder.sizes(names)
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"version {version} cannot come back: {len(missing)} of its files were deleted (vacuum)",
            hint="load the table anew: asgard resync",
        )
