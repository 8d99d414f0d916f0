"""Column lineage: what each column is made of, directly and indirectly, and what chooses the rows."""

from __future__ import annotations

import pytest

from asgard.core.errors import QueryError
from asgard.core.table import TableName
from asgard.transform.lineage import Origin, Use, lineage_of

ORDERS, CUSTOMERS = TableName("bronze", "shop", "orders"), TableName("silver", "", "customers")
COLUMNS = {ORDERS: ["id", "Customer", "amount", "day", "tags"], CUSTOMERS: ["customer", "name", "country"]}
SHORT = {"bronze.shop.orders": "o", "silver.customers": "c"}


def said(inputs: dict[Origin, frozenset[Use]]) -> dict[str, str]:
    return {
        f"{SHORT.get(origin.table, origin.table)}.{origin.column}": "/".join(sorted(uses))
        for origin, uses in inputs.items()
    }


def lineage(sql: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    found = lineage_of(sql, COLUMNS)
    return {name: said(dict(inputs)) for name, inputs in found.columns.items()}, said(dict(found.rows))


CASES = [
    ("SELECT id, amount * 2 AS twice FROM bronze.shop.orders WHERE day > 1",
     {"id": {"o.id": "IDENTITY"}, "twice": {"o.amount": "TRANSFORMATION"}}, {"o.day": "FILTER"}),
    ("SELECT * EXCLUDE (id, tags) REPLACE (amount + 1 AS amount) FROM BRONZE.shop.Orders",
     {"customer": {"o.Customer": "IDENTITY"}, "amount": {"o.amount": "TRANSFORMATION"},
      "day": {"o.day": "IDENTITY"}}, {}),
    ("WITH o AS (SELECT * FROM bronze.shop.orders) SELECT c.name, sum(o.amount) AS total, count(*) AS n "
     "FROM o JOIN silver.customers c USING (customer) GROUP BY 1 HAVING min(day) > 3 ORDER BY total",
     {"name": {"c.name": "IDENTITY"}, "total": {"o.amount": "AGGREGATION"}, "n": {}},
     {"o.amount": "SORT", "o.day": "FILTER", "o.Customer": "JOIN", "c.customer": "JOIN",
      "c.name": "GROUP_BY"}),
    ("SELECT id, country FROM bronze.shop.orders o LEFT JOIN silver.customers c ON c.customer = o.customer",
     {"id": {"o.id": "IDENTITY"}, "country": {"c.country": "IDENTITY"}},
     {"o.Customer": "JOIN", "c.customer": "JOIN"}),
    ("SELECT id AS x FROM bronze.shop.orders UNION ALL "
     "SELECT customer FROM silver.customers WHERE country = 'x'",
     {"x": {"o.id": "IDENTITY", "c.customer": "IDENTITY"}}, {"c.country": "FILTER"}),
    ("SELECT id FROM bronze.shop.orders EXCEPT SELECT customer FROM silver.customers",
     {"id": {"o.id": "IDENTITY"}}, {"c.customer": "FILTER"}),
    ("SELECT sum(amount) OVER (PARTITION BY customer ORDER BY day) AS s FROM bronze.shop.orders",
     {"s": {"o.amount": "AGGREGATION", "o.Customer": "WINDOW", "o.day": "WINDOW"}}, {}),
    ("SELECT id FROM bronze.shop.orders QUALIFY row_number() OVER (PARTITION BY customer ORDER BY day) = 1",
     {"id": {"o.id": "IDENTITY"}}, {"o.Customer": "FILTER", "o.day": "FILTER"}),
    ("SELECT CASE WHEN amount > 3 THEN id ELSE 0 END AS x FROM bronze.shop.orders",
     {"x": {"o.amount": "CONDITIONAL", "o.id": "TRANSFORMATION"}}, {}),
    ("SELECT sum(amount) FILTER (WHERE day > 1) AS f, any_value(id) AS i "
     "FROM bronze.shop.orders GROUP BY ALL",
     {"f": {"o.amount": "AGGREGATION", "o.day": "FILTER"}, "i": {"o.id": "AGGREGATION"}}, {}),
    ("SELECT id, (SELECT max(name) FROM silver.customers c WHERE c.customer = o.customer) AS n "
     "FROM bronze.shop.orders o",
     {"id": {"o.id": "IDENTITY"},
      "n": {"c.name": "AGGREGATION", "c.customer": "CONDITIONAL", "o.Customer": "CONDITIONAL"}}, {}),
    ("SELECT id FROM bronze.shop.orders WHERE customer IN (SELECT customer FROM silver.customers)",
     {"id": {"o.id": "IDENTITY"}}, {"o.Customer": "FILTER", "c.customer": "FILTER"}),
    ("SELECT tag FROM bronze.shop.orders, unnest(tags) AS t(tag)", {"tag": {"o.tags": "TRANSFORMATION"}}, {}),
    ("WITH RECURSIVE r AS (SELECT id FROM bronze.shop.orders UNION ALL SELECT id + 1 FROM r WHERE id < 9) "
     "SELECT id FROM r", {"id": {"o.id": "IDENTITY/TRANSFORMATION"}}, {"o.id": "FILTER"}),
    ("SELECT u.x, y FROM (SELECT id AS x, amount::DOUBLE AS y FROM bronze.shop.orders) u",
     {"x": {"o.id": "IDENTITY"}, "y": {"o.amount": "TRANSFORMATION"}}, {}),
    ("SELECT a.id FROM bronze.shop.orders a JOIN bronze.shop.orders b ON a.id = b.amount",
     {"id": {"o.id": "IDENTITY"}}, {"o.id": "JOIN", "o.amount": "JOIN"}),
    ("SELECT orders.id, shop.orders.day FROM bronze.shop.orders",
     {"id": {"o.id": "IDENTITY"}, "day": {"o.day": "IDENTITY"}}, {}),
    ("SELECT x, y + 1 AS z FROM silver.unknown",
     {"x": {"silver.unknown.x": "IDENTITY"}, "z": {"silver.unknown.y": "TRANSFORMATION"}}, {}),
    ("SELECT * FROM silver.unknown", {"*": {"silver.unknown.*": "IDENTITY"}}, {}),
    ("SELECT x FROM (SELECT * FROM silver.unknown)", {"x": {"silver.unknown.x": "IDENTITY"}}, {}),
    ("SELECT 1 AS one", {"one": {}}, {}),
    ("SELECT histogram(amount) AS h, _asgard_run_id FROM bronze.shop.orders",
     {"h": {"o.amount": "AGGREGATION"}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "columns", "rows"), CASES, ids=range(len(CASES)))
def test_what_columns_are_made_of(sql: str, columns: object, rows: object) -> None:
    assert lineage(sql) == (columns, rows)


def test_what_is_no_sql_is_refused() -> None:
    with pytest.raises(QueryError):
        lineage_of("SELECT FROM WHERE", {})
