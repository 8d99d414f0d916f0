"""Data contracts of the standard's own examples are read, and what is written keeps to its JSON Schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
import yaml

from asgard.core.errors import ConfigError
from asgard.quality.odcs import chosen, read_contract
from asgard.quality.odcs_writing import Heading, write_contract
from asgard.quality.spec import CheckSpec, checks_of
from tests.quality.test_quarantine import ROWS
from tests.quality.test_quarantine import test_every_kind_sets_rows_aside as every_kind

REFUSED = {"column-custom": "a custom rule of the engine soda"}
"""Examples that cannot be asked, and what is said of them."""


def _examples(reference: Path) -> list[Path]:
    return sorted((reference / "odcs" / "examples").rglob("*.odcs.yaml"))


def _judge(reference: Path, version: str) -> Any:
    folder = reference / "odcs" / "schema"
    schema = json.loads((folder / f"odcs-json-schema-{version}.json").read_text())
    return jsonschema.validators.validator_for(schema)(schema)


def test_every_example_is_read_or_refused_by_name(reference: Path) -> None:
    examples = _examples(reference)
    assert len(examples) == 17
    read = 0
    for path in examples:
        name = path.name.removesuffix(".odcs.yaml")
        document = yaml.safe_load(path.read_text())
        tables = [one["name"] for one in document.get("schema") or ()]
        if name in REFUSED:
            with pytest.raises(ConfigError, match=REFUSED[name]):
                read_contract(document, tables[0])
            continue
        for table in tables:
            assert chosen(document, table)["name"] == table
            try:
                read += len(read_contract(document, table).checks)
            except ConfigError as error:
                raise AssertionError(f"{name}/{table}: {error.what}") from error
    assert read >= 60


def test_what_is_written_keeps_to_the_schema(reference: Path) -> None:
    """A table of every kind of check, and one of every type."""
    judge = _judge(reference, "v3.1.0")
    (mark,) = every_kind.pytestmark
    asked = checks_of(CheckSpec.model_validate(spec) for spec, _, _ in mark.args[1])
    heading = Heading("urn:orders", "orders", "bronze.s.orders", primary_key=("row",),
                      created_at=datetime(2026, 1, 1, tzinfo=UTC))  # fmt: skip
    document = write_contract(heading, ROWS.schema, asked)
    document = json.loads(json.dumps(document))
    judge.validate(document)
    written = {check.name for check in read_contract(document, "orders").checks}
    assert {check.name.partition(" #")[0] for check in asked} - {"fresh(at)"} <= written
    types = pa.schema(
        [("i", pa.int32()), ("d", pa.decimal128(12, 2)), ("t", pa.string()), ("b", pa.bool_()),
         ("day", pa.date32()), ("at", pa.timestamp("us", "UTC")), ("clock", pa.time64("us")),
         ("list", pa.list_(pa.string())), ("struct", pa.struct([("x", pa.int8())])), ("raw", pa.binary())]
    )  # fmt: skip
    judge.validate(json.loads(json.dumps(write_contract(heading, types, ()))))


@pytest.mark.parametrize("version", ["v3.0.2", "v3.1.0"])
def test_the_schema_itself_finds_mistakes(reference: Path, version: str) -> None:
    judge = _judge(reference, version)
    assert not judge.is_valid({"kind": "DataContract"})
