"""What a project file says once it is read: the lake, a source, a table; `source_reading` makes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    WithJsonSchema,
)

from asgard.app.config.contract_specs import ContractSpec, SchemaContract
from asgard.app.config.mistakes import near
from asgard.app.config.quantities import DURATION_PATTERN, Lag, Size, parse_duration
from asgard.core.config import Config
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.stream import Mode
from asgard.quality.masking import Mask
from asgard.quality.spec import CheckSpec

MODES = tuple(Mode)
FREQUENCIES = ("real-time", "hourly", "daily", "weekly", "monthly")
CRON_PATTERN = r"^([0-9A-Za-z*/,?-]+\s+){4}[0-9A-Za-z*/,?#-]+$"


def _frequency(value: str) -> str:
    if value in FREQUENCIES or re.fullmatch(CRON_PATTERN, value):
        return value
    try:
        parse_duration(value)
    except ConfigError:
        raise ValueError(
            f"{value!r} is no frequency; write one of {', '.join(FREQUENCIES)}, a duration such as 15m, "
            "or five cron fields"
        ) from None
    return value


def _known_mode(value: Any) -> Any:
    if value in MODES:
        return value
    wanted = ", ".join(MODES[:-1]) + f" or {MODES[-1]}"
    raise ValueError(f"is {value!r}, must be {wanted}; {near(str(value), MODES)}")


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


Frequency = Annotated[
    str,
    AfterValidator(_frequency),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(FREQUENCIES)},
                {"type": "string", "pattern": DURATION_PATTERN},
                {"type": "string", "pattern": CRON_PATTERN},
            ]
        }
    ),
]
"""How often something is loaded: a word, a duration or a cron line."""

Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One name, or a list of names."""

LoadMode = Annotated[
    Mode, BeforeValidator(_known_mode), WithJsonSchema({"enum": [str(mode) for mode in MODES]})
]
"""What happens to the rows that are there."""


TableList = Annotated[Any, WithJsonSchema({"type": "array", "items": {}})]
"""Read entry by entry, with the connector's options."""


class WindowSpec(Config):
    """How much of a log goes into one commit: whatever is reached first."""

    seconds: float = Field(default=10.0, gt=0, description="After the first row came.")
    rows: int = Field(default=1_000_000, gt=0, description="So many rows.")
    size: Size = Field(default=256_000_000, description="So much in memory, before it is packed: 64MB.")


class TableSpec(Config):
    """One entry of `tables:`, `endpoints:` or `files:`, the source's defaults applied."""

    name: str = Field(
        min_length=1,
        description="The source's name of it: orders, public.orders; with * for all that match.",
    )
    table: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("table", "as"),
        description="What the table in the lake is called; the source's name by default.",
    )
    source: str | None = Field(default=None, description="Where the source has it from; a label for people.")
    description: str | None = Field(default=None, description="What the rows are, for people.")
    frequency: Frequency | None = Field(
        default=None, description="How often it is loaded: hourly, 15m, or cron."
    )
    mode: LoadMode | None = Field(
        default=None,
        description="What happens to the rows that are there. By default merge where primary_key and "
        "cursor are given, append for logs, else replace.",
    )
    primary_key: Names = Field(default=(), description="The columns that tell rows apart.")
    cursor: str | None = Field(
        default=None, description="The column that grows when a row is new or changes: only those are read."
    )
    cursor_lag: Annotated[Lag, Field(ge=0)] | None = Field(
        default=None,
        description="How far below the last bound reading starts again, for rows that commit late: "
        "5m, or a number in the cursor's own unit.",
    )
    valid_from: Literal["load", "cursor"] | None = Field(
        default=None,
        description="For mode: history: since when a version holds: since the load that brought it, or since "
        "its cursor says.",
    )
    detect_deletes: Literal["keys"] | None = Field(
        default=None,
        description="For merge and history: after each load all keys are read, and rows whose key the source "
        "has no more go, or end.",
    )
    soft_delete: str | None = Field(
        default=None,
        min_length=1,
        description="For merge and history: the column by which a row says that it is deleted: true, or of "
        "another type and not null. Such rows go, or end.",
    )
    query: str | None = Field(
        default=None, min_length=1, description="The user's own query instead of a table."
    )
    checks: tuple[CheckSpec, ...] = Field(
        default=(), description="What the rows must be up to before they appear."
    )
    contract: str | None = Field(
        default=None,
        min_length=1,
        description="The file of a data contract (ODCS) that the rows must keep to, too: "
        "contracts/orders.odcs.yaml; behind a # what it calls the table.",
    )
    mask: dict[str, Mask] = Field(
        default={},
        description="Columns that may not lie in clear: hash, tokenize, partial or redact. Done before "
        "anything is written.",
    )
    cluster_by: Names | None = Field(
        default=None,
        description="The columns by which maintain keeps the table's files apart, so that merges and queries "
        "open few: by default primary_key, or else the cursor; [] for none.",
    )
    exclude: Names = Field(default=(), description="Patterns of names that a name with * leaves out.")
    allow_missing: bool = Field(
        default=False,
        description="A column that vanished from the source becomes null instead of stopping the load.",
    )
    schema_contract: SchemaContract | None = Field(
        default=None,
        description="What becomes of drift: evolve, freeze, discard_row or discard_value, for columns and "
        "types, and for tables where the name has a *.",
    )
    window: WindowSpec | None = Field(
        default=None,
        description="For logs: how much goes into one commit; by default 10 seconds, a million rows, 256MB.",
    )
    target_column: str | None = Field(
        default=None, min_length=1, description="The column that models are to predict; it must exist."
    )
    enabled: bool = Field(default=True, description="false leaves it out of runs.")
    options: Any = Field(default=None, repr=False, exclude=True)
    """An instance of the connector's `StreamOptions`; None where the connector has none."""
    origin: str = Field(default="", repr=False, exclude=True)
    """Where it stands: `asgard.yml:12:9`; empty when it is of no file."""

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for all that match."""
        return self.query is None and any(character in self.name for character in "*?[")


class SourceKeys(Config):
    """The keys of a source that are the same for every connector."""

    type: str | None = Field(
        default=None, description="The connector; left out where the source's name is a connector's."
    )
    description: str | None = Field(default=None, description="What the source is, for people.")
    frequency: Frequency | None = Field(
        default=None,
        validation_alias=AliasChoices("frequency", "schedule"),
        description="How often its tables are loaded, where they do not say it themselves.",
    )
    enabled: bool = Field(
        default=True, description="false leaves the source out; its references are not looked up."
    )
    schema_contract: SchemaContract | None = Field(
        default=None,
        description="What becomes of drift in its tables: evolve, freeze, discard_row or discard_value, "
        "for tables, columns and types.",
    )
    connection: Any = Field(
        default=None, description="The connector's own options; they may stand without it too."
    )
    defaults: Any = Field(
        default=None, description="Keys of tables, for every table that does not say them itself."
    )
    tables: TableList = Field(default=None, description="What is loaded.")
    endpoints: TableList = Field(default=None, description="The same as tables, for APIs.")
    files: TableList = Field(default=None, description="The same as tables, for files.")


@dataclass(frozen=True)
class SourceSpec:
    """One entry of `data_sources:`.

    Attributes:
        type: the connector's own name, aliases resolved.
        config: an instance of the connector's `Config`.
        connector_class: a `core.source.Source`.
        tables: what is loaded, defaults applied; names with wildcards are patterns over what the source has.
        defaults: keys for every table, as they stand in the file.
        origin: where it stands: `asgard.yml:6:3`; empty when it is of no file.
        unavailable: why it cannot be used now: a store does not give a secret of its, and `config` is None.
        schema_contract: what becomes of drift, where its tables do not say it.
    """

    name: str
    type: str
    config: Any = field(repr=False)
    connector_class: Any
    tables: tuple[TableSpec, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict, repr=False)
    frequency: str | None = None
    description: str | None = None
    origin: str = ""
    unavailable: AsgardError | None = None
    schema_contract: ContractSpec | None = None
