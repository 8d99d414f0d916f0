"""REST APIs that answer in JSON: one table for each endpoint, read page by page.

JSON has types for values, not for columns: all pages are fetched into a temporary file first, their types
proved over every record (`transport.json_records`), then read back. What is held in memory is one page.
Everything is read anew each time. An API has no snapshot, so a record that moves to another page meanwhile
may come twice or not at all: where it can sort by something that does not change, ask for that in `params`.

Reference: https://www.rfc-editor.org/rfc/rfc9110, https://www.rfc-editor.org/rfc/rfc8288 (Link)
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema, model_validator

from asgard.connectors._rest_pages import AutoPages, Endpoint, Pagination, page_records, pages, parsed
from asgard.core.budget import MEBIBYTE
from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError, DataError
from asgard.core.position import Position, Token
from asgard.core.secret import Secret, reveal
from asgard.core.source import Example, Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import ColumnTypes, field_of, refuse_unknown
from asgard.transport.files import translated
from asgard.transport.http import HttpClient, HttpSettings, Request
from asgard.transport.http_rules import SECRET_NAME
from asgard.transport.json_records import RecordProofs, typed_records

MEMORY_BYTES = 4 * MEBIBYTE
"""Answers of so many bytes altogether wait in memory, longer ones in a file."""
PIECE_ROWS = 2000
_SIGN_IN = re.compile(
    r"(api|access)?[_-]?key|(api|auth|access)?[_-]?token|password|(client)?[_-]?secret", re.I
)

Method = Annotated[
    Literal["GET", "POST"],
    BeforeValidator(lambda word: word.upper() if isinstance(word, str) else word),
    WithJsonSchema({"enum": ["GET", "POST"]}),
]


class RestConfig(Config):
    """Where the API is, and how to sign in."""

    base_url: str = Field(min_length=1, description="What every path begins with: https://api.example.com/v1")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Sent with every request.")
    params: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="Query parameters of every request."
    )
    auth_type: Literal["none", "bearer", "basic", "api_key"] | None = Field(
        default=None, description="How to sign in; found from what is given: auth_token, username or api_key."
    )
    auth_token: Secret | None = Field(
        default=None,
        validation_alias=AliasChoices("auth_token", "token"),
        description="The token, for bearer.",
    )
    username: str | None = Field(default=None, description="The user, for basic.")
    password: Secret | None = Field(default=None, description="The password, for basic.")
    api_key: Secret | None = Field(default=None, description="The key, for api_key.")
    key_header: str = Field(default="X-API-Key", min_length=1, description="The header that has the key.")
    key_param: str | None = Field(
        default=None, min_length=1, description="The query parameter that has the key, instead of a header."
    )
    timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        validation_alias=AliasChoices("timeout_seconds", "timeout", "connection_timeout"),
        description="How long to wait for an answer.",
    )
    max_retries: int = Field(default=5, ge=0, le=20, description="Further attempts when an answer fails.")
    rate_limit: float | None = Field(default=None, gt=0, description="Most requests a second.")
    ca_file: LocalPath | None = Field(
        default=None, description="PEM file of authorities that are trusted besides the usual ones."
    )
    allow_metadata_addresses: bool = Field(
        default=False, description="Also asks link-local addresses, at which clouds give credentials out."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        kind = self.sign_in
        if kind == "basic" and self.username is None:
            raise ValueError("auth_type basic needs username and password")
        if kind == "bearer" and self.auth_token is None:
            raise ValueError("auth_type bearer needs auth_token")
        if kind == "api_key" and self.api_key is None and self.auth_token is None:
            raise ValueError("auth_type api_key needs api_key")
        return self

    @property
    def sign_in(self) -> str:
        """How to sign in: as said, or as what is given suggests."""
        if self.auth_type is not None:
            return self.auth_type
        if self.api_key is not None:
            return "api_key"
        if self.username is not None:
            return "basic"
        return "none" if self.auth_token is None else "bearer"


class RestStreamOptions(Config):
    """One endpoint, and how its answers are read."""

    path: str | None = Field(
        default=None,
        validation_alias=AliasChoices("path", "endpoint"),
        description="Behind base_url; the table's name when left out.",
    )
    method: Method = Field(default="GET", description="GET or POST.")
    params: dict[str, Any] = Field(default_factory=dict, repr=False, description="Query parameters.")
    body: Any = Field(default=None, repr=False, description="Sent as JSON.")
    records: str | None = Field(
        default=None,
        min_length=1,
        description="Where the answer has the list of records, for example data.items; found when left out.",
    )
    pagination: Pagination = Field(
        default=AutoPages(),
        description="How the next page is asked for: auto, link, next_url, page, offset, cursor, none.",
    )
    columns: ColumnTypes = Field(
        default_factory=dict,
        description="Types of columns that shall not be found out: text, int64, float64, decimal(p, s), "
        "bool, date, timestamp, timestamptz, json.",
    )
    exclude_columns: tuple[str, ...] = Field(default=(), description="Names that are no columns.")

    @model_validator(mode="after")
    def _without_secrets(self) -> Self:
        """Options travel with splits to other processes; secrets do not (Promise 6)."""
        body = self.body if isinstance(self.body, dict) else {}
        for name in (*self.params, *body):
            if _SIGN_IN.fullmatch(str(name)):
                raise ValueError(
                    f"{name!r} looks like a secret: give it to the source, as api_key or in params"
                )
        return self


class RestSource(Source):
    """One API."""

    type = "rest"
    Config = RestConfig
    StreamOptions = RestStreamOptions
    features = Feature.NONE
    examples = (
        Example(
            "Two endpoints of an open API",
            {
                "type": "rest",
                "base_url": "https://api.example.com/v1",
                "endpoints": [
                    {"name": "airlines"},
                    {"name": "airports", "path": "/geo/airports", "records": "data.items"},
                ],
            },
        ),
        Example(
            "With a token and numbered pages",
            {
                "type": "rest",
                "base_url": "https://api.example.com/v2",
                "auth_token": "${API_TOKEN}",
                "rate_limit": 10,
                "endpoints": [
                    {
                        "name": "orders",
                        "path": "/orders",
                        "params": {"sort": "id"},
                        "pagination": {"type": "page", "size_param": "per_page", "size": 100},
                        "columns": {"created_at": "timestamptz", "amount": "decimal(18, 2)"},
                    }
                ],
            },
            note="Sorted by something that does not change, no record moves to another page meanwhile.",
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: HttpClient | None = None
        self._spools: dict[str, _Spool] = {}

    def check(self) -> None:
        """Asks for the base address; any answer but a refusal or a failure will do, as few have one there."""
        self._http().send(Request(""), wanted=(400, 404, 405, 406, 410, 415, 422))

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """The endpoint of a plain name; an API does not list its endpoints."""
        if pattern and not any(sign in pattern for sign in "*?["):
            yield self.describe(pattern)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One endpoint with types that every record of all its pages has proved. Fetches them all; the plan
        that follows reads what was fetched.

        Raises:
            DataError: there are no records, and no `columns` that say what they would be.
        """
        wanted: RestStreamOptions = options or RestStreamOptions()
        if query is not None:
            raise ConfigError("a REST API takes no query", hint="give the table path and params")
        spool = _Spool()
        proofs = RecordProofs(wanted.columns, frozenset(wanted.exclude_columns))
        endpoint = _endpoint(name, wanted)
        try:
            for page in pages(self._http(), endpoint):
                spool.add(page.content)
                proofs.see(page.records)
        except BaseException:
            spool.close()
            raise
        self._drop(name)
        self._spools[name] = spool
        return Stream(name, name, "", _schema(proofs.schema, wanted, name), size_bytes=spool.size_bytes)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """One split for each endpoint; what was fetched to describe it is forgotten with the plan."""
        splits = []
        for selection in selections:
            stream = selection.stream
            if selection.cursor is not None:
                raise ConfigError(
                    f"{stream.name} cannot be read from a {selection.cursor} on",
                    hint="leave cursor out: with mode: merge and a primary_key only what changed is written",
                    where={"stream": stream.name},
                )
            options: RestStreamOptions = selection.options or RestStreamOptions()
            spec = {
                "name": stream.name,
                "options": options.model_dump(mode="json", exclude_defaults=True),
                "schema": stream.schema.serialize().to_pybytes().hex(),
            }
            splits.append(Split(stream.id, stream.id, spec, size_bytes=stream.size_bytes))
        return _RestPlan(splits, self)

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The records as they were fetched; where they were not fetched in this process, fetched now."""
        options = RestStreamOptions.model_validate(split.spec["options"])
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(split.spec["schema"])))
        endpoint = _endpoint(split.spec["name"], options)
        dropped = frozenset(options.exclude_columns)
        spool = self._spools.get(split.stream)
        if spool is None:
            found: Iterator[list[Any]] = (page.records for page in pages(self._http(), endpoint))
        else:
            found = (page_records(parsed(content, endpoint.name), endpoint) for content in spool.contents())
        for records in found:
            for start in range(0, len(records), PIECE_ROWS):
                self.settings.cancel.check()
                piece = records[start : start + PIECE_ROWS]
                yield typed_records(piece, schema, endpoint.name, dropped)

    def close(self) -> None:
        """Closes the connections, and forgets what was fetched."""
        for name in list(self._spools):
            self._drop(name)
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def forget(self, streams: Sequence[str]) -> None:
        """Forgets what was fetched of some streams."""
        for stream in streams:
            self._drop(stream)

    def _drop(self, name: str) -> None:
        spool = self._spools.pop(name, None)
        if spool is not None:
            spool.close()

    def _http(self) -> HttpClient:
        if self._client is None:
            self._client = HttpClient(http_settings(self.config), self.settings.cancel)
        return self._client


class _RestPlan(Plan):
    def __init__(self, splits: Sequence[Split], source: RestSource) -> None:
        super().__init__(splits)
        self._source = source

    def close(self) -> None:
        """Forgets what was fetched."""
        self._source.forget([split.stream for split in self.splits])


class _Spool:
    """Answers, one after the other, in memory as long as they are few, else in a file without a name."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115
        self.size_bytes = 0

    def add(self, content: bytes) -> None:
        with translated("the temporary folder"):
            self._file.write(len(content).to_bytes(8, "big"))
            self._file.write(content)
        self.size_bytes += len(content)

    def contents(self) -> Iterator[bytes]:
        self._file.seek(0)
        while length := self._file.read(8):
            yield self._file.read(int.from_bytes(length, "big"))

    def close(self) -> None:
        self._file.close()


def http_settings(config: RestConfig) -> HttpSettings:
    """What the transport needs to know, secrets revealed."""
    headers = {name: reveal(value) or "" for name, value in config.headers.items()}
    params = dict(config.params)
    secrets = [value for name, value in headers.items() if SECRET_NAME.search(name)]
    secrets += [str(value) for name, value in params.items() if SECRET_NAME.search(name)]
    basic = None
    key = reveal(config.api_key) or reveal(config.auth_token) or ""
    match config.sign_in:
        case "bearer":
            headers["Authorization"] = f"Bearer {reveal(config.auth_token)}"
        case "basic":
            basic = (config.username or "", reveal(config.password) or "")
        case "api_key" if config.key_param:
            params[config.key_param] = key
        case "api_key":
            headers[config.key_header] = key
    secrets += [
        reveal(s) or "" for s in (config.auth_token, config.password, config.api_key) if s is not None
    ]
    return HttpSettings(
        base_url=config.base_url,
        headers=headers,
        params=params,
        basic=basic,
        secrets=tuple(filter(None, secrets)),
        timeout_seconds=config.timeout_seconds,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
        ca_file=config.ca_file,
        allow_metadata_addresses=config.allow_metadata_addresses,
    )


def _endpoint(name: str, options: RestStreamOptions) -> Endpoint:
    path = name if options.path is None else options.path
    request = Request(path, options.method, options.params, options.body)
    return Endpoint(name, request, options.records, options.pagination)


def _schema(proved: pa.Schema, options: RestStreamOptions, name: str) -> pa.Schema:
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


CONNECTOR = RestSource
