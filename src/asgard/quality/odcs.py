"""Data contracts of the Open Data Contract Standard, 3.0 and 3.1: what a contract says of a table, as checks.

Read are the columns and their types, what must be there, be unique and be a key, bounds and forms of values,
the rules of quality (library metrics, SQL, and custom ones in our own words or in those of Great
Expectations), and how new the data must be. What a contract says beyond that is for people, and is told as
such; a rule that cannot be asked is refused by its name, so that it does not seem to be kept.

Reference: https://bitol-io.github.io/open-data-contract-standard/v3.1.0/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.quality import odcs_columns, odcs_rules
from asgard.quality.spec import CheckSpec, checks_of

VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0")
REQUIRED = ("version", "apiVersion", "kind", "id", "status")
FRESHNESS = ("latency", "ly", "freshness")
"""What an SLA may call the age of the newest data."""
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 604_800),
    **dict.fromkeys(("y", "yr", "year", "years"), 31_536_000),
}


@dataclass(frozen=True)
class Contract:
    """What a contract says of one table.

    Attributes:
        id, version, status: the contract's own.
        table: the name of the table in it.
        checks: what is asked of it.
        notes: what it says that is not asked, one text each.
    """

    id: str
    version: str
    status: str
    table: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = field(default=(), repr=False)


def read_contract(document: Any, table: str) -> Contract:
    """The part of a contract that is about a table.

    Args:
        document: as its YAML or JSON says it.
        table: what the table is called: a name or physicalName of the contract, without regard to case. A
            contract of one table is about any.

    Raises:
        ConfigError: the document is no contract of a known version, has no such table, or has rules that
            cannot be asked; each with its place.
    """
    _refuse_foreign(document)
    schema = chosen(document, table)
    faults: list[str] = []
    notes: list[str] = []
    specs = _once(_specs(document, schema, faults, notes))
    if faults:
        hint = "take what is refused out of the contract, or write it as a check that can be asked"
        raise ConfigError("\n".join(faults), hint=hint, where={"contract": str(document["id"])})
    return Contract(
        str(document["id"]),
        str(document["version"]),
        str(document["status"]),
        schema["name"],
        checks_of(specs),
        tuple(notes),
        tuple(odcs_columns.name_of(column) for column in schema.get("properties") or ()),
    )


def _refuse_foreign(document: Any) -> None:
    if not isinstance(document, Mapping) or document.get("kind") != "DataContract":
        raise ConfigError("this is no data contract: it has no kind: DataContract")
    missing = [key for key in REQUIRED if not document.get(key)]
    if missing:
        raise ConfigError(f"the contract has no {' and no '.join(missing)}")
    if document["apiVersion"] not in VERSIONS:
        what = f"the contract is of {document['apiVersion']}, which is not known here"
        raise ConfigError(what, hint=f"known are {', '.join(VERSIONS)}")


def chosen(document: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    """The object of a contract's schema that is the table.

    Raises:
        ConfigError: there is none, or more than one.
    """
    schemas = [one for one in document.get("schema") or () if isinstance(one, Mapping) and one.get("name")]
    wanted = table.casefold()
    for key in ("physicalName", "name"):
        found = [one for one in schemas if str(one.get(key, "")).casefold() == wanted]
        if len(found) == 1:
            return found[0]
    if len(schemas) == 1:
        return schemas[0]
    names = ", ".join(str(one["name"]) for one in schemas) or "no table"
    raise ConfigError(
        f"the contract has {names}, and none of them is {table}",
        hint="name it behind the file: contract: contracts/sales.odcs.yaml#orders",
    )


def _specs(
    document: Mapping[str, Any], schema: Mapping[str, Any], faults: list[str], notes: list[str]
) -> Iterator[CheckSpec]:
    columns: Sequence[Mapping[str, Any]] = schema.get("properties") or ()
    entries: list[tuple[str, dict[str, Any]]] = []
    for column in columns:
        place = f"{schema['name']}.{column.get('name')}"
        entries += [(place, spec) for spec in odcs_columns.specs_of(column, notes, place)]
    entries = [*_of_table(schema, columns), *entries]
    for column in [schema, *columns]:
        is_column = column is not schema
        place = f"{schema['name']}.{column.get('name')}" if is_column else str(schema["name"])
        for number, rule in enumerate(column.get("quality") or ()):
            where = f"{place}.quality[{number}]"
            try:
                name = odcs_columns.name_of(column) if is_column else ""
                tables = tuple(str(schema[key]) for key in ("name", "physicalName") if schema.get(key))
                entries += [(where, spec) for spec in odcs_rules.specs_of(rule, name, tables, notes, where)]
            except ConfigError as error:
                faults.append(f"{where}: {error.what}")
    entries += list(_freshness(document, schema, faults, notes))
    for place, spec in entries:
        try:
            yield CheckSpec.model_validate(spec)
        except ValidationError as error:
            said = "; ".join(line["msg"] for line in error.errors(include_url=False))
            faults.append(f"{place}: {said}")


def _once(specs: Iterator[CheckSpec]) -> list[CheckSpec]:
    """Each rule once: a key that is required says so twice."""
    return list({spec.model_dump_json(exclude={"name"}): spec for spec in specs}.values())


def _of_table(
    schema: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    place = str(schema["name"])
    names = [odcs_columns.name_of(column) for column in columns]
    found: list[tuple[str, dict[str, Any]]] = []
    if names:
        found.append((place, {"columns": names}))
    keys = [column for column in columns if column.get("primaryKey")]
    keys.sort(key=lambda column: column.get("primaryKeyPosition") or -1)
    if keys:
        key = [odcs_columns.name_of(column) for column in keys]
        found += [(place, {"not_null": key}), (place, {"unique": key})]
    return found


def _freshness(
    document: Mapping[str, Any], schema: Mapping[str, Any], faults: list[str], notes: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The age of data that the SLA allows; what else it promises is for people."""
    for number, sla in enumerate(document.get("slaProperties") or ()):
        place, word = f"slaProperties[{number}]", str(sla.get("property", ""))
        if word.casefold() not in FRESHNESS:
            notes.append(f"{place}: {word} is for people")
            continue
        element = str(sla.get("element") or document.get("slaDefaultElement") or "")
        table, _, name = element.rpartition(".")
        own = {str(schema.get(key, "")).casefold() for key in ("name", "physicalName")}
        if table and table.casefold() not in own:
            notes.append(f"{place}: {element} is of another table")
            continue
        known = {
            str(column.get(key, "")).casefold(): odcs_columns.name_of(column)
            for column in schema.get("properties") or ()
            for key in ("name", "physicalName")
        }
        column = known.get(name.casefold())
        seconds = _seconds(sla.get("value"), sla.get("unit"))
        if column is None or seconds is None:
            what = f"the column {element or '(no element)'}" if column is None else "the value and its unit"
            faults.append(f"{place}: {what} of {word} is not known")
            continue
        yield place, {"fresh": {"column": column, "within": seconds}, "name": f"{word}({column})"}


def _seconds(value: Any, unit: Any) -> int | None:
    size = SECONDS.get(str(unit or "d").casefold())
    if size is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(round(value * size), 1)
