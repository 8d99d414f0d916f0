"""PostgreSQL: tables, partitioned tables, views and queries, in one snapshot, every type exact or refused.

Bulk comes through DuckDB's binary reader, one connection for each range of pages, all in one exported
snapshot; psycopg asks the catalog and holds the snapshot. The parts: `_postgres.types` says how each type is
carried, `_postgres.catalog` what there is, `_postgres.cursor` which rows are new, `_postgres.splits` and
`_postgres.plan` who reads what. Decisions: docs/decisions/0030 to 0033.

Reference: https://www.postgresql.org/docs/current/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa
from pydantic import AliasChoices, Field, field_validator

from asgard.connectors._postgres.catalog import Catalog, Relation
from asgard.connectors._postgres.plan import Planner, PostgresPlan, Wish, take_snapshot
from asgard.connectors._postgres.reader import PostgresReader
from asgard.connectors._postgres.splits import Reading
from asgard.connectors._postgres.types import Attribute, TypeMap
from asgard.core.config import Config, LocalPath
from asgard.core.errors import AsgardError, ConfigError, QueryError, SchemaChanged
from asgard.core.position import Position, Token
from asgard.core.secret import Secret
from asgard.core.source import Example, Feature, Plan, Reader, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import ColumnTypes, refuse_unknown
from asgard.transport.postgres import Connection, Server
from asgard.transport.sql_plan import SchemaNames

SECRET_OPTIONS = {"password", "sslpassword", "passfile"}
OWN_OPTIONS = {"host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert", "connect_timeout"}


class PostgresConfig(Config):
    """Where the server is and how to sign in."""

    host: str = Field(description="Name or address of the server, or the folder of its socket.")
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = Field(description="The database on the server.")
    username: str | None = Field(default=None, validation_alias=AliasChoices("username", "user"))
    password: Secret | None = Field(default=None)
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="require",
        description="As libpq means it: require encrypts and verifies nobody, verify-full does both.",
    )
    ssl_root_cert: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust; the system's when left out."
    )
    connection_timeout_seconds: int = Field(
        default=30,
        ge=1,
        validation_alias=AliasChoices("connection_timeout_seconds", "connection_timeout"),
        description="How long to wait for the server to answer.",
    )
    schemas: SchemaNames = Field(
        default=(),
        validation_alias=AliasChoices("schemas", "schema"),
        description="Only these schemas; all but the system's when left out.",
    )
    max_parallel: int | None = Field(
        default=None, ge=1, description="At most so many connections for the rows of a table."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Further parameters of libpq, for example channel_binding."
    )

    @field_validator("port", "ssl_mode", "connection_timeout_seconds", mode="before")
    @classmethod
    def _default_for_none(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @field_validator("options")
    @classmethod
    def _without_secrets(cls, options: dict[str, str]) -> dict[str, str]:
        if strange := sorted((SECRET_OPTIONS | OWN_OPTIONS) & set(options)):
            raise ValueError(f"{', '.join(strange)} has no place here; there are fields of their own")
        return options

    @property
    def server(self) -> Server:
        """The same for the transport."""
        return Server(
            host=self.host,
            port=self.port,
            database=self.database,
            username=self.username,
            password=self.password,
            ssl_mode=self.ssl_mode,
            ssl_root_cert=self.ssl_root_cert,
            connection_timeout_seconds=self.connection_timeout_seconds,
            options=self.options,
        )


class PostgresStreamOptions(Config):
    """How one table is read."""

    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not come as they would: text (the source's own), "
        "decimal(p, s), int64, float64, timestamp, ... A value that does not fit refuses the load.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns that are not read.")
    where: str | None = Field(default=None, description="An SQL condition: only these rows are read.")
    late_commit_guard: Literal["snapshot", "lag", "off"] = Field(
        default="snapshot",
        description="How rows that commit late are found: by their transaction (scans the table), by reading "
        "cursor_lag again (may use an index on the cursor), or not at all.",
    )


class PostgresSource(Source):
    """One PostgreSQL database."""

    type = "postgres"
    Config = PostgresConfig
    StreamOptions = PostgresStreamOptions
    quote = '"'
    features = (
        Feature.SPLITS
        | Feature.CURSOR
        | Feature.SNAPSHOT
        | Feature.LATE_COMMITS
        | Feature.RESUME
        | Feature.QUERY
        | Feature.LENDS
    )
    examples = (
        Example(
            "A server on this machine",
            {
                "type": "postgres",
                "host": "localhost",
                "database": "shop",
                "username": "reader",
                "password": "${POSTGRES_PASSWORD}",
                "ssl_mode": "disable",
                "tables": [{"name": "orders"}],
            },
            note="Without TLS, which is safe only where nothing leaves the machine.",
        ),
        Example(
            "TLS with the server verified",
            {
                "type": "postgres",
                "host": "db.example.com",
                "database": "shop",
                "username": "${POSTGRES_USER}",
                "password": "${POSTGRES_PASSWORD}",
                "ssl_mode": "verify-full",
                "ssl_root_cert": "certs/authority.pem",
                "schemas": ["public", "sales"],
                "tables": [{"name": "public.*", "exclude": ["*_tmp"]}],
            },
            note="verify-full is what keeps a stranger from posing as the server; require only encrypts.",
        ),
        Example(
            "Only what changed, by key",
            {
                "type": "postgres",
                "host": "db.example.com",
                "database": "shop",
                "username": "${POSTGRES_USER}",
                "password": "${POSTGRES_PASSWORD}",
                "tables": [
                    {
                        "name": "orders",
                        "mode": "merge",
                        "primary_key": "id",
                        "cursor": "updated_at",
                        "columns": {"total": "decimal(20, 4)"},
                        "exclude_columns": ["note"],
                    },
                    {
                        "name": "order_totals",
                        "query": "SELECT day, sum(total) AS total FROM orders GROUP BY day",
                    },
                ],
            },
            note="Rows that commit late are found by their transaction, whatever their updated_at says.",
        ),
    )

    def check(self) -> None:
        """Signs in; also sees that the schemas of the configuration exist."""
        with self._connected() as connection:
            wanted = list(self.config.schemas)
            known = [name for (name,) in connection.rows("SELECT nspname::text FROM pg_namespace")]
            if missing := [name for name in wanted if name not in known]:
                raise ConfigError(
                    f"{self.config.server.where} has no schema {', '.join(missing)}",
                    hint=f"there are {', '.join(sorted(n for n in known if not n.startswith('pg_')))}",
                )

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """Tables, views and the like that may be read; partitions come with their parent."""
        with self._connected() as connection:
            catalog = Catalog(connection, self.config.schemas)
            relations = list(catalog.matching(pattern))
            types = catalog.types(column for relation in relations for column in relation.columns)
        for relation in relations:
            yield relation.stream(self.config.database, types)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table, view or query as configured."""
        with self._connected() as connection:
            connection.rows("BEGIN READ ONLY")  # a query is the user's: it must not change anything
            catalog = Catalog(connection, self.config.schemas)
            relation = None if query else catalog.relation(name)
            attributes = self._attributes(connection, name, relation, query)
            types = catalog.types(attributes)
            schema = _reading(name, attributes, types, options or PostgresStreamOptions()).schema()
            if relation is not None:
                return _with_schema(relation.stream(self.config.database, types), schema)
            return Stream(f"{self.config.database}?{name}", name, "", schema)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Takes the snapshot and makes the splits. `until` is a value of the cursor as text; rows below it
        are read. Locks on the tables keep ALTER TABLE, DROP and TRUNCATE waiting until the plan is closed.

        Raises:
            PositionLost: a table was re-created, or the server restored, since the position was reached.
            SchemaChanged: a table's columns changed since it was described.
        """
        connection = Connection(self.config.server)
        forget = self.settings.cancel.on_cancel(connection.cancel)
        try:
            parallel = min(parallel, self.config.max_parallel or parallel)
            relations = self._relations(connection, selections)
            snapshot = take_snapshot(connection, [r for r in relations if r is not None])
            planner = Planner(connection, snapshot, parallel, self.settings.batch_bytes)
            plans = {}
            for selection, relation in zip(selections, self._relations(connection, selections), strict=True):
                try:
                    wish = self._wish(connection, selection, relation)
                    plans[selection.stream.id] = planner.plan(wish, since.get(selection.stream.id), until)
                except AsgardError as error:
                    raise error.at(stream=selection.stream.full_name) from error
            return PostgresPlan(connection, plans)
        except BaseException:
            connection.close()
            self.settings.cancel.check()  # a statement that fails because it was cancelled says so
            raise
        finally:
            forget()

    def open(self, split: Split, since: Token | None = None) -> Reader:
        """A Reader with a connection of its own, in the plan's snapshot."""
        return PostgresReader(self.config.server, split, self.settings.cancel)

    def _relations(self, connection: Connection, selections: Sequence[Selection]) -> list[Relation | None]:
        catalog = Catalog(connection)
        return [None if s.query else catalog.exactly(s.stream.namespace, s.stream.name) for s in selections]

    def _wish(self, connection: Connection, selection: Selection, relation: Relation | None) -> Wish:
        """What is to be read, from the catalog as the snapshot has it."""
        options = selection.options or PostgresStreamOptions()
        name = selection.stream.full_name
        attributes = self._attributes(connection, name, relation, selection.query)
        wanted = [selection.cursor] if selection.cursor else []
        refuse_unknown([*wanted, *selection.primary_key], [a.name for a in attributes], name)
        reading = _reading(name, attributes, Catalog(connection).types(attributes), options)
        if reading.schema() != selection.stream.schema:
            raise SchemaChanged(
                f"the columns of {name} changed while the run began",
                hint="run again: the new columns are taken up",
            )
        source = relation.source if relation else _subselect(selection.query or "")
        return Wish(selection, reading, attributes, relation, source, options.late_commit_guard)

    def _attributes(
        self, connection: Connection, name: str, relation: Relation | None, query: str | None
    ) -> list[Attribute]:
        if relation is not None:
            attributes = list(relation.columns)
        else:
            columns = connection.columns(f"SELECT * FROM {_subselect(query or '')} LIMIT 0")
            attributes = [Attribute(*column) for column in columns]
        if not attributes:
            raise QueryError(
                f"{name} has no columns: there is nothing to read",
                hint="exclude it, or add a column",
                where={"stream": name},
            )
        names = [attribute.name for attribute in attributes]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise QueryError(
                f"the query gives {', '.join(twice)} several times",
                hint="name its columns apart: SELECT a.id AS a_id, ...",
                where={"stream": name},
            )
        return attributes

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = Connection(self.config.server)
        forget = self.settings.cancel.on_cancel(connection.cancel)
        try:
            yield connection
        finally:
            forget()
            connection.close()


def _subselect(query: str) -> str:
    """A user's query as something to select from; it may end in a comment."""
    return f"({query.strip().rstrip(';')}\n) AS query"


def _reading(
    name: str, attributes: Sequence[Attribute], types: TypeMap, options: PostgresStreamOptions
) -> Reading:
    known = [attribute.name for attribute in attributes]
    refuse_unknown([*options.columns, *options.exclude_columns], known, name)
    read = [attribute for attribute in attributes if attribute.name not in options.exclude_columns]
    if not read:
        raise ConfigError(f"exclude_columns leaves no column of {name}", hint="leave one")
    columns = [types.column(attribute, options.columns.get(attribute.name)) for attribute in read]
    return Reading(columns, read, types, options.where or "")


def _with_schema(stream: Stream, schema: pa.Schema) -> Stream:
    return Stream(
        stream.id,
        stream.name,
        stream.namespace,
        schema,
        stream.primary_key if set(stream.primary_key) <= set(schema.names) else (),
        tuple(name for name in stream.cursor_candidates if name in schema.names),
        stream.rows,
        stream.size_bytes,
    )


CONNECTOR = PostgresSource
