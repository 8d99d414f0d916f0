"""A SELECT of ours as Spark's: each table by the one quoted name that the job knows it by.

Reference: https://spark.apache.org/docs/latest/sql-ref-identifier.html
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlglot
from sqlglot import exp

from asgard.core.errors import QueryError
from asgard.transform.dependencies import DIALECT, parsed, tables_in


def spark_sql(sql: str, views: Mapping[tuple[str, ...], str]) -> str:
    """The statement in Spark's words.

    Args:
        sql: one SELECT, as `names_read` lets it pass.
        views: every name that it reads, to the view of the job; dots and all.

    Raises:
        QueryError: it says what Spark cannot.
    """
    statement = parsed(sql)
    for table in list(tables_in(statement)):
        view = views[tuple(part.name for part in table.parts)]
        # Columns may be written behind the table's own name: it stays what they are found by.
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("this", exp.to_identifier(view, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
    for column in statement.find_all(exp.Column):
        column.set("db", None)
        column.set("catalog", None)
    try:
        return statement.sql("spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.UnsupportedError as error:
        raise QueryError(
            f"Spark cannot say this: {str(error).splitlines()[0]}",
            hint=f"it is translated from {DIALECT}: write it in plainer words",
        ) from error
