"""Models from their folder: front comments, mistakes, fingerprints, order, circles, selectors."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asgard.core.check import Check
from asgard.core.errors import ConfigError
from asgard.core.stream import Mode
from asgard.core.table import TableName
from asgard.transform.models import Front, FrontSaid, Model, ModelFile, ModelSpec, load_models, split_front
from asgard.transform.order import ordered, select


def write(folder: Path, **files: str) -> Path:
    """`silver__orders="SELECT ..."` becomes `models/silver/orders.sql`."""
    for name, text in files.items():
        path = folder / "models" / Path(*name.split("__")).with_suffix(".sql")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "models"


def read_front(file: ModelFile) -> FrontSaid:
    """JSON in the place of YAML, which is the matter of another room."""
    keys = json.loads(file.front.yaml or "{}")
    checks = tuple(Check("not_null", (name,), name=name) for name in keys.pop("checks", []))
    return FrontSaid(ModelSpec.model_validate(keys), checks)


def load(folder: Path) -> list[Model]:
    return load_models(folder, read_front)


def model(name: str, *upstream: str, sql: str = "SELECT 1") -> Model:
    layer, table = name.split(".")
    reads = tuple(TableName(*_parts(up)) for up in upstream)
    return Model(TableName(layer, "", table), sql, reads, file=f"models/{layer}/{table}.sql")


def _parts(name: str) -> tuple[str, str, str]:
    parts = name.split(".")
    return (parts[0], parts[1] if len(parts) > 2 else "", parts[-1])


def names(models: list[Model]) -> list[str]:
    return [str(one.name) for one in models]


# ---- files


def test_a_folder_of_models(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        gold__revenue='/* {"mode": "merge", "primary_key": "day", "checks": ["day"]} */\n'
        "SELECT * FROM silver.orders",
        silver__orders="SELECT * FROM bronze.shop.orders",
    )
    orders, revenue = load(folder)
    assert (str(orders.name), orders.spec, orders.checks) == ("silver.orders", ModelSpec(), ())
    assert orders.upstream == (TableName("bronze", "shop", "orders"),)
    assert revenue.upstream == (TableName("silver", "", "orders"),)
    assert (revenue.spec.mode, revenue.spec.primary_key) == (Mode.MERGE, ("day",))
    assert [check.name for check in revenue.checks] == ["day"]
    assert revenue.sql.strip() == "SELECT * FROM silver.orders"
    assert revenue.file == "models/gold/revenue.sql"


def test_no_folder_no_models(tmp_path: Path) -> None:
    assert load(tmp_path / "models") == []


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, silver__a="SELECT 1")
    (folder / "silver" / "notes.md").write_text("x")
    assert names(load(folder)) == ["silver.a"]


def test_references_differ_in_case_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, silver__Orders="SELECT 1", gold__x='SELECT * FROM SILVER."orders"')
    orders, x = load(folder)
    assert x.upstream == (orders.name,)


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        silver__good="SELECT 1 AS one",
        silver__missing="/*\n{}\n*/\nSELECT *\nFROM orders",
        silver__file="SELECT * FROM read_csv('x')",
        gold__syntax="SELECT 1 +\n+ FROM silver.good",
        gold__two="SELECT 1; SELECT 2",
        bronze__x="SELECT 1",
        top="SELECT 1",
        silver__deep__x="SELECT 1",
    )
    (folder / "gold" / "a b.sql").write_text("SELECT 1")
    (folder / "gold" / "_asgard_x.sql").write_text("SELECT 1")
    (folder / "gold" / "bytes.sql").write_bytes(b"SELECT '\xff'")
    with pytest.raises(ConfigError) as caught:
        load(folder)
    told = caught.value.what.splitlines()
    starts = [
        "models/bronze/x.sql: a model lies in",
        "models/gold/_asgard_x.sql: _asgard_x cannot be the name",
        "models/gold/a b.sql: a b cannot be the name of a table",
        "models/gold/bytes.sql: cannot be read",
        "models/gold/syntax.sql:2:3: ",
        "models/gold/two.sql: these are 2 statements",
        "models/silver/deep/x.sql: a model lies in",
        "models/silver/file.sql:1:15: read_csv is refused",
        "models/silver/missing.sql:5:6: orders is no table of a layer; tables are called bronze.<source>",
        "models/top.sql: a model lies in",
    ]
    assert [line for start in starts for line in told if line.startswith(start)] == sorted(told)
    assert len(told) == len(starts)


def test_what_is_wrong_in_the_front_comment_is_told_with_the_rest(tmp_path: Path) -> None:
    folder = write(tmp_path, silver__a="SELECT 1", silver__b="SELECT * FROM nothing")

    def fails(file: ModelFile) -> FrontSaid:
        if file.name.name == "a":
            raise ConfigError("mode: must be replace", where={"file": f"{file.file}:2:7"})
        return FrontSaid(ModelSpec())

    with pytest.raises(ConfigError) as caught:
        load_models(folder, fails)
    first, second = caught.value.what.splitlines()
    assert first == "models/silver/a.sql:2:7: mode: must be replace"
    assert second.startswith("models/silver/b.sql:1:15: nothing is no table")


# ---- front comments


@pytest.mark.parametrize(
    ("text", "yaml", "sql"),
    [
        ("SELECT 1", "", "SELECT 1"),
        ("/* a: 1 */ SELECT 1", "a: 1", " SELECT 1"),
        ("/*\na: 1\nb: 2\n*/\nSELECT 1", "\na: 1\nb: 2\n", "\n\n\n\nSELECT 1"),
        ("\n\n/*\na: 1\n*/SELECT 1", "\n\n\na: 1\n", "\n\n\n\nSELECT 1"),
        ("/** a: 1 **/SELECT 1", "a: 1", "SELECT 1"),
        ("SELECT 1 /* a: 1 */", "", "SELECT 1 /* a: 1 */"),
        ("-- a\n/* b */ SELECT 1", "", "-- a\n/* b */ SELECT 1"),
        ("/* open", "", "/* open"),
        ("", "", ""),
    ],
)
def test_the_front_comment_is_parted_from_the_sql(text: str, yaml: str, sql: str) -> None:
    assert split_front(text) == Front(yaml, sql)


@given(st.lists(st.sampled_from(["a: 1", "", "  b", "SELECT 1", "-- c", "'*'"]), max_size=6), st.booleans())
def test_lines_stay_where_they_are(lines: list[str], front: bool) -> None:
    """Line n of either part is line n of the file: errors need no reckoning."""
    text = "\n".join(["/*", *lines, "*/", *lines]) if front else "\n".join(lines)
    parts = split_front(text)
    for part in parts:
        for number, line in enumerate(part.split("\n")):
            assert line in {"", text.split("\n")[number]}
    assert "".join("".join(parts).split()).replace("/*", "").replace("*/", "") == (
        "".join(text.replace("/*", "").replace("*/", "").split())
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mode": "merge"}, "merge needs a primary_key"),
        ({"mode": "history"}, "history needs a primary_key"),
        ({"mode": "merge", "primary_key": "id", "valid_from": "at"}, "for mode: history alone"),
        ({"mode": "history", "primary_key": "id", "valid_from": "id"}, "no part of the primary_key"),
        ({"engine": "polars"}, "duckdb"),
        ({"dialect": "spark"}, "needs engine: spark"),
        ({"dialect": "oracle"}, "duckdb"),
        ({"primary_key": [1]}, "valid string"),
        ({"modus": "merge"}, "Extra inputs"),
        ({"incremental": True}, "incremental needs mode append, merge or history"),
    ],
)
def test_what_a_model_takes_is_checked(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate(keys)


def test_the_schema_for_editors() -> None:
    schema = ModelSpec.model_json_schema()
    known = {"description", "mode", "primary_key", "valid_from", "incremental", "engine", "dialect"}
    assert set(schema["properties"]) == known
    assert schema["properties"]["mode"]["enum"] == ["replace", "append", "merge", "history"]
    assert schema["additionalProperties"] is False


# ---- fingerprints

SQL = "SELECT a, 'it''s -- no comment', \"x y\", $$ /* raw */ $$ FROM silver.b"


@pytest.mark.parametrize(
    "same",
    [
        SQL + "\n",
        SQL + " -- why",
        "/* what */" + SQL,
        SQL.replace(", ", "\n  ,  "),
        SQL.replace("SELECT", "SELECT -- 'one\n"),
    ],
)
def test_comments_and_white_space_change_no_fingerprint(same: str) -> None:
    assert model("silver.a", sql=same).fingerprint == model("silver.a", sql=SQL).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        SQL.replace("it''s", "it''s "),
        SQL.replace("-- no", "--no"),
        SQL.replace("x y", "x  y"),
        SQL.replace("raw", "row"),
        SQL.replace("SELECT a", "SELECT b"),
        SQL + " LIMIT 1",
    ],
)
def test_everything_else_does(other: str) -> None:
    assert model("silver.a", sql=other).fingerprint != model("silver.a", sql=SQL).fingerprint


def test_mode_key_and_checks_change_the_fingerprint_and_words_do_not() -> None:
    def fingerprint(*checks: Check, **keys: Any) -> str:
        return Model(
            TableName("silver", "", "a"), SQL, (), ModelSpec.model_validate(keys), checks
        ).fingerprint

    plain = fingerprint()
    assert fingerprint(description="another") == plain
    assert fingerprint(Check("unique", ("a",), name="x")) == fingerprint(
        Check("unique", ("a",), severity="info")
    )
    merged = fingerprint(mode="merge", primary_key="a")
    others = {
        merged,
        fingerprint(mode="append"),
        fingerprint(mode="merge", primary_key=["a", "b"]),
        fingerprint(Check("not_null", ("a",))),
        fingerprint(Check("not_null", ("b",))),
    }
    assert len(others | {plain}) == 6


def test_a_fingerprint_is_the_same_for_ever() -> None:
    """It is kept in tables: another one would build every model anew, and append its rows again."""
    checks = (Check("between", ("a",), {"max": date(2026, 1, 1), "min": 0}, name="between(a)"),)
    one = replace(model("silver.a", sql=SQL), spec=ModelSpec(mode=Mode.APPEND), checks=checks)
    assert one.fingerprint == "7ee8c23dbef8a7e4ff8cd847ee85148a"


# ---- order


def test_models_come_behind_those_they_read() -> None:
    models = [
        model("gold.z", "silver.b", "gold.a"),
        model("gold.a", "silver.c"),
        model("silver.c", "bronze.s.t"),
        model("silver.b", "silver.c", "bronze.s.t"),
        model("silver.a"),
    ]
    wanted = ["silver.a", "silver.c", "gold.a", "silver.b", "gold.z"]
    assert names(ordered(models)) == wanted
    assert names(ordered(models[::-1])) == wanted


@pytest.mark.parametrize(
    ("edges", "what", "file"),
    [
        ({"silver.a": ["silver.a"]}, "silver.a reads itself", "models/silver/a.sql"),
        (
            {
                "silver.b": ["silver.c"],
                "silver.c": ["silver.a"],
                "silver.a": ["silver.b"],
                "gold.x": ["silver.a"],
            },
            "models need each other in a circle: silver.a -> silver.b -> silver.c -> silver.a",
            "models/silver/a.sql",
        ),
    ],
)
def test_a_circle_is_told_whole(edges: dict[str, list[str]], what: str, file: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ordered([model(name, *upstream) for name, upstream in edges.items()])
    assert (caught.value.what, caught.value.where) == (what, {"file": file})


def test_two_names_that_differ_in_case_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"silver\.A and silver\.a are one table"):
        ordered([model("silver.a"), model("silver.A")])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_any_graph_is_ordered_or_refused(edges: list[tuple[int, int]]) -> None:
    forward = {(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}
    models = [
        model(f"silver.m{i}", *(f"silver.m{low}" for low, high in sorted(forward) if high == i))
        for i in range(10)
    ]
    order = names(ordered(models))
    assert sorted(order) == sorted(names(models))
    assert all(order.index(f"silver.m{low}") < order.index(f"silver.m{high}") for low, high in forward)


# ---- selectors

CHAIN = ordered(
    [
        model("silver.orders", "bronze.shop.orders"),
        model("silver.customers", "bronze.crm.customers"),
        model("gold.revenue", "silver.orders"),
        model("gold.report", "gold.revenue", "silver.customers"),
        model("gold.orders", "silver.orders"),
    ]
)


@pytest.mark.parametrize(
    ("selectors", "wanted"),
    [
        ([], {"silver.orders", "silver.customers", "gold.revenue", "gold.report", "gold.orders"}),
        (["gold.revenue"], {"gold.revenue"}),
        (["orders"], {"silver.orders", "gold.orders"}),
        (["GOLD.Revenue"], {"gold.revenue"}),
        (["silver.*"], {"silver.orders", "silver.customers"}),
        (["*re*"], {"gold.revenue", "gold.report"}),
        (["+gold.revenue"], {"silver.orders", "gold.revenue"}),
        (["gold.revenue+"], {"gold.revenue", "gold.report"}),
        (["+gold.revenue+"], {"silver.orders", "gold.revenue", "gold.report"}),
        (["+report"], {"silver.orders", "silver.customers", "gold.revenue", "gold.report"}),
        (["silver.customers", "gold.orders"], {"silver.customers", "gold.orders"}),
        (["bronze.crm.customers+"], {"silver.customers", "gold.report"}),
        (["bronze.shop.*+"], {"silver.orders", "gold.revenue", "gold.report", "gold.orders"}),
    ],
    ids=lambda value: str(sorted(value)),  # the order of a set is another one in each process
)
def test_selectors(selectors: list[str], wanted: set[str]) -> None:
    found = names(select(CHAIN, selectors))
    assert set(found) == wanted
    assert found == [name for name in names(CHAIN) if name in wanted]


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("gold.revenu", "did you mean gold.revenue"),
        ("custmers", "did you mean silver.customers?"),
        ("bronze.shop.orders", "bronze.shop.orders+ is every model that needs it"),
        ("+nothing", "models: "),
    ],
)
def test_a_selector_that_means_nothing_is_a_mistake(selector: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="no model is called") as caught:
        select(CHAIN, [selector])
    assert hint in caught.value.hint
