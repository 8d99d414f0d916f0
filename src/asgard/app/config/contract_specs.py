"""`schema_contract` in a project file: what becomes of drift, for the project, a source or a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from asgard.app.config.mistakes import near
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.quality.drift import Contract, Rule, rules

WORDS = tuple(str(rule) for rule in Rule)
FOR_TABLES = ("evolve", "freeze")
_RULE = {"enum": list(WORDS)}


def _for_all(value: Any) -> Any:
    """One word for all of them, as keys."""
    if not isinstance(value, str):
        return value
    if value not in WORDS:
        raise ValueError(f"is {value!r}, must be one of {', '.join(WORDS)}; {near(value, WORDS)}")
    return asdict(rules(value))


class ContractSpec(Config):
    """A word for tables, columns and types each; what is left out is said further up, or by nobody."""

    tables: Literal["evolve", "freeze"] | None = Field(
        default=None, description="What a name with * may newly bring in."
    )
    columns: Rule | None = Field(default=None, description="Columns that the table does not have.")
    types: Rule | None = Field(default=None, description="Values that do not fit the table's type.")

    @property
    def contract(self) -> Contract:
        """The same for a load."""
        return Contract(Rule(self.tables) if self.tables else None, self.columns, self.types)


SchemaContract = Annotated[
    ContractSpec,
    BeforeValidator(_for_all),
    WithJsonSchema(
        {
            "anyOf": [
                _RULE,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"tables": {"enum": list(FOR_TABLES)}, "columns": _RULE, "types": _RULE},
                },
            ]
        }
    ),
]
"""One word, or a word for each."""


def agreed_contract(*specs: ContractSpec | None) -> Contract:
    """The rules of a table: each part from the first that says it."""
    found = Contract()
    for spec in specs:
        if spec is not None:
            found = found.over(spec.contract)
    return found


def check_contract(contract: Contract, stream: str, *, ends_missing: bool) -> None:
    """Sees that a contract goes with how a stream is read.

    Args:
        ends_missing: whether rows that do not come count as deleted.

    Raises:
        ConfigError: rows that are set aside would look deleted.
    """
    if ends_missing and contract.sets_aside:
        raise ConfigError(
            f"{stream}: discard_row sets rows aside, and a history that reads every row would end their keys",
            hint="schema_contract: discard_value, or give the table a cursor",
        )
