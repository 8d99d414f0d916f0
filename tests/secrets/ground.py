"""A project over a real PostgreSQL and an API, whose secrets are canaries; and everything that it wrote."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.console import Console, Said
from tests.servers.api import Api, Asked, Reply
from tests.servers.postgres import Server

PASSWORD = "c4n4ry/p4ss w0rd'1\\"
API_KEY = "c4n4ry-4p1-k3y-22d0"
MASKING_KEY = "c4n4ry-m4sk1ng-k3y-of-32-bytes"
PERSON = "c4n4ry-p3rson"
MODEL = "SELECT count(*) AS people, max(name) AS name FROM bronze.shop.people\n"


class Ground:
    """The project, its sources and what was said.

    Args:
        store_key: the key of the store, from the environment.
    """

    def __init__(self, console: Console, server: Server, api: Api, store_key: str) -> None:
        self.console = console
        self.server = server
        self.api = api
        self.canaries = [PASSWORD, API_KEY, MASKING_KEY, PERSON, store_key]
        self.said: list[str] = []
        self.database = server.create_database()
        self.role = f"r_{uuid.uuid4().hex[:12]}"
        server.execute(f"CREATE ROLE {self.role} LOGIN")
        self.change_password(PASSWORD)
        server.execute(
            "CREATE TABLE people(id int PRIMARY KEY, name text, mail text, at timestamptz DEFAULT now());"
            f"INSERT INTO people SELECT n, 'name ' || n, '{PERSON}' || n FROM generate_series(1, 50) n;"
            f"GRANT SELECT ON people TO {self.role}",
            self.database,
        )
        api.on("/v1/orders", self.orders)

    def close(self) -> None:
        self.server.drop_database(self.database)
        self.server.execute(f"DROP ROLE {self.role}")

    def change_password(self, password: str) -> None:
        quoted = password.replace("'", "''")
        self.server.execute(f"ALTER ROLE {self.role} PASSWORD '{quoted}'")

    def orders(self, asked: Asked) -> Reply:
        """What a careless API does: it quotes the key that it does not know."""
        if asked.headers.get("authorization") != f"Bearer {API_KEY}":
            return Reply(401, {"error": f"unknown: {asked.headers.get('authorization')}"})
        return Reply(200, [{"id": n, "price": n / 4} for n in range(7)])

    def write(self, people: str = "", *, mask: str = "{mail: hash}") -> None:
        """asgard.yml, with more keys of the first table."""
        text = f"""
masking_key: "${{store:masking_key}}"
data_sources:
  shop:
    type: postgres
    connection: {{host: {self.server.host}, port: {self.server.port}, database: {self.database},
                 username: {self.role}, password: "${{store:pg/password}}", ssl_mode: disable}}
    tables:
      - {{name: public.people, as: people, mask: {mask}{people}}}
  api:
    type: rest
    base_url: {self.api.url}/v1
    auth_token: "${{API_KEY}}"
    max_retries: 0
    endpoints: [{{name: orders, path: /orders}}]
"""
        self.console.write("asgard.yml", text)
        self.console.write("models/gold/people.sql", MODEL)

    def asgard(self, *words: str, typed: str | None = None) -> Said:
        """Types a command; what it says is remembered."""
        with pytest.MonkeyPatch.context() as patch:
            if typed is not None:
                patch.setattr("sys.stdin", io.StringIO(typed))
            said = self.console.asgard(*words)
        self.said += [said.out, said.err]
        return said

    def hits(self, *folders: Path) -> list[str]:
        """Every place that holds a canary: texts that were said, files as they lie there, tables' values."""
        found = [f"said: {text}" for text in self.said if self._is_hit(text)]
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file() and self._is_hit(f"{path} {path.read_bytes().decode('utf-8', 'replace')}"):
                    found.append(str(path))
                if path.suffix == ".parquet" and self._is_hit(str(pq.read_table(path).to_pylist())):
                    found.append(f"values of {path}")
        return found

    def _is_hit(self, text: str) -> bool:
        forms = [form for one in self.canaries for form in (one, repr(one)[1:-1], one.replace("'", "''"))]
        return any(form in text for form in forms)
