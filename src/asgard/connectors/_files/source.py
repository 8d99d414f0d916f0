"""What every source of files is: tables are sets of files in a place, types are proved, new files are known.

Leaves to its connectors where the files lie (`place`), how they are signed in to, and their examples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import pyarrow as pa

from asgard.connectors._files.formats import FORMATS, FilesStreamOptions, Part, Reading
from asgard.connectors._files.paths import (
    FILE_COLUMN,
    completed,
    own_columns,
    with_path_columns,
    without_path_columns,
)
from asgard.connectors._files.sets import (
    FileSet,
    discovered,
    named_set,
    read_token,
    row_group_parts,
    split_id,
    to_load,
    whole_parts,
    written_token,
)
from asgard.connectors._files.types import joined, proved_types, remembered
from asgard.core.errors import ConfigError, DataError, PositionLost, Refused
from asgard.core.position import DONE, Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import refuse_unknown
from asgard.transport.files import FoundFile, Place, total_bytes


class FileSource(Source):
    """Files in one place; a connector says which."""

    far: ClassVar[bool] = False
    """Opening a file takes a round trip, and reading all of them to see what is new is too much."""
    StreamOptions = FilesStreamOptions
    features = Feature.SPLITS | Feature.CURSOR | Feature.RESUME | Feature.LENDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._found: dict[str, FileSet] = {}

    @property
    @abstractmethod
    def place(self) -> Place:
        """Where the files lie.

        Raises:
            ConfigError: what the configuration names is not there.
        """

    def options_of(self, values: Mapping[str, Any]) -> FilesStreamOptions:
        """The table's options from JSON values; without any, the defaults."""
        read = self.StreamOptions.model_validate(values)
        assert isinstance(read, FilesStreamOptions)
        return read

    def file_set(self, name: str, options: FilesStreamOptions) -> FileSet:
        """The files of a table.

        Raises:
            QueryError: there are none.
        """
        return named_set(self.place, name, options, self.config.format)

    def streams(self, pattern: str = "*") -> Iterator[Stream]:
        """What the place has: files at its top, folders with files of one format, sheets of workbooks. The
        types are those of the first rows; `describe` proves them."""
        for table in discovered(self.place, self.config.format):
            full = f"{table.namespace}.{table.name}" if table.namespace else table.name
            if fnmatchcase(table.name, pattern) or fnmatchcase(full, pattern):
                yield self._stream(table, self._sketch(table))

    def _sketch(self, table: FileSet) -> pa.Schema:
        options = self.options_of({"sheet": table.sheet})
        try:
            schema = FORMATS[table.format].sketch(table.files, options, self.settings.cancel)
        except (DataError, Refused):
            return pa.schema([])  # it is listed all the same: what is wrong with it is told when it is loaded
        return with_path_columns(schema, table, options)

    def describe(self, name: str, options: Any = None, query: str | None = None) -> Stream:
        """One table with types that every value of all its files has proved; reads text files to their end.
        Of files that are far away the first rows alone are read: a plan proves the types of what it loads.

        Raises:
            DataError: a file is damaged, or has rows of another length than its header; with file and line.
        """
        wanted: FilesStreamOptions = options or self.options_of({})
        if query is not None:
            raise ConfigError("files take no query", hint="load the table, and query it with asgard query")
        table = self.file_set(name, wanted)
        wanted = _with_sheet(wanted, table)
        if self.far:
            inside = without_path_columns(wanted, table.files)
            schema = FORMATS[table.format].sketch(table.files, inside, self.settings.cancel)
        else:
            schema = self._proof(table, wanted, table.files)
        stream = self._stream(table, with_path_columns(schema, table, wanted))
        self._found[stream.id] = table
        return stream

    def _proof(self, table: FileSet, options: FilesStreamOptions, files: Sequence[FoundFile]) -> pa.Schema:
        """The files' own columns, with the types that all values of some of the files prove."""
        inside = without_path_columns(options, table.files)
        with self.place.reading(files):
            schema = FORMATS[table.format].schema(files, inside, self.settings.cancel)
        refuse_unknown(inside.columns, schema.names, table.name)
        if not schema.names:
            raise DataError(
                f"{', '.join(file.name for file in files[:3])}: nothing is in it, not even a header",
                hint="look at the file, or at header and skip_rows",
                where={"stream": table.name},
            )
        return schema

    def _stream(self, table: FileSet, schema: pa.Schema) -> Stream:
        full = f"{table.namespace}.{table.name}" if table.namespace else table.name
        candidates = (FILE_COLUMN,) if FILE_COLUMN in schema.names else ()
        size = total_bytes(table.files)
        return Stream(full, table.name, table.namespace, schema, (), candidates, size_bytes=size)

    def plan(
        self,
        selections: Sequence[Selection],
        since: Mapping[str, Position],
        until: Token | None = None,
        parallel: int = 1,
    ) -> Plan:
        """Splits of whole files, large Parquet files by row groups; with `cursor: _file` those of new and
        changed files, which may be committed one by one."""
        splits: list[Split] = []
        tokens: dict[str, Token] = {}
        warnings: list[str] = []
        streams: dict[str, Stream] = {}
        resumed: set[str] = set()
        for selection in selections:
            planned = self._planned(selection, since.get(selection.stream.id))
            splits += planned.splits
            warnings += _mixed_columns(planned.stream)
            streams[selection.stream.id] = planned.stream
            if planned.token is not None:
                tokens[selection.stream.id] = planned.token
            if planned.resumed:
                resumed.add(selection.stream.id)
        return Plan(splits, tokens, frozenset(tokens), frozenset(resumed), warnings, streams)

    def _planned(self, selection: Selection, position: Position | None) -> _Planned:
        stream = selection.stream
        options: FilesStreamOptions = selection.options or self.options_of({})
        # The files whose types `describe` proved: one that came since waits for the next run.
        described = None if self.far else self._found.get(stream.id)
        table = described or self.file_set(stream.full_name, options)
        options = _with_sheet(options, table)
        if selection.cursor is None:
            schema = self._proof(table, options, table.files) if self.far else None
            parts = row_group_parts if table.format == "parquet" else whole_parts
            return _planned(stream, table, options, schema, parts(table.files))
        if selection.cursor != FILE_COLUMN:
            raise ConfigError(
                f"files cannot be read from a value of {selection.cursor} on: every file has to be opened",
                hint=f"`cursor: {FILE_COLUMN}` reads new files only",
                where={"stream": stream.name},
            )
        position = position or Position()
        loaded = {} if position.token is None else read_token(position.token, stream.name)
        if position.pending is not None:
            files = _half_read(table.files, read_token(position.pending, stream.name), loaded, stream.name)
            schema = self._schema(table, options, files, position.pending)
            whole = _planned(stream, table, options, schema, whole_parts(files))
            left = [split for split in whole.splits if position.splits.get(split.id) != DONE]
            return replace(whole, splits=left, token=position.pending, resumed=True)
        keyed = bool(selection.primary_key)
        reload = options.changed_files == "reload" or (keyed and options.changed_files is None)
        files = to_load(table.files, loaded, stream.name, reload=reload)
        schema = self._schema(table, options, files, position.token)
        states = {**loaded, **{file.name: file.state for file in files}}
        token = written_token(states, remembered(schema, options) if schema else {})
        return replace(_planned(stream, table, options, schema, whole_parts(files)), token=token)

    def _schema(
        self, table: FileSet, options: FilesStreamOptions, files: Sequence[FoundFile], token: Token | None
    ) -> pa.Schema | None:
        """The types of far files as all values prove them, those of loaded files by what the token remembers
        of them: they are read again only where a new file proves other types. None for near files, which
        `describe` looked at."""
        if not self.far:
            return None
        known = None if token is None else proved_types(token, options)
        if known is None:
            return self._proof(table, options, table.files)
        if not files:
            return known
        fresh = self._proof(table, options, files)
        return joined(known, fresh, plain_text=table.format in ("csv", "tsv")) or self._proof(
            table, options, table.files
        )

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        """The rows of the split's files, one after the other."""
        spec = split.spec
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(spec["schema"])))
        options = self.options_of(spec["options"])
        own = own_columns(schema)
        wanted = Reading(self.settings.batch_bytes, self.settings.cancel, self.settings.reader_bytes)
        place = self.place
        parts = [Part(FoundFile(**p["file"], place=place), tuple(p["groups"])) for p in spec["parts"]]
        with place.reading([part.file for part in parts]):
            for part in parts:
                for batch in FORMATS[spec["format"]].rows(part, options, own, wanted):
                    yield completed(batch, schema, part.file)


@dataclass(frozen=True)
class _Planned:
    """What one selection comes to."""

    stream: Stream
    splits: list[Split]
    token: Token | None = None
    resumed: bool = False


def _planned(
    stream: Stream,
    table: FileSet,
    options: FilesStreamOptions,
    schema: pa.Schema | None,
    groups: Sequence[Sequence[Part]],
) -> _Planned:
    """Splits of the groups; `schema` has the files' own columns, None leaves the stream as it is."""
    if schema is not None:
        stream = replace(stream, schema=with_path_columns(schema, table, options))
    inside = without_path_columns(options, table.files)
    return _Planned(stream, [_split(stream, table.format, inside, parts) for parts in groups])


def _with_sheet(options: FilesStreamOptions, table: FileSet) -> FilesStreamOptions:
    return options if table.sheet is None else options.model_copy(update={"sheet": table.sheet})


def _split(stream: Stream, format: str, options: FilesStreamOptions, parts: Sequence[Part]) -> Split:
    spec = {
        "format": format,
        "options": options.model_dump(mode="json", exclude_defaults=True),
        "schema": stream.schema.serialize().to_pybytes().hex(),
        "parts": [{"file": part.file.written, "groups": list(part.groups)} for part in parts],
    }
    return Split(split_id(parts), stream.id, spec, size_bytes=total_bytes([part.file for part in parts]))


def _mixed_columns(stream: Stream) -> Iterator[str]:
    for field in stream.schema:
        if (field.metadata or {}).get(b"asgard.type") == b"mixed":
            yield (
                f"{stream.full_name}: column {field.name} has cells of several types, and is loaded as text; "
                f"`columns: {{{field.name}: text}}` says that this is meant"
            )


def _half_read(
    files: Sequence[FoundFile], pending: Mapping[str, str], loaded: Mapping[str, str], stream: str
) -> list[FoundFile]:
    """The files of the plan that was begun, which has to find them as they were then."""
    there = {file.name: file for file in files}
    wanted = sorted(name for name, state in pending.items() if loaded.get(name) != state)
    for name in wanted:
        if name not in there or there[name].state != pending[name]:
            raise PositionLost(
                f"{name} {'changed' if name in there else 'is gone'} while its table was half loaded",
                hint=f"put it back as it was, or asgard resync {stream}",
                where={"stream": stream, "file": name},
            )
    return [there[name] for name in wanted]
