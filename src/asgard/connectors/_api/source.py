"""What REST, GraphQL and SaaS connectors have in common: a Source that reads streams as a manifest says.

JSON has types for values, not for columns. `describe` looks at the first page; a plan fetches the answers
into a spool, with their types proved over every record, and its streams have the types that are right. With a
cursor a plan ends after some minutes or megabytes, and its token has the page at which the next one goes on:
a killed run has lost no more. Without one, all pages are one plan, as they must show one state of things.

An API has no snapshot, so a record that moves to another page meanwhile may come twice, or not at all: twice
is recognised by its key, a count that fell is a reason to read again. Where the API can sort by something
that does not change, ask for that in `params`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from asgard.connectors._api.config import ApiConfig, open_client
from asgard.connectors._api.cursor import Stand, Value, sent
from asgard.connectors._api.gathering import Begun, Fetched, Gathering, Wish, above
from asgard.connectors._api.manifest import Manifest
from asgard.connectors._api.options import ApiStreamOptions, Parent
from asgard.connectors._api.pages import Mark, Page, Reading
from asgard.connectors._api.paging import value_at
from asgard.connectors._api.spool import Spool, without_empty
from asgard.core.errors import ConfigError, DataError, PositionLost, QueryError
from asgard.core.position import Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import field_of, refuse_unknown
from asgard.transport.http import HttpClient, Request
from asgard.transport.json_records import RecordProofs, typed_records
from asgard.transport.oauth import TokenStore

MOST_READINGS = 3
"""How often a list whose count fell while it was read is read altogether."""
EMPTY_PAGES = 20
"""How many pages without records `describe` looks behind."""


class ApiSource(Source):
    """One API.

    Attributes:
        token_store: where refresh tokens rest that may be used once; the caller may give one of its own
            before the first request. `token_file` if there is none.
    """

    features = Feature.CURSOR
    StreamOptions = ApiStreamOptions
    config: ApiConfig
    token_store: TokenStore | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: HttpClient | None = None
        self._begun: dict[str, Begun] = {}
        self._spools: dict[str, Spool] = {}
        self._types: dict[str, dict[str, str]] = {}

    @property
    def manifest(self) -> Manifest:
        """What is known of the API."""
        return self.config.of_manifest

    def check(self) -> None:
        """Asks for what the manifest says, or for the base address: there any answer but a refusal or a
        failure will do, as few have one."""
        known = self.manifest.check
        self.http.send(Request(known), wanted=() if known else (400, 404, 405, 406, 410, 415, 422))

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """The manifest's streams, and the endpoint of a plain name: an API does not list its endpoints."""
        names = self.manifest.names(pattern)
        if not names and pattern and not any(sign in pattern for sign in "*?["):
            try:
                yield self.describe(pattern)
            except QueryError:
                if not self.manifest.streams:
                    raise
        for name in names:
            yield self.describe(name)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One endpoint as its first page shows it. The types are those of that page's records: a plan's are
        proved over all, and may be wider.

        Raises:
            DataError: there are no records, and no `columns` that say what they would be.
        """
        wanted = self.resolved(name, options, query)
        proofs = self._proofs(name, wanted, {})
        proofs.expect(wanted.columns)
        begun = Begun(wanted, self._reading(name, wanted, {}).pages())
        self._begun[name] = begun
        for page in islice(begun.rest, EMPTY_PAGES):
            begun.pages.append(page)
            proofs.see(page.records)
            if page.records:
                break
        schema = self._schema(proofs.schema, wanted, name)
        cursor = wanted.incremental.cursor if wanted.incremental else None
        candidates = (cursor,) if cursor is not None and cursor in schema.names else ()
        # No primary key: whatever an API promises, a page that shifts brings a record twice.
        return Stream(name, name, "", schema, (), candidates)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """One split for each stream, fetched. What was fetched is forgotten with the plan."""
        fetched: dict[str, Fetched] = {}
        plan = _ApiPlan(self)
        try:
            for selection in selections:
                stream = selection.stream
                wish = self._wish(selection, since.get(stream.id), until)
                found = fetched[stream.id] = self._fetched(wish)
                self._drop(stream.id)
                self._spools[stream.id] = found.spool
                plan.add(wish, found)
        except BaseException:
            plan.close()
            raise
        return plan

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The records as they were fetched; where they were not fetched in this process, fetched now."""
        spec = split.spec
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(spec["schema"])))
        spool = self._spools.get(split.stream)
        if spool is not None:
            for batch in spool.batches(schema):
                self.settings.cancel.check()
                yield batch
            return
        options = self.StreamOptions.model_validate(spec["options"])
        reading = self._reading(spec["name"], options, spec["values"])
        start = None if spec["mark"] is None else Mark.from_json(spec["mark"])
        for page in islice(reading.pages(start), spec["pages"]):
            self.settings.cancel.check()
            records = above(page.records, spec["cursor"], _bound(spec["above"]))
            records = without_empty(records, schema) if options.empty_is_null else records
            if records:
                yield typed_records(records, schema, spec["name"], frozenset(options.exclude_columns))

    def close(self) -> None:
        """Closes the connections, and forgets what was fetched."""
        self.forget(list(self._spools))
        self._begun.clear()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def forget(self, streams: Sequence[str]) -> None:
        """Forgets what was fetched of some streams."""
        for stream in streams:
            self._drop(stream)

    @property
    def http(self) -> HttpClient:
        """The connections, opened when they are first used."""
        if self._client is None:
            self._client = open_client(self.config, self.settings.cancel, self.token_store)
        return self._client

    def resolved(self, name: str, given: Any, query: str | None) -> ApiStreamOptions:
        """The stream's options with the manifest's. Connectors of a kind of their own add theirs here.

        Raises:
            ConfigError: there is no such query, or no such parent.
        """
        if query is not None:
            raise ConfigError("this API takes no query", hint="give the table path and params")
        model: Any = self.StreamOptions
        options: ApiStreamOptions = self.manifest.options(name, given, model)
        return options.model_copy(update={"parent": self._parent(options.parent)})

    def _parent(self, parent: Parent | None) -> Parent | None:
        if parent is None or parent.stream is None:
            return parent
        if parent.stream not in self.manifest.streams:
            raise ConfigError(
                f"there is no stream {parent.stream!r} that could be a parent",
                hint="name one of the manifest, or give the parent's path",
            )
        above = self.resolved(parent.stream, None, None)
        return Parent(
            path=parent.stream if above.path is None else above.path,
            params=above.params,
            records=above.records,
            pagination=above.pagination,
            include=parent.include,
        )

    def _drop(self, name: str) -> None:
        spool = self._spools.pop(name, None)
        if spool is not None:
            spool.close()

    def _reading(self, name: str, options: ApiStreamOptions, values: Mapping[str, Any]) -> Reading:
        return Reading(self.http, name, options, values)

    def _proofs(self, name: str, options: ApiStreamOptions, known: Mapping[str, Any]) -> RecordProofs:
        """What is known of the columns before any record: what the manifest and the API itself say."""
        pinned = {**options.columns, **self._told_types(name, options), **options.columns}
        proofs = RecordProofs(pinned, frozenset(options.exclude_columns))
        if self.manifest.streams:
            proofs.expect(pinned)
        proofs.recall(known)
        return proofs

    def _told_types(self, name: str, options: ApiStreamOptions) -> dict[str, str]:
        """Types of the wanted properties by the endpoint that tells them; asked once a source."""
        asked = options.types_from
        if asked is None:
            return {}
        key = f"{asked.path} {options.label or name}"
        if key not in self._types:
            about = ApiStreamOptions(path=asked.path, records=asked.records)
            told: dict[str, str] = {}
            for page in self._reading(options.label or name, about, {}).pages():
                for record in page.records:
                    word = asked.words.get(str(value_at(record, asked.kind)), "text")
                    told[str(value_at(record, asked.name))] = word
            self._types[key] = told
        told = self._types[key]
        if strange := [name for name in options.properties if name not in told]:
            raise QueryError(f"{name} has no {', '.join(strange)}", hint="look at `properties` of the table")
        return {name: told[name] for name in options.properties}

    def _schema(self, proved: pa.Schema, options: ApiStreamOptions, name: str) -> pa.Schema:
        if proved.names:
            refuse_unknown(options.columns, proved.names, name)
            return proved
        if not options.columns:
            raise DataError(
                f"{name} has no records, so that nothing tells its columns",
                hint="name them with their types in `columns`, or load it when it has some",
                where={"stream": name},
            )
        return pa.schema(field_of(column, word) for column, word in options.columns.items())

    def _wish(self, selection: Selection, position: Position | None, until: Token | None) -> Wish:
        """What is to be fetched, from which value and page on."""
        stream, cursor = selection.stream, selection.cursor
        options = self.resolved(stream.name, selection.options, selection.query)
        where = {"stream": stream.name}
        if cursor is None:
            return Wish(selection, options)
        increment = options.incremental
        if increment is None or (increment.cursor is not None and increment.cursor != cursor):
            known = f"`cursor: {increment.cursor}`" if increment else "`incremental: {param: updated_since}`"
            raise ConfigError(
                f"{stream.name} cannot be read from a {cursor} on",
                hint=f"{known} says how the API is asked for what changed; without a cursor, mode: merge "
                "and a primary_key write only what changed",
                where=where,
            )
        if until is not None and increment.end_param is None:
            raise ConfigError(
                f"{stream.name} has no upper bound", hint="set incremental.end_param", where=where
            )
        if position is not None and position.pending is not None:
            raise PositionLost(
                "the position is half of another connector's plan",
                hint=f"asgard resync {stream.name}",
                where=where,
            )
        token = None if position is None else position.token
        stand = Stand(cursor) if token is None else Stand.of(token, cursor, stream.name)
        values: dict[str, Any] = {} if until is None else {"until": until}
        if stand.value is not None:
            lag = selection.cursor_lag or increment.lag_seconds
            bound = sent(stand.value, lag, increment, {**where, "column": cursor})
            values["since"] = str(bound) if increment.as_text else bound
        return Wish(selection, options, increment, stand, values)

    def _fetched(self, wish: Wish) -> Fetched:
        """The pages of a wish; those of a list whose count falls meanwhile are read again."""
        name = wish.selection.stream.name
        for attempt in range(MOST_READINGS):
            begun = self._begun.pop(name, None)
            if begun and wish.is_whole and begun.options == wish.options:
                pages: Iterator[Page] = chain(begun.pages, begun.rest)
            else:
                pages = self._reading(name, wish.options, wish.values or {}).pages(wish.start)
            try:
                proofs = self._proofs(name, wish.options, wish.known)
            except (KeyError, TypeError, ValueError) as error:
                raise PositionLost(
                    "the position's columns cannot be read", hint=f"asgard resync {name}"
                ) from error
            gathering = Gathering(wish, proofs, pages, self.settings.cancel)
            found = gathering.all()
            if not gathering.fell:
                return found
            if attempt + 1 < MOST_READINGS:
                found.spool.close()
        told = f"{name}: records were taken away while the list was read: one that moved up may be missing"
        return replace(found, warnings=(*found.warnings, told))


class _ApiPlan(Plan):
    """A plan of fetched streams."""

    def __init__(self, source: ApiSource) -> None:
        super().__init__(())
        self._source = source

    def add(self, wish: Wish, found: Fetched) -> None:
        """Adds a stream that was fetched."""
        stream, options = wish.selection.stream, wish.options
        schema = found.spool.schema
        if schema.names or wish.is_whole:
            schema = self._source._schema(schema, options, stream.name)
        else:
            schema = stream.schema  # nothing changed, and nothing is known of before
        self.streams[stream.id] = replace(stream, schema=schema, size_bytes=found.spool.size_bytes)
        mark = wish.start
        spec = {
            "name": stream.name,
            "options": options.model_dump(mode="json", exclude_defaults=True),
            "schema": schema.serialize().to_pybytes().hex(),
            "values": dict(wish.values or {}),
            "mark": None if mark is None else mark.to_json(),
            "pages": found.pages,
            "cursor": wish.selection.cursor,
            "above": None if wish.above is None else [type(wish.above).__name__, str(wish.above)],
        }
        if found.spool.rows:
            self.splits += (Split(stream.id, stream.id, spec, size_bytes=found.spool.size_bytes),)
        if found.token is not None:
            self.tokens[stream.id] = found.token
        if found.goes_on:
            self.resumed |= {stream.id}
        self.warnings += found.warnings

    def close(self) -> None:
        """Forgets what was fetched."""
        self._source.forget(list(self.streams))


def _bound(written: Any) -> Value | None:
    if written is None:
        return None
    kind, text = written
    return str(text) if kind == "str" else Decimal(text)
