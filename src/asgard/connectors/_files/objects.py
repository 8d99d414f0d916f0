"""What the sources of files in buckets have in common: the bucket as a place, and SQL over its objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import AliasChoices, Field

from asgard.connectors._files.formats import FilesStreamOptions, FormatName
from asgard.connectors._files.sets import FileSet, named_set
from asgard.connectors._files.source import FileSource
from asgard.core.errors import ConfigError, QueryError, SchemaChanged
from asgard.core.position import Position, Token
from asgard.core.source import Feature, Plan
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.cloud import CloudConnection
from asgard.transport.duck import literal, replacing_floats
from asgard.transport.objects import Bucket

if TYPE_CHECKING:
    from asgard.transport.duck import Connection

TABLE = "object"
"""What a query calls the objects that the table's path means."""
QUERY_BATCH_ROWS = 16_384


class ObjectsConfig(CloudConnection):
    """Where the objects are, and how they are written."""

    format: FormatName | None = Field(
        default=None,
        validation_alias=AliasChoices("format", "file_type"),
        description="csv, tsv, json, jsonl, parquet or excel, for objects whose names do not tell.",
    )


class ObjectsSource(FileSource):
    """Files below a prefix of a bucket."""

    Config = ObjectsConfig
    far = True
    features = FileSource.features | Feature.QUERY

    @cached_property
    def place(self) -> Bucket:
        """The bucket, below the prefix."""
        bucket: Bucket = self.config.open(self.settings.cancel)
        return bucket

    def place_of(self, options: FilesStreamOptions) -> Bucket:
        """The place as a table wants it."""
        return self.place

    def file_set(self, name: str, options: FilesStreamOptions) -> FileSet:
        """As FileSource; a path may be a URL, too."""
        if options.path is not None:
            options = options.model_copy(update={"path": _below(self.place, options.path)})
        return named_set(self.place_of(options), name, options, self.config.format)

    def check(self) -> None:
        """Lists a little of the bucket."""
        self.place.check()

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """As FileSource; the columns of a query are found without reading a row.

        In a query `object` is what the table's path means, of any format. A URL is Parquet alone, of which a
        query reads the columns and row groups that it needs.
        """
        if query is None:
            return super().describe(name, options)
        with self._asked(query, name, options or self.options_of({}), rows=False) as result:
            return Stream(name, name, "", result.schema)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """As FileSource; a query is one split, and is read anew each time."""
        plan = super().plan([s for s in selections if s.query is None], since, until, parallel)
        splits = [_query_split(s, self.options_of({})) for s in selections if s.query is not None]
        return Plan(
            [*plan.splits, *splits], plan.tokens, plan.resumable, plan.resumed, plan.warnings, plan.streams
        )

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """As FileSource; the rows of a query as DuckDB finds them."""
        if "query" not in split.spec:
            yield from super().read(split)
            return
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(split.spec["schema"])))
        options = self.options_of(split.spec["options"])
        with self._asked(split.spec["query"], split.spec["name"], options, rows=True) as result:
            if not result.schema.equals(schema):
                raise SchemaChanged(
                    f"the query's columns are {result.schema.names} now, and were {schema.names}",
                    hint="run again when nobody writes to the bucket",
                    where={"stream": split.spec["name"]},
                )
            for batch in result:
                self.settings.cancel.check()
                yield batch

    @contextmanager
    def _asked(
        self, query: str, name: str, options: FilesStreamOptions, *, rows: bool
    ) -> Iterator[pa.RecordBatchReader]:
        """The query's result.

        Args:
            rows: False for the columns alone; text files are then not looked at beyond their types.
        """
        from asgard.transport.object_query import query_room

        self.settings.cancel.check()
        with query_room(self.place) as room:
            if options.path is not None:
                self._name_object(room, name, options, rows=rows)
            found = room.sql(query)
            if found is None:
                raise QueryError(
                    "the query gives no rows", hint="a query is one SELECT", where={"stream": name}
                )
            yield (found if rows else found.limit(0)).to_arrow_reader(QUERY_BATCH_ROWS)

    def _name_object(self, room: Connection, name: str, options: FilesStreamOptions, *, rows: bool) -> None:
        """Makes `object` what the path means: Parquet where it lies, other formats as a table of DuckDB's."""
        table = self.file_set(name, options)
        if table.format == "parquet" and not (options.hive or options.columns or options.exclude_columns):
            urls = ", ".join(literal(f"{self.place.url}/{file.path}") for file in table.files)
            there = f"FROM read_parquet([{urls}], union_by_name = true)"
            columns = room.sql(f"{there} LIMIT 0").to_arrow_reader().schema
            room.execute(f"CREATE TEMP VIEW {TABLE} AS SELECT *{replacing_floats(columns)} {there}")
            return
        selection = Selection(super().describe(name, options), options=options)
        with super().plan([selection], {}) as plan:
            schema = plan.stream_of(selection).schema

            def give(batches: Sequence[pa.RecordBatch], statement: str) -> None:
                room.register("given", pa.RecordBatchReader.from_batches(schema, batches))
                room.execute(f"{statement} SELECT * FROM given")

            give([], f"CREATE TEMP TABLE {TABLE} AS")
            if rows:
                for batch in chain.from_iterable(map(super().read, plan.splits)):
                    give([batch], f"INSERT INTO {TABLE}")


def _below(place: Bucket, path: str) -> str:
    """The path relative to the prefix.

    Raises:
        ConfigError: it is the URL of something else.
    """
    if "://" not in path:
        return path.lstrip("/")
    if not path.startswith(f"{place.location}/"):
        raise ConfigError(
            f"{path} is not below {place.location}", hint="a path is relative to the bucket and its prefix"
        )
    return path.removeprefix(f"{place.location}/")


def _query_split(selection: Selection, defaults: FilesStreamOptions) -> Split:
    stream, options = selection.stream, selection.options or defaults
    spec = {
        "query": selection.query,
        "name": stream.name,
        "options": options.model_dump(mode="json", exclude_defaults=True),
        "schema": stream.schema.serialize().to_pybytes().hex(),
    }
    return Split("query", stream.id, spec)
