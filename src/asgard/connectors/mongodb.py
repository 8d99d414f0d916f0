"""MongoDB: collections, views and pipelines; documents kept as JSON, or flattened into typed columns.

Documents come as BSON bytes and go into Arrow a column at a time. The parts: `_mongodb.bson` takes documents
apart, `_mongodb.json` writes Extended JSON, `_mongodb.columns` and `_mongodb.decode` make columns and rescue
what fits none, `_mongodb.asking` is what the server is asked, `_mongodb.cursor` which documents are new,
`_mongodb.splits` who reads what. Decisions: docs/decisions/0093 to 0095.

There is no snapshot: a document that changes while a collection is read comes as it was or as it is, and one
that is deleted or added meanwhile may come or not. Each is read once, because `_id` never changes.

Reference: https://www.mongodb.com/docs/manual/reference/
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import AliasChoices, Field, field_validator, model_validator

from asgard.connectors._mongodb.asking import Question, question_of, question_of_query
from asgard.connectors._mongodb.columns import (
    DOCUMENT,
    ID,
    RESCUED,
    Column,
    Layout,
    MongoTypes,
    Seen,
    path_of,
    sampled,
    settled,
)
from asgard.connectors._mongodb.plan import Planner, Wish, statistics_of
from asgard.core.config import Config, LocalPath
from asgard.core.errors import AsgardError, ConfigError, QueryError
from asgard.core.position import Position, Token
from asgard.core.secret import Secret, reveal
from asgard.core.source import Example, Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.mongo import (
    Deployment,
    Server,
    from_extended_json,
    near_names,
)

PIECE_BYTES = 2 << 20
"""As many documents are taken apart together; larger pieces leave the processor's cache."""
ANSWER_BYTES = 4 << 20
FEWEST_DOCUMENTS = 100
UNMEASURED_DOCUMENTS = 1000


class MongoConfig(Config):
    """Where the deployment is and how to sign in."""

    host: str = Field(
        default="localhost", description="Name or address of a server; several as host:port,host:port."
    )
    port: int = Field(default=27017, ge=1, le=65535)
    database: str = Field(default="", description="The database; that of the URL when left out.")
    username: str | None = Field(default=None, validation_alias=AliasChoices("username", "user"))
    password: Secret | None = Field(default=None)
    url: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("url", "uri", "connection_string"),
        description="A connection string, mongodb:// or mongodb+srv://, instead of host and port.",
    )
    auth_source: str | None = Field(
        default=None,
        validation_alias=AliasChoices("auth_source", "authSource"),
        description="The database that the user was made in; admin when left out.",
    )
    replica_set: str | None = Field(
        default=None,
        validation_alias=AliasChoices("replica_set", "replicaSet"),
        description="Name of the replica set, to find its other members.",
    )
    ssl_mode: Literal["disable", "require", "verify-ca", "verify-full"] = Field(
        default="require",
        description="require encrypts and verifies nobody, verify-full does both. With a URL it counts only "
        "where it is written; else the URL says it.",
    )
    ssl_root_cert: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust; the system's when left out."
    )
    connection_timeout_seconds: float = Field(
        default=30,
        gt=0,
        validation_alias=AliasChoices("connection_timeout_seconds", "connection_timeout"),
        description="How long a server is looked for.",
    )
    timeout_seconds: float = Field(
        default=300, gt=0, description="How long one answer may take before the connection counts as dead."
    )
    read_preference: Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"] = (
        Field(default="primary", description="Which members of a replica set are read.")
    )
    read_concern: Literal["local", "available", "majority", "linearizable"] = Field(
        default="majority", description="majority reads nothing that a failover could take back."
    )
    max_parallel: int | None = Field(
        default=None, ge=1, description="At most so many cursors for the documents of a collection."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Further options of a connection string, for example compressors."
    )

    @field_validator("port", "ssl_mode", "connection_timeout_seconds", mode="before")
    @classmethod
    def _default_for_none(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @model_validator(mode="after")
    def _with_a_database(self) -> Self:
        if not self.server.database:
            raise ValueError("database is missing: the name within the deployment")
        return self

    @property
    def server(self) -> Server:
        """The same for the transport."""
        given = self.model_fields_set
        url = reveal(self.url) or ""
        path = url.partition("://")[2].partition("?")[0].partition("/")[2]
        return Server(
            database=self.database or path,
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            url=self.url,
            auth_source=self.auth_source,
            replica_set=self.replica_set,
            ssl_mode=self.ssl_mode if self.url is None or "ssl_mode" in given else None,
            ssl_root_cert=self.ssl_root_cert,
            connection_timeout_seconds=self.connection_timeout_seconds,
            timeout_seconds=self.timeout_seconds,
            read_preference=self.read_preference,
            read_concern=self.read_concern,
            options=self.options,
        )


class MongoStreamOptions(Config):
    """How one collection is read."""

    filter: dict[str, Any] = Field(
        default_factory=dict, description="Only these documents are read; Extended JSON."
    )
    pipeline: tuple[dict[str, Any], ...] = Field(
        default=(), description="An aggregation whose result is read, behind the filter; Extended JSON."
    )
    flatten: int = Field(
        default=0,
        ge=0,
        le=20,
        description="0 keeps each document as JSON in the column document; 1 makes columns of its fields, 2 "
        "opens objects in them too, and so on. Lists and what lies deeper stay JSON.",
    )
    columns: MongoTypes = Field(
        default_factory=dict,
        description="Types of fields, by path (address.city): text, int64, decimal(p, s), timestamptz, json, "
        "objectid, uuid, decimal128, ... A value that does not fit goes to _rescued.",
    )
    exclude_columns: tuple[str, ...] = Field(
        default=(), description="Fields, by path, that the server leaves out."
    )
    sample_documents: int = Field(
        default=1000,
        ge=0,
        description="So many documents tell the types that are not declared, half of them the first, half "
        "the last; 0 leaves fields that are not declared to _rescued.",
    )
    json_form: Literal["relaxed", "canonical"] = Field(
        default="relaxed", description="The form of Extended JSON; canonical wraps every number."
    )
    keep_nulls: bool = Field(
        default=False,
        description="Writes fields that are null to _rescued, so that they differ from missing ones.",
    )
    wrapper_names: Literal["refuse", "keep"] = Field(
        default="refuse",
        description="What to do with fields whose own name means a type in Extended JSON, such as $date.",
    )


class MongoSource(Source):
    """One MongoDB database."""

    type = "mongodb"
    Config = MongoConfig
    StreamOptions = MongoStreamOptions
    extra = "mongodb"
    features = Feature.SPLITS | Feature.CURSOR | Feature.RESUME | Feature.QUERY | Feature.LENDS
    examples = (
        Example(
            "Documents as JSON, anew each time",
            {
                "type": "mongodb",
                "host": "localhost",
                "database": "shop",
                "username": "reader",
                "password": "${MONGODB_PASSWORD}",
                "ssl_mode": "disable",
                "tables": [{"name": "orders"}],
            },
            note="Without TLS, which is safe only where nothing leaves the machine.",
        ),
        Example(
            "Columns, only what changed",
            {
                "type": "mongodb",
                "url": "${MONGODB_URL}",
                "database": "shop",
                "tables": [
                    {
                        "name": "orders",
                        "mode": "merge",
                        "primary_key": "_id",
                        "cursor": "updated_at",
                        "cursor_lag": "5m",
                        "flatten": 2,
                        "columns": {"total": "decimal(20, 4)", "updated_at": "timestamptz"},
                        "exclude_columns": ["attachments"],
                    }
                ],
            },
            note="A value that does not fit its column is kept in _rescued, under its path.",
        ),
        Example(
            "A filter and a pipeline",
            {
                "type": "mongodb",
                "url": "${MONGODB_URL}",
                "database": "shop",
                "tables": [
                    {
                        "name": "orders",
                        "filter": {
                            "customer": {"$oid": "507f1f77bcf86cd799439011"},
                            "placed": {"$gte": {"$date": "2026-01-01T00:00:00Z"}},
                        },
                        "pipeline": [{"$unwind": "$lines"}, {"$project": {"lines": 1, "placed": 1}}],
                        "flatten": 1,
                    }
                ],
            },
            note="ObjectIds and dates are written as Extended JSON.",
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._open: Deployment | None = None

    def check(self) -> None:
        """Signs in and looks for the database."""
        known = self._deployment.database_names()
        if not self._deployment.collections() and known and self.config.server.database not in known:
            raise QueryError(
                f"{self.config.server.address} has no database {self.config.server.database!r}",
                hint=near_names(self.config.server.database, known),
            )

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """Collections and views, each as `_id` and document."""
        for name in sorted(self._deployment.collections()):
            if name == pattern or fnmatchcase(name, pattern):
                yield self.describe(name)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One collection, view, pipeline or query as configured; looks at a sample where types are not
        declared."""
        wanted: MongoStreamOptions = options or MongoStreamOptions()
        question = self._question(name, wanted, query)
        try:
            kind = self._kind(question.collection)
            schema = self._layout(question, kind, wanted).schema
        except AsgardError as error:
            raise error.at(stream=name) from error
        stored = kind == "collection" and question.is_plain
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        statistics = statistics_of(self._deployment, question.collection) if kind == "collection" else {}
        return Stream(
            id=f"{self.config.server.database}{'?' if query else '/'}{name}",
            name=name,
            namespace="",
            schema=schema,
            primary_key=(ID,) if stored and ID in schema.names else (),
            cursor_candidates=tuple(times),
            rows=statistics.get("count") if stored and not wanted.filter else None,
            size_bytes=statistics.get("size") if stored and not wanted.filter else None,
        )

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Finds the cursor's bound and makes splits. `until` is a value of the cursor as text.

        Raises:
            PositionLost: the collection was made anew, or its cursor is another one.
            DataError: the cursor has values that cannot be compared with each other.
        """
        self.settings.cancel.check()
        parallel = min(parallel, self.config.max_parallel or parallel)
        planner = Planner(self._deployment, until, parallel)
        for selection in selections:
            name = selection.stream.name
            try:
                options: MongoStreamOptions = selection.options or MongoStreamOptions()
                question = self._question(name, options, selection.query)
                layout = _layout_of(selection.stream.schema, options)
                stored = self._kind(question.collection) == "collection"
                planner.add(Wish(selection, question, layout, stored), since.get(selection.stream.id))
            except AsgardError as error:
                raise error.at(stream=name) from error
        return planner.plan()

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The documents of a split."""
        from asgard.connectors._mongodb.bson import pieces
        from asgard.connectors._mongodb.decode import Decoder

        spec = split.spec
        decoder = Decoder(Layout.from_spec(spec["layout"]), spec["keys"])
        asked = from_extended_json(spec["asked"])
        most_bytes = min(self.settings.batch_bytes, PIECE_BYTES)
        self.settings.cancel.check()
        try:
            for raw in self._deployment.raw_batches(spec["collection"], asked, spec["documents"], most_bytes):
                for piece in pieces(raw, most_bytes):
                    self.settings.cancel.check()
                    yield decoder.batch(piece)
        except AsgardError as error:
            raise error.at(stream=split.stream) from error

    def close(self) -> None:
        """Ends the connections."""
        with self._lock:
            found, self._open = self._open, None
        if found is not None:
            found.close()

    @property
    def _deployment(self) -> Deployment:
        with self._lock:
            if self._open is None:
                self._open = Deployment(self.config.server)
            return self._open

    def _question(self, name: str, options: MongoStreamOptions, query: str | None) -> Question:
        if query is not None:
            if options.filter or options.pipeline or options.exclude_columns:
                raise ConfigError(
                    "a query says itself what is read: filter, pipeline and exclude_columns have no place "
                    "beside it",
                    hint="put them into the query",
                )
            return question_of_query(query)
        return question_of(name, options.filter, options.pipeline, options.exclude_columns)

    def _kind(self, collection: str) -> str:
        """collection, view or timeseries.

        Raises:
            QueryError: there is none of that name.
        """
        known = self._deployment.collections()
        if collection not in known:
            raise QueryError(
                f"{self.config.server.where} has no collection {collection!r}",
                hint=near_names(collection, list(known)),
            )
        return known[collection]

    def _layout(self, question: Question, kind: str, options: MongoStreamOptions) -> Layout:
        """The columns, from what is declared, the ids there are, and a sample."""
        stored = kind == "collection" and question.is_plain
        excluded = {path_of(written) for written in options.exclude_columns}
        seen: dict[str, Seen] = {}
        if options.sample_documents and (options.flatten or not stored):
            seen = self._sampled(question, stored, options)
        id: Column | None = None
        if (ID,) not in excluded:
            at = seen.pop(ID, None)
            if stored:
                id = Column((ID,), self._id_word(question.collection))
            elif at is not None:
                id = Column((ID,), (at.word or "json") if at.is_uniform and at.word != "object" else "json")
        found = sampled(seen, options.flatten) if options.flatten else []
        return Layout(settled(id, found, options.columns), *_flags(options))

    def _sampled(self, question: Question, stored: bool, options: MongoStreamOptions) -> dict[str, Seen]:
        from asgard.connectors._mongodb.bson import pieces
        from asgard.connectors._mongodb.decode import count_kinds

        half = max(options.sample_documents // 2, 1)
        asked = [question.first(half)]
        if stored:
            asked.append(question.first(half, {ID: -1}))
        seen: dict[str, Seen] = {}
        for one in asked:
            for raw in self._deployment.raw_batches(one.collection, one.asked(), half, PIECE_BYTES):
                for piece in pieces(raw, PIECE_BYTES):
                    count_kinds(piece, options.flatten, seen)
        return seen

    def _id_word(self, collection: str) -> str:
        """The type of all ids: ids are sorted by type first, so the lowest and the highest tell."""
        ends = [
            self._deployment.documents(
                collection, {"filter": {}, "projection": {ID: 1}, "sort": [(ID, way)], "limit": 1}
            )
            for way in (1, -1)
        ]
        words = {_word_of_id(found[0][ID]) for found in ends if found}
        return words.pop() if len(words) == 1 else "json" if words else "objectid"


def _flags(options: MongoStreamOptions) -> tuple[bool, bool, bool, bool]:
    return (
        options.flatten == 0,
        options.json_form == "canonical",
        options.wrapper_names == "keep",
        options.keep_nulls,
    )


def _layout_of(schema: pa.Schema, options: MongoStreamOptions) -> Layout:
    """The layout that gave the schema: what was described is what is read."""
    own = {DOCUMENT, RESCUED}
    return Layout(tuple(Column.of(field) for field in schema if field.name not in own), *_flags(options))


def _word_of_id(id: Any) -> str:
    known: tuple[tuple[str, str], ...] = (
        ("ObjectId", "objectid"), ("str", "text"), ("int", "int64"), ("Int64", "int64"), ("float", "float64"),
        ("DatetimeMS", "timestamptz"), ("bytes", "binary"),
    )  # fmt: skip
    if type(id).__name__ == "Binary" and id.subtype == 4:
        return "uuid"
    return next((word for name, word in known if type(id).__name__ == name), "json")


CONNECTOR = MongoSource
