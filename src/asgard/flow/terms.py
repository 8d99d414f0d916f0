"""On which terms a model's rows come to lie in its table: under which contract, as versions or not.

The same is asked by a plan, which has columns and no rows, and by the build.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.types as t

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.core.names import RESERVED_PREFIX, VALID_FROM
from asgard.core.stream import Mode
from asgard.flow.reading import Landing
from asgard.quality.drift import Contract, agree


@dataclass(frozen=True)
class Terms:
    """How a model's rows are laid down.

    Attributes:
        mode: what happens to the rows that are there.
        keys: the columns that tell rows apart.
        valid_from: of a history, the column that says since when a row holds; empty: since it was built.
        contract: what becomes of columns and types that are others than the table's.
    """

    mode: Mode
    keys: tuple[str, ...] = ()
    valid_from: str = ""
    contract: Contract = field(default_factory=Contract)

    def landing(self, landing: Landing, there: pa.Schema | None, *, anew: bool = False) -> Landing:
        """How the SELECT's columns come to lie.

        Args:
            landing: of the SELECT's columns.
            there: the table's columns; None where there is no table.
            anew: everything is built whole by the user's own word: no old rows have to fit, but in a history.

        Raises:
            ConfigError: the table's history would be lost, or what versions begin with is no such column.
            SchemaChanged: the contract freezes what is another.
        """
        refuse_loss(self.mode, there)
        if self.contract != Contract():
            kept = None if anew and self.mode is not Mode.HISTORY else there
            landing = landing.under(agree(kept, landing.own, self.contract, needed=self._needed(landing)))
        if self.mode is not Mode.HISTORY:
            return landing
        self._check_valid_from(landing)
        return landing.with_ranges(self.valid_from)

    @property
    def alone(self) -> tuple[Check, ...]:
        """What the rows of one build must be up to among themselves: of two versions of one key for one
        instant nothing says which holds."""
        if self.mode is not Mode.HISTORY:
            return ()
        columns = (*self.keys, VALID_FROM) if self.valid_from else self.keys
        return (Check("unique", columns, name=f"one row a version of {', '.join(self.keys)}"),)

    def _needed(self, landing: Landing) -> set[str]:
        return {landing.names.get(name, name) for name in (*self.keys, self.valid_from) if name}

    def _check_valid_from(self, landing: Landing) -> None:
        if not self.valid_from:
            return
        column = landing.names.get(self.valid_from)
        if column is None:
            known = ", ".join(name for name in landing.own.names if not name.startswith(RESERVED_PREFIX))
            raise ConfigError(
                f"the SELECT has no column {self.valid_from!r}, which valid_from names",
                hint=f"its columns: {known}",
            )
        kind = landing.own.field(column).type
        if not (t.is_timestamp(kind) or t.is_date(kind)):
            raise ConfigError(
                f"valid_from: {self.valid_from} is {kind}: it does not say since when a row holds",
                hint="name a date or a time; without valid_from versions begin with their build",
            )


def refuse_loss(mode: Mode, there: pa.Schema | None) -> None:
    """Sees that a load of a mode takes no history away.

    Args:
        there: the table's columns; None where there is no table.

    Raises:
        ConfigError: it would.
    """
    if mode is not Mode.HISTORY and there is not None and VALID_FROM in there.names:
        raise ConfigError(
            f"the table holds a history, and mode: {mode} would lose it",
            hint="set mode: history again, or load into a table of another name",
        )
