"""Queries by chance, from a seed: columns, conditions, groups and windows over tables of `both_engines`."""

from __future__ import annotations

from random import Random

COLUMNS = {
    "int": ["id", "small", "n", "big"],
    "decimal": ["amount", "rate"],
    "float": ["v"],
    "text": ["name", "code"],
    "date": ["day"],
    "time": ["moment", "utc"],
    "bool": ["ok"],
}
LITERALS = {
    "int": ["0", "1", "-3", "127", "40000", "5000000000"],
    "decimal": ["0.5", "1.25", "-100.00", "0.001"],
    "float": ["0.1e0", "-2.5e0", "1e3"],
    "text": ["''", "'a'", "'b\\ob'", "'ü🦆'", "'%'", "'12'"],
    "date": ["DATE '2024-02-29'", "DATE '1582-10-10'", "DATE '0001-01-01'"],
    "time": ["TIMESTAMP '2024-03-31 01:30:05.1'", "TIMESTAMP '1969-12-31 23:59:59'"],
    "bool": ["TRUE", "FALSE", "NULL"],
}
# A place {kind} is filled with an expression of that kind.
SHAPES = {
    "int": (
        *("{int} + {int}", "{int} - {int}", "{int} * {int}", "{int} // {int}", "{int} % {int}", "-({int})"),
        *("abs({int})", "coalesce({int}, {int})", "nullif({int}, {int})", "length({text})", "year({date})"),
        *("extract(dow FROM {date})", "{date} - {date}", "CASE WHEN {bool} THEN {int} ELSE {int} END"),
        *("greatest({int}, {int})", "CAST({decimal} AS INT)", "strpos({text}, 'o')", "week({date})"),
        *("CAST({int} AS SMALLINT)", "month({time})", "CAST({bool} AS INT)", "CAST({float} AS BIGINT)"),
    ),
    "decimal": (
        *("{decimal} + {decimal}", "{decimal} * {decimal}", "{decimal} - {int}", "{int} * {decimal}"),
        *("round({decimal}, 1)", "floor({decimal})", "coalesce({decimal}, {int})", "-({decimal})"),
        *("CAST({decimal} AS DECIMAL(9, 1))", "CAST({int} AS DECIMAL(15, 2))", "abs({decimal})"),
        "CASE WHEN {bool} THEN {decimal} END",
    ),
    "float": (
        *("{float} + {float}", "{float} * {int}", "{int} / {int}", "{decimal} / {int}", "{float} / {float}"),
        *("abs({float})", "coalesce({float}, {float})", "CAST({int} AS DOUBLE)"),
    ),
    "text": (
        *(
            "{text} || {text}",
            "concat({text}, {text})",
            "trim({text})",
            "substr({text}, 2, 3)",
            "left({text}, 2)",
        ),
        *("replace({text}, 'b', 'ü')", "split_part({text}, ',', 2)", "CAST({int} AS VARCHAR)", "md5({text})"),
        *("CAST({date} AS VARCHAR)", "coalesce({text}, {text})", "lower({text})", "right({text}, 3)"),
        "CASE WHEN {bool} THEN {text} ELSE {text} END",
    ),
    "date": (
        *(
            "{date} + 1",
            "{date} - {int}",
            "last_day({date})",
            "CAST({time} AS DATE)",
            "coalesce({date}, {date})",
        ),
        "least({date}, {date})",
    ),
    "time": (
        *("date_trunc('month', {date})", "date_trunc('hour', {time})", "{time} + INTERVAL 1 MONTH"),
        *("{date} - INTERVAL 3 DAY", "CAST({date} AS TIMESTAMP)", "date_trunc('week', {time})"),
    ),
    "bool": (
        *("{int} < {int}", "{decimal} >= {int}", "{float} > {float}", "{text} = {text}", "{date} <= {date}"),
        *("{bool} AND {bool}", "{bool} OR NOT {bool}", "{int} IS NULL", "{text} IS DISTINCT FROM {text}"),
        *(
            "{int} IN ({int}, {int})",
            "{text} LIKE '%b%'",
            "{text} NOT LIKE '%ü%'",
            "{int} NOT IN (1, 2)",
            "{int} BETWEEN {int} AND {int}",
            "contains({text}, 'a')",
        ),
        *("{decimal} <> {decimal}", "{time} < {time}", "starts_with({text}, 'A')", "{float} = {int}"),
    ),
}
AGGREGATES = (
    *("count(*)", "count({int})", "sum({int})", "avg({int})", "sum({decimal})", "avg(amount)", "min({text})"),
    *("max({date})", "count(DISTINCT {text})", "bool_or({bool})", "max({decimal})", "sum(DISTINCT n)"),
    *("count(*) FILTER (WHERE {bool})", "count_if({bool})", "sum({int}) + count(*)", "min({float})"),
)
WINDOWS = (
    *("row_number() OVER (PARTITION BY {group} ORDER BY id)", "sum(n) OVER (ORDER BY id)"),
    *("lag({int}) OVER (PARTITION BY {group} ORDER BY id)", "rank() OVER (ORDER BY {int})"),
    *("count(*) OVER (PARTITION BY {group})", "max({decimal}) OVER (PARTITION BY {group} ORDER BY id DESC)"),
    "sum({decimal}) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
)


class Generator:
    """Makes queries; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def query(self) -> str:
        """A query of one of several shapes."""
        make = self._random.choice((self._plain, self._plain, self._grouped, self._windowed, self._set))
        return make()

    def _expression(self, kind: str, depth: int = 2) -> str:
        if depth == 0 or self._random.random() < 0.25:
            return self._random.choice(COLUMNS[kind] * 2 + LITERALS[kind])
        return self._filled(self._random.choice(SHAPES[kind]), depth - 1)

    def _filled(self, shape: str, depth: int = 1) -> str:
        for kind in (*SHAPES, "group"):
            while f"{{{kind}}}" in shape:
                made = (
                    self._random.choice(("n", "ok", "code"))
                    if kind == "group"
                    else self._expression(kind, depth)
                )
                if " " in made and not made.startswith(("DATE", "TIMESTAMP")):
                    made = f"({made})"
                shape = shape.replace(f"{{{kind}}}", made, 1)
        return shape

    def _columns(self) -> str:
        kinds = [self._random.choice(list(SHAPES)) for _ in range(self._random.randint(1, 3))]
        return ", ".join(f"{self._expression(kind)} AS c{at}" for at, kind in enumerate(kinds))

    def _where(self) -> str:
        return f" WHERE {self._expression('bool')}" if self._random.random() < 0.5 else ""

    def _plain(self) -> str:
        end = " ORDER BY id DESC LIMIT 9" if self._random.random() < 0.3 else ""
        return f"SELECT id, {self._columns()} FROM bronze.shop.facts{self._where()}{end}"

    def _grouped(self) -> str:
        key = self._random.choice(("n", "ok", "code", "day", "n % 2", "year(day)", "coalesce(name, '')"))
        aggregates = [
            self._filled(self._random.choice(AGGREGATES)) for _ in range(self._random.randint(1, 3))
        ]
        said = ", ".join(f"{aggregate} AS a{at}" for at, aggregate in enumerate(aggregates))
        having = " HAVING count(*) > 1" if self._random.random() < 0.3 else ""
        return f"SELECT {key} AS k, {said} FROM bronze.shop.facts{self._where()} GROUP BY {key}{having}"

    def _windowed(self) -> str:
        window = self._filled(self._random.choice(WINDOWS))
        return f"SELECT id, {window} AS w FROM bronze.shop.facts{self._where()}"

    def _set(self) -> str:
        kind = self._random.choice(("int", "text", "date", "decimal"))
        word = self._random.choice(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
        one, other = (self._random.choice(COLUMNS[kind]) for _ in range(2))
        return (
            f"SELECT {one} AS x FROM bronze.shop.facts{self._where()} {word} "
            f"SELECT {other} AS x FROM bronze.shop.facts{self._where()}"
        )
