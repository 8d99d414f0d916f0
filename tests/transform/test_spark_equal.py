"""Hand-written queries: each is equal on DuckDB and on a real Spark, or refused for Spark by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgard.engines.duckdb import DuckDBEngine
from asgard.engines.spark import SparkEngine
from tests.transform.both_engines import attach_all, compare
from tests.transform.query_generator import Generator

Engines = tuple[DuckDBEngine, SparkEngine]

EQUAL = """
SELECT * FROM bronze.shop.facts
SELECT ID, Name AS Title FROM Bronze.Shop.FACTS
SELECT f.*, f.n + 1 AS m FROM bronze.shop.facts AS f
SELECT * EXCLUDE (tags, v) FROM bronze.shop.facts
SELECT * REPLACE (n + 1 AS n) FROM silver.names
SELECT * FROM bronze.shop.edges
SELECT id FROM bronze.shop.facts ORDER BY amount DESC, id
SELECT id, name FROM bronze.shop.facts ORDER BY name, 1 DESC LIMIT 7 OFFSET 2
SELECT id, n FROM bronze.shop.facts ORDER BY n NULLS FIRST, id
SELECT id, v FROM bronze.shop.facts ORDER BY v DESC, id
SELECT n, count(*) AS c, sum(big) AS s, min(day) AS a, max(moment) AS b FROM bronze.shop.facts GROUP BY n
SELECT ok, avg(n) AS a, avg(amount) AS b, sum(amount) AS c, sum(rate) AS d FROM bronze.shop.facts GROUP BY ALL
SELECT count(DISTINCT n) AS a, sum(DISTINCT n) AS b, avg(DISTINCT n) AS c FROM bronze.shop.facts
SELECT sum(n) AS a, avg(n) AS b, count(n) AS c, max(name) AS d FROM bronze.shop.facts WHERE id < 0
SELECT n % 3 AS k, count(*) FILTER (WHERE ok) AS c, count_if(v > 1) AS d FROM bronze.shop.facts GROUP BY n % 3
SELECT n AS k, bool_and(ok) AS a, bool_or(ok) AS b FROM bronze.shop.facts GROUP BY k HAVING count(*) > 3
SELECT DISTINCT n, ok FROM bronze.shop.facts
SELECT f.id, x.label FROM bronze.shop.facts f JOIN silver.names x ON f.n = x.n
SELECT f.id, x.label FROM bronze.shop.facts f LEFT JOIN silver.names x ON f.n = x.n AND f.ok
SELECT f.id, x.label FROM bronze.shop.facts f FULL JOIN silver.names x ON f.n = x.n
SELECT f.id, x.n AS k FROM silver.names x RIGHT JOIN bronze.shop.facts f ON f.n IS NOT DISTINCT FROM x.n
SELECT id, n, label FROM bronze.shop.facts JOIN silver.names USING (n)
SELECT f.id FROM bronze.shop.facts f SEMI JOIN silver.names x ON f.n = x.n
SELECT f.id FROM bronze.shop.facts f ANTI JOIN silver.names x ON f.n = x.n
SELECT a.n AS a, b.n AS b FROM silver.names a CROSS JOIN silver.names b
SELECT facts.id, names.label FROM bronze.shop.facts, silver.names WHERE facts.n = names.n
SELECT bronze.shop.facts.id FROM bronze.shop.facts
SELECT n FROM bronze.shop.facts UNION SELECT n FROM silver.names
SELECT n FROM bronze.shop.facts UNION ALL SELECT n FROM silver.names ORDER BY n
SELECT n FROM bronze.shop.facts EXCEPT SELECT n FROM silver.names
SELECT n FROM bronze.shop.facts INTERSECT SELECT n FROM silver.names
WITH a AS (SELECT n, count(*) AS c FROM bronze.shop.facts GROUP BY n) SELECT a.n, c, label FROM a JOIN silver.names x ON a.n = x.n
WITH names AS (SELECT 1 AS n) SELECT names.n, x.label FROM names JOIN silver.names x ON x.n > names.n
SELECT s.n, s.c FROM (SELECT n, count(*) AS c FROM bronze.shop.facts GROUP BY n) s WHERE s.c > 3
SELECT id, (SELECT max(n) FROM silver.names) AS m FROM bronze.shop.facts
SELECT id FROM bronze.shop.facts f WHERE EXISTS (SELECT 1 FROM silver.names x WHERE x.n = f.n)
SELECT id FROM bronze.shop.facts WHERE n IN (SELECT n FROM silver.names)
SELECT id FROM bronze.shop.facts WHERE n NOT IN (SELECT n FROM silver.names)
SELECT id FROM bronze.shop.facts WHERE n NOT IN (SELECT n FROM silver.names WHERE n IS NOT NULL)
SELECT id, row_number() OVER (PARTITION BY n ORDER BY id) AS r FROM bronze.shop.facts
SELECT id, rank() OVER (ORDER BY n) AS r, dense_rank() OVER (ORDER BY n DESC) AS d FROM bronze.shop.facts
SELECT id, sum(n) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s, avg(n) OVER () AS a FROM bronze.shop.facts
SELECT id, sum(n) OVER (PARTITION BY ok ORDER BY id) AS s, count(*) OVER (ORDER BY n) AS c FROM bronze.shop.facts
SELECT id, lag(name) OVER (ORDER BY id) AS a, lead(n, 2) OVER (ORDER BY id) AS b FROM bronze.shop.facts
SELECT id, first_value(n) OVER (PARTITION BY ok ORDER BY id DESC) AS a, last_value(n) OVER (ORDER BY id) AS b FROM bronze.shop.facts
SELECT * EXCLUDE (tags) FROM bronze.shop.facts QUALIFY row_number() OVER (PARTITION BY n ORDER BY id DESC) = 1
SELECT id, n FROM bronze.shop.facts QUALIFY row_number() OVER (PARTITION BY n ORDER BY id) = 1 ORDER BY id DESC LIMIT 3
SELECT n + small AS a, n - 1 AS b, n * 2 AS c, small + 1 AS d, -n AS e, abs(n) AS f, big * 2 AS g FROM bronze.shop.facts
SELECT n // 2 AS a, n % 3 AS b, big // n AS c, n % n AS d, -7 // 2 AS e FROM bronze.shop.facts
SELECT n / 3 AS a, n / 0 AS b, amount / n AS c, v / n AS d, 1 / v AS e, v / 0 AS f FROM bronze.shop.facts
SELECT amount + 1 AS a, amount * rate AS b, amount - n AS c, amount * 2 AS d, 1.5 * amount AS e, amount + rate AS f FROM bronze.shop.facts
SELECT round(amount, 1) AS a, round(rate) AS b, floor(amount) AS c, ceil(amount) AS d FROM bronze.shop.facts
SELECT v > 1 AS a, v = v AS b, v < 0 AS c, v <> 0.1e0 AS d, v + n AS e, v * 2 AS f FROM bronze.shop.facts
SELECT amount > 1 AS a, amount = rate AS b, n < amount AS c, amount BETWEEN 0 AND 1.5 AS d FROM bronze.shop.facts
SELECT n IS DISTINCT FROM small AS a, n IS NOT DISTINCT FROM NULL AS b, n IN (1, 5, NULL) AS c FROM bronze.shop.facts
SELECT CASE WHEN n > 3 THEN 1 WHEN ok THEN 2.5 ELSE amount END AS a, CASE n WHEN 5 THEN 'x' END AS b FROM bronze.shop.facts
SELECT coalesce(n, 0) AS a, coalesce(amount, 0) AS b, nullif(n, 5) AS c, greatest(n, small, 3) AS d, least(day, DATE '2000-01-01') AS e FROM bronze.shop.facts
SELECT length(name) AS a, trim(name) AS b, ltrim(name) AS c, substr(name, 2, 3) AS d, left(name, 2) AS e, right(name, 3) AS f FROM bronze.shop.facts
SELECT name || '-' || code AS a, concat(name, '/', code) AS b, replace(name, 'b', '\\') AS c, 'it''s' AS d FROM bronze.shop.facts
SELECT strpos(name, 'ü') AS a, contains(name, '%') AS b, starts_with(name, 'A') AS c, ends_with(name, 'c') AS d, split_part(name, ',', 2) AS e FROM bronze.shop.facts
SELECT name LIKE 'A%' AS a, name LIKE '%ob' AS b, name NOT LIKE '%ü%' AS c, md5(name) AS d, sha256(name) AS e FROM bronze.shop.facts
SELECT name < 'b' AS a, name = 'bob' AS b, name BETWEEN '' AND 'c' AS c, name > '🦆' AS d FROM bronze.shop.facts
SELECT upper(code) AS a, lower(code) AS b FROM bronze.shop.facts
SELECT year(day) AS a, month(day) AS b, extract(dow FROM day) AS c, isodow(day) AS d, week(day) AS e, quarter(day) AS f, dayofyear(day) AS g, extract(day FROM moment) AS h FROM bronze.shop.facts
SELECT hour(moment) AS a, minute(moment) AS b, hour(utc) AS c, extract(year FROM utc) AS d FROM bronze.shop.facts
SELECT date_trunc('month', day) AS a, date_trunc('week', moment) AS b, date_trunc('hour', utc) AS c, date_trunc('quarter', moment) AS d, date_trunc('year', day) AS e FROM bronze.shop.facts
SELECT day + 1 AS a, day - n AS b, day - DATE '2024-01-01' AS c, date_diff('day', day, DATE '2024-03-01') AS d, last_day(day) AS e FROM bronze.shop.facts
SELECT day + INTERVAL 1 MONTH AS a, moment - INTERVAL 1 DAY AS b, utc + INTERVAL 3 HOUR AS c, day + INTERVAL 1 YEAR AS d, moment + INTERVAL '90 minutes' AS e FROM bronze.shop.facts
SELECT day < TIMESTAMP '2024-01-01 00:00:00' AS a, moment::DATE AS b, day::TIMESTAMP AS c, utc::TIMESTAMP AS d, moment::TIMESTAMPTZ AS e, CAST(utc AS DATE) AS f FROM bronze.shop.facts
SELECT code::INT AS a, code::DECIMAL(10, 2) AS b, code::DOUBLE AS c, n::VARCHAR AS d, ok::VARCHAR AS e, day::VARCHAR AS f, moment::VARCHAR AS g FROM bronze.shop.facts
SELECT amount::INT AS a, (v * 2)::BIGINT AS b, n::DECIMAL(12, 3) AS c, rate::DECIMAL(6, 1) AS d, n::DOUBLE AS e, ok::INT AS f FROM bronze.shop.facts WHERE v < 100
SELECT sum(amount) / count(*) AS a, sum(n) * 2 AS b, sum(CASE WHEN ok THEN 1 ELSE 0 END) AS c FROM bronze.shop.facts
SELECT 1 AS a, 3000000000 AS b, 1.50 AS c, 1e3 AS d, 'x' AS e, TRUE AS f, DATE '0001-01-01' AS g
SELECT year(day) AS a, day + 1 AS b, date_trunc('month', moment) AS c, abs(f) AS d, i32 > i8 AS g FROM bronze.shop.edges
SELECT i64 / 3 AS a, d / 7 AS b FROM bronze.shop.edges WHERE d < 9 AND d > -9
SELECT id FROM bronze.shop.facts WHERE NULL
SELECT min(i64) AS a, max(i64) AS b, sum(i64) AS c, sum(d) AS d, count(DISTINCT s) AS e, max(f) AS f FROM bronze.shop.edges
""".strip().splitlines()  # noqa: E501

REFUSED = """
SELECT id FROM bronze.shop.facts LIMIT 3
SELECT sum(v) AS s FROM bronze.shop.facts
SELECT avg(v) AS s FROM bronze.shop.facts
SELECT v, count(*) AS c FROM bronze.shop.facts GROUP BY v
SELECT DISTINCT v FROM bronze.shop.facts
SELECT n + 1 FROM bronze.shop.facts
SELECT regexp_replace(name, 'a', 'b') AS x FROM bronze.shop.facts
SELECT name ILIKE 'a%' AS x FROM bronze.shop.facts
SELECT name LIKE 'a\\_' AS x FROM bronze.shop.facts
SELECT name LIKE '%ü_' AS x FROM bronze.shop.facts
SELECT strftime(day, '%Y') AS x FROM bronze.shop.facts
SELECT day FROM bronze.shop.facts UNION ALL BY NAME SELECT day FROM bronze.shop.facts
SELECT len(tags) AS x FROM bronze.shop.facts
SELECT list_sum([1, 2]) AS x FROM bronze.shop.facts
SELECT tags[1] AS x FROM bronze.shop.facts
SELECT string_agg(name) AS x FROM bronze.shop.facts
SELECT first(name ORDER BY id) AS x FROM bronze.shop.facts
SELECT quantile_cont(n, 0.5) AS x FROM bronze.shop.facts
SELECT median(n) AS x FROM bronze.shop.facts
SELECT f.id FROM bronze.shop.facts f ASOF JOIN silver.names x ON f.n >= x.n
SELECT * FROM (PIVOT silver.names ON label IN ('five') USING count(*))
SELECT v::VARCHAR AS x FROM bronze.shop.facts
SELECT v::DECIMAL(10, 2) AS x FROM bronze.shop.facts
SELECT TRY_CAST(name AS INT) AS x FROM bronze.shop.facts
SELECT amount * rate * rate * rate * rate * rate AS x FROM bronze.shop.facts
SELECT n FROM silver.names UNION SELECT label FROM silver.names
SELECT current_date AS x
SELECT now() AS x
SELECT random() AS x
SELECT moment::TIMETZ AS x FROM bronze.shop.facts
SELECT row_number() OVER () AS x FROM bronze.shop.facts
SELECT * FROM bronze.shop.facts JOIN silver.names USING (n)
SELECT substr(name, -2) AS x FROM bronze.shop.facts
SELECT upper(name) AS x FROM bronze.shop.facts
SELECT upper(s) AS x FROM bronze.shop.edges
SELECT day::VARCHAR AS x FROM bronze.shop.edges
SELECT d / 7 AS x FROM bronze.shop.edges
SELECT round(v) AS x FROM bronze.shop.facts
SELECT s::DATE AS x FROM bronze.shop.edges
SELECT NULL AS x
SELECT (CASE WHEN FALSE THEN 1.25 END) - n AS x FROM silver.names
SELECT i64 + 1 AS x FROM bronze.shop.edges
SELECT abs(i8) AS x FROM bronze.shop.edges
SELECT d * d AS x FROM bronze.shop.edges
SELECT name = 5 AS x FROM bronze.shop.facts
SELECT amount = v AS x FROM bronze.shop.facts
SELECT id AS x, id + 1 AS X FROM bronze.shop.facts
SELECT reverse(name) AS x FROM bronze.shop.facts
SELECT hash(name) AS x FROM bronze.shop.facts
SELECT columns('n.*') FROM silver.names
SELECT n FROM silver.names USING SAMPLE 2
SELECT a.n FROM silver.names a POSITIONAL JOIN silver.names b
SELECT sum(n) OVER w AS x FROM silver.names WINDOW w AS (ORDER BY n)
SELECT n FROM silver.names GROUP BY ROLLUP (n)
SELECT interval 1 month AS x
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r
""".strip().splitlines()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    from tests.servers.spark import spark_session

    spark_session()
    folder: Path = tmp_path_factory.mktemp("tables")
    with DuckDBEngine(256 << 20) as duck, SparkEngine() as spark:
        attach_all(folder, duck, spark)
        yield duck, spark


@pytest.mark.parametrize("sql", EQUAL)
def test_a_query_gives_the_same_table_on_both_engines(engines: Engines, sql: str) -> None:
    compared: Any = compare(*engines, sql)
    assert (compared.different, compared.refused) == ("", "")


@pytest.mark.parametrize("sql", REFUSED)
def test_a_query_that_could_differ_is_refused(engines: Engines, sql: str) -> None:
    compared: Any = compare(*engines, sql)
    assert compared.different == ""
    assert compared.refused


def test_generated_queries_give_the_same_tables_or_are_refused(engines: Engines) -> None:
    """150 queries of a seed of their own for each; most of them must run, for refusals show nothing."""
    different, equal = [], 0
    for seed in range(150):
        sql = Generator(seed).query()
        compared = compare(*engines, sql)
        equal += not (compared.refused or compared.different)
        if compared.different:
            different.append(f"seed {seed}: {sql}\n{compared.different}")
    assert not different, "\n\n".join(different)
    assert equal > 100
