"""OpenLineage: what a run tells is what the standard's own schemas allow, the event and every facet in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from asgard.app.runs.runs import RunWish, run
from tests.flow.lab import Lab, orders

MODELS = {
    "silver.orders": "SELECT * REPLACE (amount + 1 AS amount) FROM bronze.shop.orders WHERE id > 0",
    "silver.twice": "SELECT * FROM silver.orders UNION ALL SELECT * FROM bronze.shop.orders",
    "gold.revenue": "SELECT customer, sum(amount) AS total, rank() OVER (ORDER BY customer) AS place "
    "FROM silver.twice GROUP BY customer",
    "gold.wrong": "SELECT nothing FROM silver.orders",
}


@pytest.fixture
def schemas(reference: Path) -> dict[str, Any]:
    """The standard's schemas, by their id."""
    folder = reference / "openlineage"
    files = [folder / "OpenLineage.json", *sorted((folder / "facets").glob("*.json"))]
    found = [json.loads(file.read_text()) for file in files]
    return {one["$id"]: one for one in found}


def facets(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every facet of an event, with its key."""
    datasets = [*event["inputs"], *event["outputs"]]
    for holder in (event["run"], event["job"], *datasets):
        yield from holder["facets"].items()
    for dataset in event["outputs"]:
        yield from dataset["outputFacets"].items()


def test_every_event_and_every_facet_is_as_the_standard_wants_it(
    schemas: dict[str, Any], tmp_path: Path
) -> None:
    registry: Registry[Any] = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in schemas.items()]
    )
    lab = Lab(tmp_path)
    lab.load("shop.orders", orders(1, 2, 3))
    for name, sql in MODELS.items():
        lab.model(name, sql)
    keys = {"version": 1, "lineage": {"openlineage": {"file": "events.jsonl", "namespace": "shop"}}}
    (tmp_path / "asgard.yml").write_text(json.dumps(keys))
    run(lab.workspace(), RunWish(), lambda event: None)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {one["eventType"] for one in events} == {"START", "COMPLETE", "FAIL"}
    seen = set()
    for event in events:
        whole = {"$ref": event["schemaURL"]}
        Draft202012Validator(whole, registry=registry, format_checker=FormatChecker()).validate(event)
        for name, said in facets(event):
            schema = schemas[said["_schemaURL"]]
            Draft202012Validator(schema, registry=registry, format_checker=FormatChecker()).validate(
                {name: said}
            )
            assert name in schema["properties"], f"{said['_schemaURL']} knows no {name}"
            seen.add(name)
    wanted = (
        "columnLineage dataSource errorMessage jobType outputStatistics parent schema sql symlinks version"
    )
    assert seen == set(wanted.split())


def test_the_standards_own_example_is_read_by_the_same_schemas(
    schemas: dict[str, Any], reference: Path
) -> None:
    registry: Registry[Any] = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in schemas.items()]
    )
    folder = reference / "openlineage" / "tests" / "ColumnLineageDatasetFacet"
    schema = next(one for name, one in schemas.items() if name.endswith("/ColumnLineageDatasetFacet.json"))
    for file in sorted(folder.glob("*.json")):
        Draft202012Validator(schema, registry=registry).validate(json.loads(file.read_text()))
