"""Which tables a statement reads, and what a model's statement may not say."""

from __future__ import annotations

import pytest

from asgard.core.errors import QueryError
from asgard.core.table import TableName
from asgard.transform.dependencies import parsed, refuse_all_but_a_select, tables_of


def names(sql: str) -> list[str]:
    return [str(name) for name in tables_of(sql)]


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT 1", []),
        ("FROM bronze.shop.orders", ["bronze.shop.orders"]),
        ("SELECT * FROM silver.b, silver.a, silver.b AS again", ["silver.a", "silver.b"]),
        ('SELECT * FROM "bronze"."Shop X"."a.b"', ["bronze.Shop X.a.b"]),
        ("SELECT * FROM BRONZE.shop.orders", ["bronze.shop.orders"]),
        ("FROM silver.a JOIN gold.b JOIN bronze.s.c", ["bronze.s.c", "gold.b", "silver.a"]),
        ("SELECT (SELECT max(x) FROM gold.b) FROM silver.a", ["gold.b", "silver.a"]),
        ("SELECT * FROM silver.a WHERE EXISTS (FROM gold.b WHERE b.id = a.id)", ["gold.b", "silver.a"]),
        ("SELECT * FROM silver.a WHERE id IN (SELECT id FROM gold.b)", ["gold.b", "silver.a"]),
        ("FROM silver.a UNION ALL BY NAME FROM gold.b EXCEPT FROM gold.c", ["gold.b", "gold.c", "silver.a"]),
        ("WITH a AS (FROM silver.x), b AS (FROM a) SELECT * FROM b JOIN A ON true", ["silver.x"]),
        ("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t", []),
        ("SELECT * FROM (WITH q AS (FROM silver.x) SELECT * FROM q)", ["silver.x"]),
        ("WITH silver AS (FROM gold.x) SELECT * FROM silver, silver.y", ["gold.x", "silver.y"]),
        ("SELECT * FROM silver.a ASOF JOIN gold.b USING (t)", ["gold.b", "silver.a"]),
        ("SELECT * FROM (PIVOT silver.a ON x IN (1, 2) USING count(*))", ["silver.a"]),
        ("SELECT * FROM silver.a, LATERAL (SELECT a.x + 1), unnest(a.list) u(v), range(3)", ["silver.a"]),
        ("SELECT a.x, 'FROM gold.text' FROM silver.a -- FROM gold.comment", ["silver.a"]),
        ("SELECT * FROM silver.a QUALIFY row_number() OVER (PARTITION BY x) = 1", ["silver.a"]),
        ("DESCRIBE silver.a", ["silver.a"]),
        ("SUMMARIZE gold.b", ["gold.b"]),
        ("SHOW TABLES", []),
        ("SELECT * FROM silver.a TABLESAMPLE 10%;", ["silver.a"]),
    ],
)  # fmt: skip
def test_tables_are_read_out_of_the_sql(sql: str, wanted: list[str]) -> None:
    assert names(sql) == wanted


def test_a_name_that_differs_in_case_alone_is_the_known_one() -> None:
    known = [TableName("bronze", "Shop", "Orders"), TableName("gold", "", "x")]
    assert tables_of("FROM bronze.SHOP.orders, gold.Y", known) == (
        TableName("bronze", "Shop", "Orders"),
        TableName("gold", "", "Y"),
    )


@pytest.mark.parametrize(
    ("sql", "what", "place"),
    [
        ("SELECT * FROM orders", "orders is no table of a layer", ("1", "15")),
        ("SELECT *\nFROM bronze.s.o\n  JOIN ordrs USING (id)", "ordrs is no table", ("3", "8")),
        ("SELECT * FROM bronze.orders", r"bronze\.orders is no table", ("1", "15")),
        ("SELECT * FROM silver.shop.orders", r"silver\.shop\.orders is no table", ("1", "15")),
        ("SELECT * FROM main.x", r"main\.x is no table", ("1", "15")),
        ("SELECT * FROM a.b.c.d", r"a\.b\.c\.d is no table", ("1", "15")),
        ("SELECT * FROM 'x.parquet'", r"x\.parquet is a file", ("1", "15")),
        ("SELECT * FROM 'https://x.org/a.csv'", "is a file or an address", ("1", "15")),
        ("SELECT 1 FROM q WHERE EXISTS (WITH q AS (SELECT 1) FROM q)", "q is no table", ("1", "15")),
        ("SELECT * FROM silver.$x", r"silver\.\$x is no name", ("1", "15")),
        ("SELECT a b c FROM silver.x", "Unexpected token", ("1", "12")),
        ("SELECT (1", "Expecting \\)", ("1", "9")),
        ("SELECT *\nFROM {{ ref('x') }}", "Expected table name but got {", ("2", "6")),
    ],
)
def test_what_is_wrong_is_told_with_its_place(sql: str, what: str, place: tuple[str, str]) -> None:
    with pytest.raises(QueryError, match=what) as caught:
        tables_of(sql)
    assert (caught.value.where["line"], caught.value.where["column"]) == place
    assert "Token" not in caught.value.what


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "no statement"),
        ("-- x", "no statement"),
        ("SELECT 'a", "no SQL"),
    ],
)
def test_exactly_one_statement_is_wanted(sql: str, what: str) -> None:
    with pytest.raises(QueryError, match=what):
        tables_of(sql)


def test_near_names_are_told() -> None:
    known = [TableName("silver", "", "orders"), TableName("bronze", "shop", "customers")]
    with pytest.raises(QueryError) as caught:
        tables_of("SELECT * FROM orders", known)
    assert caught.value.hint == "did you mean silver.orders?"
    with pytest.raises(QueryError) as caught:
        tables_of("SELECT * FROM brnze.shop.customers", known)
    assert caught.value.hint == "did you mean bronze.shop.customers?"
    with pytest.raises(QueryError) as caught:
        tables_of("SELECT * FROM {{ ref('x') }}")
    assert "no templates" in caught.value.hint


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("INSERT INTO silver.x SELECT 1", "this is INSERT"),
        ("CREATE TABLE x AS SELECT 1", "this is CREATE"),
        ("COPY silver.x TO 'y'", "this is COPY"),
        ("ATTACH 'x'", "this is ATTACH"),
        ("SET a = 1", "this is SET"),
        ("PRAGMA x", "this is PRAGMA"),
        ("DESCRIBE silver.x", "this is DESCRIBE"),
        ("PIVOT silver.x ON a USING count(*)", "this is PIVOT"),
        ("SELECT * INTO x FROM silver.y", "SELECT INTO"),
        ("SELECT * FROM read_csv('x.csv')", "read_csv is refused"),
        ("SELECT * FROM read_parquet(['x'])", "read_parquet is refused"),
        ("SELECT * FROM read_json_auto('x')", "read_json_auto is refused"),
        ("SELECT * FROM read_text('x')", "read_text is refused"),
        ("SELECT * FROM glob('*')", "glob is refused"),
        ("SELECT * FROM parquet_metadata('x')", "parquet_metadata is refused"),
        ("SELECT * FROM sqlite_scan('x', 'y')", "sqlite_scan is refused"),
        ("SELECT * FROM postgres_query('x', 'y')", "postgres_query is refused"),
        ("SELECT * FROM query_table('silver.x')", "query_table is refused: it hides"),
        ("SELECT * FROM (SELECT * FROM (FROM query('FROM silver.x')))", "query is refused: it hides"),
        ("WITH a AS (FROM duckdb_settings()) FROM a", "duckdb_settings is refused"),
        ("SELECT $1", r"\$1 is refused"),
        ("SELECT ?", "is refused"),
    ],
)
def test_a_model_is_one_select_over_tables(sql: str, what: str) -> None:
    with pytest.raises(QueryError, match=what):
        refuse_all_but_a_select(parsed(sql), sql)


def test_a_refused_function_is_pointed_at() -> None:
    sql = "SELECT *\nFROM silver.x\n  JOIN READ_CSV('y') USING (a)"
    with pytest.raises(QueryError) as caught:
        refuse_all_but_a_select(parsed(sql), sql)
    assert caught.value.where == {"line": "3", "column": "8"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM silver.x",
        "FROM silver.x SELECT a",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT * FROM range(10), generate_series(1, 2), unnest([1, 2])",
        "SELECT * EXCLUDE (a) REPLACE (b + 1 AS b) FROM silver.x",
        "SELECT unnest(list_transform(l, v -> v + 1)) FROM silver.x",
        "SELECT count(*) FILTER (WHERE a) FROM silver.x GROUP BY ALL ORDER BY ALL LIMIT 3",
    ],
)
def test_selects_pass(sql: str) -> None:
    statement = parsed(sql)
    refuse_all_but_a_select(statement, sql)
    assert statement.sql("duckdb")
