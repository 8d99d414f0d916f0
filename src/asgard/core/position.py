"""How far a stream has been read, as the lake keeps it beside the data (Promise 1).

A `Token` is the connector's own text; nobody else reads it. A `Position` puts tokens together:
`token` is where the stream stands by every plan that was read to its end. While a plan that may be
resumed is half read, `pending` is the token it will end at and `splits` tells which splits are in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from asgard.core.errors import PositionLost

Token = str
DONE = "DONE"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Position:
    """The read position of one stream in one table.

    Attributes:
        token: everything up to here is in the table; None before the first finished plan.
        pending: the token that the half-read plan will end at; None when no plan is half read.
        splits: split id to `DONE`, or to the split's own token; empty when no plan is half read.
        epoch: counts the resyncs; positions of different epochs have nothing to do with each other.
    """

    token: Token | None = None
    pending: Token | None = None
    splits: Mapping[str, Token] = field(default_factory=dict)
    epoch: int = 0

    @property
    def half_read(self) -> bool:
        """True while a resumable plan has splits in the table, but not all of them."""
        return self.pending is not None

    def with_splits_done(self, split_ids: Iterable[str], pending: Token) -> Position:
        """The position after these splits of the plan that ends at `pending` are in the table."""
        done = {**self.splits, **dict.fromkeys(split_ids, DONE)}
        return replace(self, pending=pending, splits=done)

    def finished(self, token: Token | None) -> Position:
        """The position after every split of a plan is in the table."""
        return Position(token=token, epoch=self.epoch)

    def to_json(self) -> dict[str, object]:
        """As the position record stores it."""
        return {
            "format": FORMAT,
            "token": self.token,
            "pending": self.pending,
            "splits": dict(self.splits),
            "epoch": self.epoch,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Position:
        """Reads a position record.

        Raises:
            PositionLost: the record was written by a newer format, or is damaged.
        """
        try:
            if document["format"] != FORMAT:
                raise PositionLost(
                    f"the position record has format {document['format']!r}, this version reads {FORMAT}",
                    hint="run the version of Asgard that wrote it, or a newer one",
                )
            splits = document["splits"]
            assert isinstance(splits, Mapping)
            token, pending, epoch = document["token"], document["pending"], document["epoch"]
            assert token is None or isinstance(token, str)
            assert pending is None or isinstance(pending, str)
            assert isinstance(epoch, int)
            return cls(token, pending, {str(k): str(v) for k, v in splits.items()}, epoch)
        except (KeyError, AssertionError) as error:
            raise PositionLost(
                f"the position record is damaged: {error!r}", hint="asgard resync the table"
            ) from error
