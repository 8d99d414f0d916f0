"""What flows: Arrow record batches with the position that they reach."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from asgard.core.errors import DataError
from asgard.core.position import Token

REASON = "_asgard_reason"
RAW_KEY = "_asgard_raw_key"
RAW_VALUE = "_asgard_raw_value"
RAW = (pa.field(RAW_KEY, pa.binary()), pa.field(RAW_VALUE, pa.binary()))
"""What a message holds that could not be decoded: its bytes as they came."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one split.

    Attributes:
        data: the rows; their schema is the stream's schema.
        token: where the split stands after these rows; None when it cannot be resumed inside.
        rejected: messages that could not be decoded, for the quarantine: the same columns, null where nothing
            is known, then `RAW`, then the reason. None when there are none.
    """

    stream: str
    split: str
    data: pa.RecordBatch
    token: Token | None = None
    rejected: pa.RecordBatch | None = None

    @property
    def whole(self) -> pa.RecordBatch:
        """The rows, for those who have no quarantine.

        Raises:
            DataError: messages could not be decoded, and would be lost without a word.
        """
        if self.rejected is not None and self.rejected.num_rows:
            raise DataError(
                f"{self.rejected.num_rows} messages could not be decoded; the first: "
                f"{self.rejected.column(REASON)[0].as_py()}",
                hint="format: raw carries them as bytes; a run into the lake sets them aside",
                where={"stream": self.stream},
            )
        return self.data


@dataclass(frozen=True, slots=True)
class Progress:
    """A position without rows: where the split stands; `done` when nothing follows."""

    token: Token | None = None
    done: bool = False
