"""The types that another loader's tests torture PostgreSQL with, before and after a change of the schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.reference.project import outcomes, postgres, project
from tests.reference.server_text import lake_rows, server_rows
from tests.servers.postgres import Server


def _statements(reference: Path) -> dict[str, list[str]]:
    """The statements of the file by their first word; the table is `t`, a row's number 1."""
    text = (reference / "type_torture" / "postgres" / "olake-all-types.sql").read_text()
    found: dict[str, list[str]] = {}
    for statement in text.split(";\n\n"):
        lines = [line for line in statement.splitlines() if not line.strip().startswith("--")]
        told = "\n".join(lines).strip().replace("%s", "t").replace("%d", "1")
        if told:
            found.setdefault(told.split()[0], []).append(told)
    return found


@pytest.fixture
def database(pg15: Server) -> Iterator[str]:
    """On PostgreSQL 15, which is the server that knows XML."""
    name = pg15.create_database()
    yield name
    pg15.drop_database(name)


def test_every_type_arrives_as_the_server_writes_it(
    reference: Path, database: str, pg15: Server, tmp_path: Path
) -> None:
    told = _statements(reference)
    rows = [insert for insert in told["INSERT"] if "col_circle" in insert]
    assert len(rows) >= 5
    opened = project(tmp_path, postgres(pg15, database), ["public.*"])
    with psycopg.connect(pg15.dsn(database), autocommit=True) as connection:
        connection.execute(told["CREATE"][0])
        for insert in rows:
            connection.execute(insert)
        assert outcomes(opened) == {"bronze.s.t": None}
        assert lake_rows(opened, "bronze.s.t") == server_rows(connection, "public.t")

        for alter in told["ALTER"]:
            connection.execute(alter)
        connection.execute(told["UPDATE"][0])
        assert outcomes(opened) == {"bronze.s.t": None}
        assert lake_rows(opened, "bronze.s.t") == server_rows(connection, "public.t")
