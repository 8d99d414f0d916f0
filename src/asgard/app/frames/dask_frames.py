"""Dask frames over the splits of a source: a partition reads its split when it is computed, wherever that is.

The frame holds the source's plan, and with it the snapshot, in the process that made it: until nothing there
refers to the frame, or to what was made of it, any more. A worker gets how the source is written, never a
secret (Promise 6).

Reference: https://docs.dask.org/en/stable/generated/dask.dataframe.from_map.html
"""

from __future__ import annotations

import os
import uuid
import weakref
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from asgard.app.frames.frames import from_arrow
from asgard.app.sources.elsewhere import Held, Reading, described, read_elsewhere
from asgard.core.stream import Split


class _Lease:
    """What the partitions of one frame share: when the last of them is gone, the plan is closed."""


@dataclass(frozen=True)
class Part:
    """One partition.

    Attributes:
        frame: differs between frames: two that are made one after the other may show different rows.
        split: None reads the whole stream.
        lease: kept by this process alone.
    """

    frame: str
    reading: Reading
    split: Split | None
    lease: _Lease | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lease": None}

    def __dask_tokenize__(self) -> tuple[str, str]:
        return self.frame, self.split.id if self.split is not None else ""


def dask_frame(reading: Reading, partitions: int | None = None) -> Any:
    """A `dask.dataframe.DataFrame` of Arrow-backed columns in the source's own types.

    Args:
        partitions: about how many are wanted; the processors by default. A source whose splits other
            processes cannot read in one instant gives one.

    Raises:
        AsgardError: as for `elsewhere.described`, and what the source says while it plans.
    """
    import dask.dataframe

    library: Any = dask.dataframe
    reading = described(reading)
    empty = from_arrow(reading.arrow_schema.empty_table(), "pandas")
    parts = _parts(reading, partitions or os.cpu_count() or 1)
    if not parts:
        return library.from_pandas(empty, npartitions=1)
    return library.from_map(read_part, parts, meta=empty, label="asgard")


def read_part(part: Part) -> Any:
    """The rows of a partition as a pandas frame."""
    batches = list(read_elsewhere(part.reading, part.split))
    return from_arrow(pa.Table.from_batches(batches, schema=part.reading.arrow_schema), "pandas")


def _parts(reading: Reading, partitions: int) -> list[Part]:
    whole = Part(uuid.uuid4().hex, reading, None)
    if not reading.lends:
        return [whole]
    held = Held(reading, partitions)
    lease = _Lease()
    if held.holds:
        weakref.finalize(lease, held.close)
    else:
        held.close()
    return [replace(whole, split=split, lease=lease) for split in held.splits]
