"""What every source of files is: tables are sets of files in a place, types are proved, new files are known.

Leaves to its connectors where the files lie (`place`), how they are signed in to, and their examples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from asgard.connectors._file_formats import FORMATS, FilesStreamOptions, Part, Reading
from asgard.connectors._file_paths import (
    FILE_COLUMN,
    completed,
    own_columns,
    with_path_columns,
    without_path_columns,
)
from asgard.connectors._file_sets import (
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
from asgard.core.errors import ConfigError, DataError, PositionLost, Refused
from asgard.core.position import DONE, Position, Token
from asgard.core.source import Feature, Plan, Source
from asgard.core.stream import Selection, Split, Stream
from asgard.transport.column_types import refuse_unknown
from asgard.transport.files import FoundFile, Place, total_bytes


class FileSource(Source):
    """Files in one place; a connector says which."""

    StreamOptions = FilesStreamOptions
    features = Feature.SPLITS | Feature.CURSOR | Feature.RESUME

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._proved: dict[str, FileSet] = {}

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

        Raises:
            DataError: a file is damaged, or has rows of another length than its header; with file and line.
        """
        wanted: FilesStreamOptions = options or self.options_of({})
        if query is not None:
            raise ConfigError("files take no query", hint="load the table, and query it with asgard query")
        table = self.file_set(name, wanted)
        wanted = _with_sheet(wanted, table)
        inside = without_path_columns(wanted, table.files)
        with self.place.reading(table.files):
            schema = FORMATS[table.format].schema(table.files, inside, self.settings.cancel)
        refuse_unknown(inside.columns, schema.names, name)
        if not schema.names:
            raise DataError(
                f"{', '.join(file.name for file in table.files[:3])}: nothing is in it, not even a header",
                hint="look at the file, or at header and skip_rows",
                where={"stream": name},
            )
        stream = self._stream(table, with_path_columns(schema, table, wanted))
        self._proved[stream.id] = table
        return stream

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
        resumed: set[str] = set()
        for selection in selections:
            planned = self._planned(selection, since.get(selection.stream.id))
            splits += planned.splits
            warnings += _mixed_columns(selection.stream)
            if planned.token is not None:
                tokens[selection.stream.id] = planned.token
            if planned.resumed:
                resumed.add(selection.stream.id)
        return Plan(splits, tokens, frozenset(tokens), frozenset(resumed), warnings)

    def _planned(self, selection: Selection, position: Position | None) -> _Planned:
        stream = selection.stream
        options: FilesStreamOptions = selection.options or self.options_of({})
        # The files whose types were proved: one that came since waits for the next run.
        table = self._proved.get(stream.id) or self.file_set(stream.full_name, options)
        options = without_path_columns(_with_sheet(options, table), table.files)

        def splits(groups: Sequence[Sequence[Part]]) -> list[Split]:
            return [_split(stream, table.format, options, parts) for parts in groups]

        if selection.cursor is None:
            parts = row_group_parts if table.format == "parquet" else whole_parts
            return _Planned(splits(parts(table.files)))
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
            left = [s for s in splits(whole_parts(files)) if position.splits.get(s.id) != DONE]
            return _Planned(left, position.pending, resumed=True)
        keyed = bool(selection.primary_key)
        reload = options.changed_files == "reload" or (keyed and options.changed_files is None)
        files = to_load(table.files, loaded, stream.name, reload=reload)
        token = written_token({**loaded, **{file.name: file.state for file in files}})
        return _Planned(splits(whole_parts(files)), token)

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

    splits: list[Split]
    token: Token | None = None
    resumed: bool = False


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
