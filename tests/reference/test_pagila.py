"""Pagila: enums, domains, arrays, tsvectors, partitions and views arrive as the server writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.reference.project import outcomes, postgres, project
from tests.reference.server_text import lake_rows, server_rows
from tests.servers.postgres import Server

COPY = re.compile(r"^(COPY .* FROM stdin;)\n((?:.*\n)*?)\\\.\n", re.MULTILINE)

RELATIONS = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
"""


@pytest.fixture(scope="module")
def pagila(reference: Path, pg16: Server) -> Iterator[str]:
    folder = reference / "sampledb" / "pagila"
    schema = (folder / "pagila-schema.sql").read_text().replace("OWNER TO postgres", "OWNER TO CURRENT_USER")
    name = pg16.create_database()
    with pg16.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute(schema)
        rest = 0
        text = (folder / "pagila-data.sql").read_text()
        for found in COPY.finditer(text):
            cursor.execute(text[rest : found.start()])
            with cursor.copy(found[1]) as copy:
                copy.write(found[2])
            rest = found.end()
        cursor.execute(text[rest:])
        cursor.execute("REFRESH MATERIALIZED VIEW public.rental_by_category; ANALYZE")
    yield name
    pg16.drop_database(name)


def test_every_table_and_view_loads_as_it_is(pagila: str, pg16: Server, tmp_path: Path) -> None:
    relations = sorted(name for (name,) in pg16.execute(RELATIONS, pagila))
    assert {"film", "payment", "payment_p2022_01", "actor_info", "rental_by_category"} <= set(relations)
    opened = project(tmp_path, postgres(pg16, pagila), ["public.*"])
    ended = outcomes(opened)
    assert {step: str(error) for step, error in ended.items() if error} == {}
    loaded = sorted(step.removeprefix("bronze.s.") for step in ended)
    # Rows of partitions come with their table.
    assert loaded == [name for name in relations if not name.startswith("payment_p2022")]
    with psycopg.connect(pg16.dsn(pagila)) as connection:
        for name in loaded:
            assert lake_rows(opened, f"bronze.s.{name}") == server_rows(connection, f'public."{name}"'), name


def test_merges_by_key_find_what_changed(pagila: str, pg16: Server, tmp_path: Path) -> None:
    tables = [
        {"name": "film", "mode": "merge", "cursor": "last_update"},
        {"name": "rental", "mode": "merge", "cursor": "last_update"},
    ]
    opened = project(tmp_path, postgres(pg16, pagila), tables)
    assert set(outcomes(opened).values()) == {None}
    pg16.execute(
        "UPDATE film SET title = title || ' II', special_features = '{}' WHERE film_id % 7 = 0", pagila
    )
    pg16.execute("UPDATE rental SET return_date = NULL WHERE rental_id % 100 = 0", pagila)
    assert set(outcomes(opened).values()) == {None}
    with psycopg.connect(pg16.dsn(pagila)) as connection:
        for name in ("film", "rental"):
            assert lake_rows(opened, f"bronze.s.{name}") == server_rows(connection, f"public.{name}")
