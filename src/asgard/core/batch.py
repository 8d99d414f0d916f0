"""What flows: Arrow record batches with the position that they reach."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from asgard.core.position import Token


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one split.

    Attributes:
        stream: id of the stream.
        split: id of the split.
        data: the rows; their schema is the stream's schema.
        token: where the split stands after these rows; None when it cannot be resumed inside.
    """

    stream: str
    split: str
    data: pa.RecordBatch
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A position without rows.

    Attributes:
        token: where the split stands.
        done: True when the split has nothing more; nothing follows.
    """

    token: Token | None = None
    done: bool = False
