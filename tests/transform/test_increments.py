"""What may be read by what came, and what a changed SELECT means for its table."""

from __future__ import annotations

import pytest

from asgard.core.errors import QueryError
from asgard.core.table import TableName
from asgard.transform.differences import UNKNOWN_AGGREGATES, SqlChange, same_sql, sql_change
from asgard.transform.increments import are_apart, increment_sql, why_whole
from asgard.transport import duck

ORDERS, CUSTOMERS = TableName("bronze", "s", "o"), TableName("silver", "", "c")

LINEAR = [
    "SELECT id, n + 1 AS m FROM bronze.s.o WHERE n > 1 ORDER BY id",
    "FROM Bronze.S.O",
    "SELECT * FROM bronze.s.o o JOIN silver.c c USING (id)",
    "SELECT * FROM bronze.s.o o LEFT JOIN silver.c c USING (id)",
    "SELECT * FROM silver.c c RIGHT JOIN bronze.s.o o USING (id)",
    "SELECT * FROM bronze.s.o o ANTI JOIN silver.c c USING (id)",
    "WITH x AS (SELECT * FROM bronze.s.o), y AS (SELECT * FROM x WHERE n > 0) SELECT * FROM y",
    "SELECT *, (SELECT max(n) FROM silver.c) FROM bronze.s.o",
    "SELECT * FROM bronze.s.o WHERE id NOT IN (SELECT id FROM silver.c)",
    "SELECT * FROM bronze.s.o UNION ALL SELECT * FROM bronze.s.o",
    "SELECT * FROM bronze.s.o o, unnest(o.tags) AS t(tag)",
]
WHOLE = {
    "SELECT count(*) FROM bronze.s.o": "an aggregate",
    "SELECT mean(n) FROM bronze.s.o": "an aggregate",
    "SELECT id FROM bronze.s.o GROUP BY ALL": "GROUP BY",
    "SELECT DISTINCT id FROM bronze.s.o": "DISTINCT",
    "SELECT id, lag(n) OVER (ORDER BY id) FROM bronze.s.o": "a window",
    "SELECT id FROM bronze.s.o QUALIFY row_number() OVER () = 1": "QUALIFY",
    "SELECT * FROM (SELECT * FROM bronze.s.o LIMIT 3)": "LIMIT",
    "SELECT * FROM bronze.s.o USING SAMPLE 10%": "SAMPLE",
    "SELECT * FROM bronze.s.o UNION SELECT * FROM silver.c": "UNION",
    "SELECT * FROM bronze.s.o EXCEPT SELECT * FROM silver.c": "EXCEPT",
    "SELECT * FROM silver.c LEFT JOIN bronze.s.o USING (id)": "LEFT JOIN",
    "SELECT * FROM bronze.s.o FULL JOIN silver.c USING (id)": "FULL JOIN",
    "SELECT * FROM silver.c c ANTI JOIN bronze.s.o o USING (id)": "ANTI JOIN",
    "SELECT * FROM silver.c WHERE EXISTS (SELECT 1 FROM bronze.s.o)": "a condition",
    "SELECT (SELECT max(n) FROM bronze.s.o) FROM silver.c": "a condition or an expression",
    "SELECT * FROM bronze.s.o a JOIN bronze.s.o b USING (id)": "joined with itself",
    "WITH x AS (SELECT * FROM bronze.s.o) SELECT * FROM x JOIN x y USING (id)": "joined with itself",
    "WITH RECURSIVE r AS (SELECT id FROM bronze.s.o UNION ALL SELECT id FROM r) SELECT * FROM r": "recursion",
    "SELECT * FROM silver.c": "nothing is made of it",
}


@pytest.mark.parametrize("sql", LINEAR)
def test_new_rows_make_new_rows(sql: str) -> None:
    assert why_whole(sql, ORDERS) == ""


@pytest.mark.parametrize("sql", WHOLE)
def test_rows_that_are_looked_at_together_are_read_whole(sql: str) -> None:
    assert WHOLE[sql] in why_whole(sql, ORDERS)


def test_tables_that_meet_in_a_join_are_not_read_so_at_the_same_time() -> None:
    assert are_apart("SELECT id FROM bronze.s.o UNION ALL SELECT id FROM silver.c", [ORDERS, CUSTOMERS])
    assert not are_apart("SELECT * FROM bronze.s.o JOIN silver.c USING (id)", [ORDERS, CUSTOMERS])


def test_branches_that_have_no_news_make_nothing_again() -> None:
    sql = "SELECT id FROM bronze.s.o UNION ALL SELECT id FROM silver.c"
    assert increment_sql(sql, [ORDERS, CUSTOMERS]) == sql
    assert increment_sql(sql, [ORDERS]).endswith(
        "UNION ALL SELECT * FROM (SELECT id FROM silver.c) AS _made WHERE FALSE"
    )


def test_every_aggregate_of_the_engine_is_known() -> None:
    """A newer engine may have new ones: each is one that the parser knows, or stands in the list."""
    connection = duck.connect()
    rows = connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    ).fetchall()
    names = {name for (name,) in rows if name.isidentifier()} - {"row_number"}  # a window, always
    assert names > UNKNOWN_AGGREGATES
    for name in sorted(names):
        assert "aggregate" in _why_whole(name), name


def _why_whole(function: str) -> str:
    try:
        return why_whole(f"SELECT {function}(n, 1) AS x FROM bronze.s.o", ORDERS)
    except QueryError:  # it takes one argument alone
        return why_whole(f"SELECT {function}(n) AS x FROM bronze.s.o", ORDERS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("select a, b from t -- x", "SELECT a,\n  b /* y */ FROM t;", True),
        ('SELECT "a" FROM t', "SELECT a FROM t", True),
        ("SELECT a FROM t", "SELECT a AS a FROM t", False),
        ("SELECT 'a' FROM t", "SELECT 'A' FROM t", False),
        ("SELECT 1.0 FROM t", "SELECT 1.00 FROM t", False),
        ("SELECT a, b FROM t", "SELECT b, a FROM t", False),
    ],
)
def test_what_is_the_same_sql(one: str, other: str, same: bool) -> None:
    assert same_sql(one, other) == same


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ("SELECT a, b, a + b AS c FROM t WHERE a > 1", SqlChange(added=("c",))),
        ("SELECT b FROM t WHERE a > 1", SqlChange(removed=("a",))),
        ("SELECT b, a FROM t WHERE a > 1", SqlChange()),
        ("SELECT a, b * 2 AS b FROM t WHERE a > 1", SqlChange(values=("b",))),
        ("SELECT a, b, rank() OVER (ORDER BY a) AS r FROM t WHERE a > 1", SqlChange(added=("r",))),
        ("SELECT a, b FROM t WHERE a > 2", SqlChange(rows="its WHERE changed")),
        ("SELECT a, b FROM u WHERE a > 1", SqlChange(rows="its FROM changed")),
        ("SELECT a, b FROM t JOIN u USING (a) WHERE a > 1", SqlChange(rows="its JOIN changed")),
        ("WITH x AS (SELECT 1) SELECT a, b FROM t WHERE a > 1", SqlChange(rows="its WITH changed")),
        ("SELECT max(a) AS a, b FROM t WHERE a > 1", SqlChange(rows="it aggregates now, or does no longer")),
        ("SELECT a, b, unnest(b) AS c FROM t WHERE a > 1", SqlChange(rows="a column makes rows")),
        ("SELECT a, b AS a FROM t WHERE a > 1", SqlChange(rows="two of its columns have one name")),
        ("SELECT a, b FROM t UNION ALL SELECT a, b FROM u", SqlChange(rows="it is another statement")),
    ],
)
def test_what_a_change_means(after: str, change: SqlChange) -> None:
    found = sql_change("SELECT a, b FROM t WHERE a > 1", after)
    assert found == change
    assert found.is_additive == (not (change.rows or change.values or change.removed))
