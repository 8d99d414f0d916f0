"""Models: SQL files that each make one silver or gold table.

`models/silver/orders.sql` makes `silver.orders`. A file is one SELECT; a block comment before it, the front
comment, may hold YAML with mode, keys, checks and a description. Reading YAML, and turning its `checks` into
checks, is the caller's matter: this room knows what else a model takes, and what its SQL reads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from asgard.core.check import Check
from asgard.core.config import Config
from asgard.core.errors import ConfigError
from asgard.core.names import RESERVED_PREFIX, lake_names
from asgard.core.stream import Mode
from asgard.core.table import TableName
from asgard.transform.order import ordered

LAYERS = ("silver", "gold")
Columns = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class ModelSpec(Config):
    """What a model's front comment takes, apart from its checks.

    A model runs its whole SELECT whenever a table that it reads has changed. `replace` puts the rows in the
    place of those that are there, `append` adds them, `merge` changes and adds rows by the key, `history`
    keeps every version of a row. With `incremental` only what came since the last build is read.
    """

    description: str = Field(default="", description="what the table is, for people")
    mode: Literal[Mode.REPLACE, Mode.APPEND, Mode.MERGE, Mode.HISTORY] = Field(
        default=Mode.REPLACE, description="what happens to the rows that are there already"
    )
    primary_key: Columns = Field(
        default=(), description="columns that tell rows apart; needed for merge and history"
    )
    valid_from: str | None = Field(
        default=None,
        min_length=1,
        description="of a history: the column of the SELECT that says since when a row holds; without it a "
        "version begins with the build that brings it",
    )
    incremental: bool | Columns = Field(
        default=False,
        description="append, merge and history read only what came since the last build: true for whatever "
        "may be read so, or the tables that are, the others being looked up as they are then",
    )
    engine: Literal["duckdb", "spark"] | None = Field(
        default=None, description="what runs the SELECT; the project's `engines.default`, which is duckdb"
    )
    dialect: Literal["duckdb", "spark"] = Field(
        default="duckdb", description="whose SQL it is; DuckDB's is translated for Spark where it is portable"
    )

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        if self.mode in (Mode.MERGE, Mode.HISTORY) and not self.primary_key:
            told = f"{self.mode} needs a primary_key: the columns that tell rows apart"
            raise PydanticCustomError("model", told)
        if self.valid_from is not None and self.mode is not Mode.HISTORY:
            raise PydanticCustomError("model", "valid_from is for mode: history alone")
        if self.valid_from in self.primary_key:
            raise PydanticCustomError(
                "model", "valid_from is no part of the primary_key: it tells versions apart"
            )
        if self.dialect == "spark" and self.engine != "spark":
            raise PydanticCustomError("model", "dialect: spark needs engine: spark, which speaks it")
        if self.incremental and self.mode is Mode.REPLACE:
            raise PydanticCustomError(
                "model", "incremental needs mode append, merge or history: replace reads everything"
            )
        return self


class Front(NamedTuple):
    """A model's file in its two parts. Both keep the file's lines: what belongs to the other is left blank.

    Attributes:
        yaml: the text of the front comment, empty when there is none.
        sql: the rest.
    """

    yaml: str
    sql: str


def split_front(text: str) -> Front:
    """Parts the front comment, a block comment before everything else, from the SQL.

    >>> split_front("/*\\nmode: append\\n*/\\nSELECT 1")
    Front(yaml='\\nmode: append\\n', sql='\\n\\n\\nSELECT 1')
    """
    found = re.match(r"\s*/\*(.*?)\*/", text, re.DOTALL)
    if found is None:
        return Front("", text)
    before = "\n" * text.count("\n", 0, found.start(1))
    first, newline, rest = found[1].partition("\n")
    return Front(
        before + first.strip(" *") + newline + rest, "\n" * found[0].count("\n") + text[found.end() :]
    )


@dataclass(frozen=True)
class ModelFile:
    """A file of the models' folder.

    Attributes:
        name: the table that it makes.
        file: the file as people call it: `models/silver/orders.sql`.
        front: its parts.
    """

    name: TableName
    file: str
    front: Front


class FrontSaid(NamedTuple):
    """What a front comment says.

    Attributes:
        checks: of the model's own.
        promises: the checks of the data contract that it names.
        drift: `columns` and `types` to the words of its schema_contract; empty for nothing said.
        contract: where that data contract lies; empty for none.
    """

    spec: ModelSpec
    checks: tuple[Check, ...] = ()
    promises: tuple[Check, ...] = ()
    drift: Mapping[str, str] = MappingProxyType({})
    contract: str = ""


@dataclass(frozen=True)
class Model:
    """A table and the SELECT that makes it.

    Attributes:
        sql: one SELECT; its lines are those of the file.
        upstream: the tables that it reads, sorted.
        checks, promises, drift, contract: as for `FrontSaid`.
        file: where it stands; empty for a model that was never in a file.
    """

    name: TableName
    sql: str
    upstream: tuple[TableName, ...]
    spec: ModelSpec = field(default_factory=ModelSpec)
    checks: tuple[Check, ...] = ()
    file: str = ""
    promises: tuple[Check, ...] = ()
    drift: Mapping[str, str] = field(default_factory=dict)
    contract: str = ""

    @classmethod
    def of(cls, file: ModelFile, said: FrontSaid | None = None, known: tuple[TableName, ...] = ()) -> Model:
        """The model of a file; `known` as for `tables_of`.

        Raises:
            ConfigError: the SQL is not one SELECT over tables; `where` has the place, `file:line:column`.
        """
        # With sqlglot, which is heavy: a project without models does without.
        from asgard.transform.dependencies import parsed, refuse_all_but_a_select, tables_of

        said = said or FrontSaid(ModelSpec())
        spec = said.spec
        try:
            refuse_all_but_a_select(parsed(file.front.sql, spec.dialect), file.front.sql)
            upstream = tables_of(file.front.sql, known, spec.dialect)
            if spec.incremental:
                from asgard.transform.increments import check_incremental

                check_incremental(file.front.sql, spec.incremental, upstream, spec.dialect)
        except ConfigError as error:
            line, column = error.where.get("line", ""), error.where.get("column", "")
            place = f"{file.file}:{line}:{column}" if line else file.file
            raise ConfigError(error.what, hint=error.hint, where={"file": place}) from error
        return cls(
            file.name,
            file.front.sql,
            upstream,
            spec,
            said.checks,
            file.file,
            said.promises,
            said.drift,
            said.contract,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the SQL does (comments and white space apart), or mode, key, checks or promises do.

        Made from the text and not from its syntax tree, and from what a check asks and not from its object: a
        newer parser, or a newer Asgard, must not build every model anew (Promise 10).
        """
        # What is left out changes nothing that was built before there was the word.
        later = {name for name in ("incremental", "valid_from") if getattr(self.spec, name)}
        parts = {"mode", "primary_key", "engine", "dialect", *later}
        said: dict[str, Any] = {
            "sql": _tokens(self.sql),
            # What ran the SELECT before there was a choice.
            "spec": {
                **self.spec.model_dump(mode="json", include=parts),
                "engine": self.spec.engine or "duckdb",
            },
            "checks": [
                [check.kind, check.columns, check.options, check.mostly, str(check.on_fail)]
                for check in (*self.checks, *self.promises)
            ],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


ReadFront = Callable[[ModelFile], FrontSaid]
"""Reads the YAML of a front comment. It raises ConfigError for what is wrong in it."""


def load_models(folder: Path, read_front: ReadFront, known: tuple[TableName, ...] = ()) -> list[Model]:
    """The models of a folder, each behind those that it reads. No folder, no models.

    Args:
        folder: has `silver` and `gold`, with one `.sql` file a table.
        read_front: called once for each file.
        known: tables of the lake, to find names that differ from theirs in case alone.

    Raises:
        ConfigError: with everything that is wrong in all files, one mistake a line.
    """
    mistakes: list[str] = []
    files = list(model_files(folder, mistakes))
    every = (*known, *(file.name for file in files))
    models = []
    for file in files:
        try:
            models.append(Model.of(file, read_front(file), every))
        except ConfigError as error:
            mistakes.append(_line(error))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return ordered(models)


def model_files(folder: Path, mistakes: list[str]) -> Iterator[ModelFile]:
    """The `.sql` files of a folder, sorted; what is no model's file is added to the mistakes."""
    for path in sorted(folder.rglob("*.sql")):
        parts = path.relative_to(folder).parts
        file = (Path(folder.name) / Path(*parts)).as_posix()
        if len(parts) != 2 or parts[0] not in LAYERS:
            mistakes.append(f"{file}: a model lies in {folder.name}/silver or {folder.name}/gold")
            continue
        if lake_names([path.stem])[path.stem] != path.stem or path.stem.startswith(RESERVED_PREFIX):
            mistakes.append(f"{file}: {path.stem} cannot be the name of a table; use letters, digits and _")
            continue
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            mistakes.append(f"{file}: cannot be read: {error}")
            continue
        yield ModelFile(TableName(parts[0], "", path.stem), file, split_front(text))


def _line(error: ConfigError) -> str:
    place = error.where.get("file", "")
    head = f"{place}: {error.what}" if place else error.what
    return f"{head}; {error.hint}" if error.hint else head


TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\2|\w+|[^\s\w]",
    re.DOTALL,
)


def _tokens(sql: str) -> list[str]:
    return [found[0] for found in TOKEN.finditer(sql) if not found["comment"]]
