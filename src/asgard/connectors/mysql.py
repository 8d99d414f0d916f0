"""MySQL and MariaDB: tables, views and queries, in one snapshot, every type exact or refused.

Rows come by the text protocol, taken apart in bulk; several connections read ranges of a table's key at one
instant. The parts: `_mysql.types` says how each type is carried, `_mysql.catalog` what there is,
`_mysql.cursor` which rows are new, `_mysql.splits` and `_mysql.plan` who reads what. Decisions:
docs/decisions/0090 to 0092.

Reference: https://dev.mysql.com/doc/refman/8.0/en/
Reference: https://mariadb.com/kb/en/documentation/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator

from asgard.connectors._mysql.catalog import Catalog, Relation, source_of
from asgard.connectors._mysql.plan import (
    MysqlPlan,
    Planner,
    Snapshot,
    Wish,
    probe,
    stamped,
    take_snapshot,
)
from asgard.connectors._mysql.reader import MysqlReader
from asgard.connectors._mysql.splits import Reading
from asgard.connectors._mysql.types import Attribute, column_of
from asgard.core.config import Config, LocalPath
from asgard.core.errors import AsgardError, ConfigError, QueryError, SchemaChanged
from asgard.core.position import Position, Token
from asgard.core.secret import Secret
from asgard.core.source import Example, Feature, Plan, Reader, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import ColumnTypes, refuse_unknown
from asgard.transport.mysql import Connection, Server
from asgard.transport.sql_plan import StreamPlan


class MysqlConfig(Config):
    """Where the server is and how to sign in."""

    host: str = Field(description="Name or address of the server, or the path of its socket.")
    port: int = Field(default=3306, ge=1, le=65535)
    database: str = Field(min_length=1, description="The database on the server.")
    username: str | None = Field(default=None, validation_alias=AliasChoices("username", "user"))
    password: Secret | None = Field(default=None)
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="require",
        description="As libpq means it: require encrypts and verifies nobody, verify-full does both.",
    )
    ssl_root_cert: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust; the system's when left out."
    )
    connection_timeout_seconds: float = Field(
        default=30,
        gt=0,
        validation_alias=AliasChoices("connection_timeout_seconds", "connection_timeout"),
        description="How long signing in may take as a whole.",
    )
    read_timeout_seconds: float = Field(
        default=600,
        gt=0,
        validation_alias=AliasChoices("read_timeout_seconds", "read_timeout"),
        description="How long the server may be silent in the middle of an answer, or before its first row.",
    )
    max_parallel: int | None = Field(
        default=None, ge=1, description="At most so many connections for the rows of a table."
    )

    @field_validator("port", "ssl_mode", "connection_timeout_seconds", "read_timeout_seconds", mode="before")
    @classmethod
    def _default_for_none(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

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
            read_timeout_seconds=self.read_timeout_seconds,
        )


class MysqlStreamOptions(Config):
    """How one table is read."""

    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not come as they would: text (the source's own), "
        "decimal(p, s), int64, float64, bool, timestamp, ... A value that does not fit refuses the load.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Columns that are not read.")
    where: str | None = Field(default=None, description="An SQL condition: only these rows are read.")
    zero_dates: Literal["refuse", "null"] = Field(
        default="refuse",
        description="What becomes of dates like 0000-00-00 and 2024-02-00: they stop the load or are null.",
    )
    late_commit_guard: Literal["transactions", "lag", "off"] = Field(
        default="transactions",
        description="How rows that commit late are found: by waiting for the transactions that are writing "
        "(needs PROCESS), by reading cursor_lag again, or not at all.",
    )


class MysqlSource(Source):
    """One database of a MySQL or MariaDB server."""

    type = "mysql"
    Config = MysqlConfig
    StreamOptions = MysqlStreamOptions
    quote = "`"
    features = (
        Feature.SPLITS
        | Feature.CURSOR
        | Feature.SNAPSHOT
        | Feature.LATE_COMMITS
        | Feature.RESUME
        | Feature.QUERY
    )
    extra = "mysql"
    examples = (
        Example(
            "A server on this machine",
            {
                "type": "mysql",
                "host": "localhost",
                "database": "shop",
                "username": "reader",
                "password": "${MYSQL_PASSWORD}",
                "ssl_mode": "disable",
                "tables": [{"name": "orders"}],
            },
            note="Without TLS, which is safe only where nothing leaves the machine.",
        ),
        Example(
            "MariaDB, TLS with the server verified",
            {
                "type": "mariadb",
                "host": "db.example.com",
                "database": "shop",
                "username": "${MYSQL_USER}",
                "password": "${MYSQL_PASSWORD}",
                "ssl_mode": "verify-full",
                "ssl_root_cert": "certs/authority.pem",
                "tables": [{"name": "*", "exclude": ["*_tmp"]}],
            },
            note="verify-full is what keeps a stranger from posing as the server; require only encrypts.",
        ),
        Example(
            "Only what changed, by key",
            {
                "type": "mysql",
                "host": "db.example.com",
                "database": "shop",
                "username": "${MYSQL_USER}",
                "password": "${MYSQL_PASSWORD}",
                "tables": [
                    {
                        "name": "orders",
                        "mode": "merge",
                        "primary_key": "id",
                        "cursor": "updated_at",
                        "columns": {"is_paid": "bool"},
                        "zero_dates": "null",
                    },
                    {
                        "name": "order_totals",
                        "query": "SELECT day, sum(total) AS total FROM orders GROUP BY day",
                    },
                ],
            },
            note="With PROCESS the reader waits for transactions that are writing, so that no row is missed.",
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._snapshots: dict[str, Snapshot] = {}

    def check(self) -> None:
        """Signs in and asks the catalog for a name."""
        with self._connected() as connection:
            connection.rows("SELECT 1 FROM information_schema.tables LIMIT 1")

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """Tables and views of the database that may be read."""
        with self._connected() as connection:
            relations = list(self._catalog(connection).matching(pattern))
        for relation in relations:
            yield relation.stream(self.config.database)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table, view or query as configured."""
        with self._connected() as connection:
            connection.rows("START TRANSACTION READ ONLY")  # a query is the user's: it must change nothing
            relation = None if query else self._catalog(connection).relation(name)
            attributes = self._attributes(connection, name, relation, query)
            schema = _reading(name, attributes, options or MysqlStreamOptions()).schema()
        if relation is not None:
            return relation.stream(self.config.database, schema)
        return Stream(f"{self.config.database}?{name}", name, "", schema)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Finds the bounds, makes the splits and takes the snapshot. `until` is a value of the cursor as
        text; rows below it are read. While it is open ALTER TABLE, DROP and TRUNCATE of its tables wait.

        A split that is read where the plan is not (another process) is read in a snapshot of its own.

        Raises:
            SchemaChanged: a table's columns changed since it was described.
        """
        cancel = self.settings.cancel
        control = Connection(self.config.server)
        forget = cancel.on_cancel(control.cancel)
        try:
            planner = Planner(control, min(parallel, self.config.max_parallel or parallel), cancel)
            plans: dict[str, StreamPlan] = {}
            for selection in selections:
                with _at(selection.stream):
                    wish = self._wish(control, selection)
                    plans[selection.stream.id] = planner.plan(wish, since.get(selection.stream.id), until)
            count = min(
                parallel, self.config.max_parallel or parallel, sum(len(p.splits) for p in plans.values())
            )
            snapshot, warnings = take_snapshot(control, self.config.server, count, cancel)
        except BaseException:
            forget()
            control.close()
            cancel.check()  # a statement that fails because it was cancelled says so
            raise
        try:
            stamped(plans, snapshot)
            probe(control, plans)
            for selection in selections:
                with _at(selection.stream):
                    self._wish(control, selection)  # nothing changed on the way to the snapshot
        except BaseException:
            snapshot.close()
            cancel.check()
            raise
        finally:
            forget()
        self._snapshots[snapshot.key] = snapshot
        return MysqlPlan(plans, lambda: self._end(snapshot), warnings)

    def open(self, split: Split, since: Token | None = None) -> Reader:
        """A Reader in the plan's snapshot."""
        snapshot = self._snapshots.get(split.spec["snapshot"])
        return MysqlReader(self.config.server, split, snapshot, self.settings.cancel)

    def close(self) -> None:
        """Ends the snapshots of plans that are still open."""
        for snapshot in list(self._snapshots.values()):
            self._end(snapshot)

    def _end(self, snapshot: Snapshot) -> None:
        self._snapshots.pop(snapshot.key, None)
        snapshot.close()

    def _catalog(self, connection: Connection) -> Catalog:
        return Catalog(connection, self.config.database)

    def _wish(self, connection: Connection, selection: Selection) -> Wish:
        """What is to be read, from the catalog as it is now."""
        options = selection.options or MysqlStreamOptions()
        name = selection.stream.full_name
        relation = None if selection.query else self._catalog(connection).relation(selection.stream.name)
        attributes = self._attributes(connection, name, relation, selection.query)
        wanted = [selection.cursor] if selection.cursor else []
        refuse_unknown([*wanted, *selection.primary_key], [a.name for a in attributes], name)
        reading = _reading(name, attributes, options)
        if reading.schema() != selection.stream.schema:
            raise SchemaChanged(
                f"the columns of {name} changed while the run began",
                hint="run again: the new columns are taken up",
            )
        source = source_of(relation, selection.query or "")
        return Wish(selection, reading, attributes, relation, source, options.late_commit_guard)

    def _attributes(
        self, connection: Connection, name: str, relation: Relation | None, query: str | None
    ) -> list[Attribute]:
        if relation is not None:
            return list(relation.columns)
        attributes = self._catalog(connection).query(source_of(None, query or ""))
        if not attributes:
            raise QueryError(f"{name} gives no columns", hint="a query is a SELECT", where={"stream": name})
        return attributes

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = Connection(self.config.server)
        forget = self.settings.cancel.on_cancel(connection.cancel)
        try:
            yield connection
        except AsgardError:
            self.settings.cancel.check()
            raise
        finally:
            forget()
            connection.close()


@contextmanager
def _at(stream: Stream) -> Iterator[None]:
    try:
        yield
    except AsgardError as error:
        raise error.at(stream=stream.full_name) from error


def _reading(name: str, attributes: Sequence[Attribute], options: MysqlStreamOptions) -> Reading:
    known = [attribute.name for attribute in attributes]
    refuse_unknown([*options.columns, *options.exclude_columns], known, name)
    read = [attribute for attribute in attributes if attribute.name not in options.exclude_columns]
    if not read:
        raise ConfigError(f"exclude_columns leaves no column of {name}", hint="leave one")
    columns = [column_of(attribute, options.columns.get(attribute.name)) for attribute in read]
    return Reading(columns, read, options.where or "", options.zero_dates)


CONNECTOR = MysqlSource
