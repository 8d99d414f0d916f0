"""One source and what is loaded of it, in the users' own form: a `data:` block, or a DataSourceConfig.

    data:
      type: postgres
      connection: {host: localhost, database: shop, username: ann, password: "${POSTGRES_PASSWORD}"}
      query: SELECT * FROM orders
      target_column: churned

The block becomes what `data_sources:` would hold - connector, options, one table - so that both are read,
checked and told about in the same way. `type: file` with `file_type`, `csv`, `excel`, ... are the connector
`files`, `api` is `rest`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field

from asgard.app.config.mistakes import Mistakes, near
from asgard.app.config.project_file import values_of
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.source_reading import GROUPING, SOURCE_KEYS, flattens, known_connector, read_source
from asgard.app.config.specs import SourceSpec, TableSpec
from asgard.app.config.table_reading import TABLE_KEYS
from asgard.app.config.validation import Entries, dotted, keys_of, read_model
from asgard.app.config.yaml_text import Node, read_yaml, tree_of
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.core.source import Feature

BLOCK = "data"
PARTS = ("connection", "cloud_config", "api_config")
OF_FRAMES = ("backend", "chunk_size")
FILE_TYPES = ("csv", "tsv", "excel", "json", "jsonl", "parquet")
"""Types that are formats of files."""
ONLY_TABLE = "data"
"""What a block's table is called where nothing names it."""


class DatabaseConnection(BaseModel):
    """How a database is reached; a connector's further options may stand here too."""

    model_config = ConfigDict(extra="allow")

    host: str
    port: int | None = None
    database: str
    username: str | None = None
    password: Secret | None = None
    ssl_mode: str | None = "require"
    connection_timeout: int | None = 30


class CloudConnection(BaseModel):
    """How an object store is reached."""

    model_config = ConfigDict(extra="allow")

    bucket: str
    region: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    endpoint_url: str | None = None


class APIConnection(BaseModel):
    """One endpoint of an API."""

    model_config = ConfigDict(extra="allow")

    base_url: str
    endpoint: str
    method: str = "GET"
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    params: dict[str, Any] = Field(default_factory=dict, repr=False)
    auth_type: Literal["bearer", "basic", "api_key"] | None = None
    auth_token: Secret | None = None
    pagination: dict[str, Any] | None = None


class DataSourceConfig(BaseModel):
    """A source and what is loaded of it; a connector's further options may stand here too."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="file, csv, excel, postgres, api, or any other connector.")
    source: str | None = Field(default=None, description="The file; for a database, the table.")
    file_type: str | None = Field(default=None, description="csv, excel, ... for type: file.")
    connection: DatabaseConnection | None = None
    cloud_config: CloudConnection | None = None
    api_config: APIConnection | None = None
    query: str | None = Field(default=None, description="A SQL query, or the parameters of an API.")
    target_column: str | None = Field(default=None, description="The column that models are to predict.")
    chunk_size: int | None = Field(default=None, gt=0, description="Rows of a chunk, for streaming.")
    backend: str = Field(default="auto", description="pandas, polars, arrow, duckdb, dask or spark.")


@dataclass(frozen=True)
class DataBlock:
    """A `data:` block, read.

    Attributes:
        source: connector and options; `table` is the only one of its tables.
        table: what is loaded, `target_column` included; without a name it is the only one that there is.
        backend: the kind of frame that is wanted.
        chunk_rows: rows of a chunk when it is streamed; None where the block does not say.
    """

    source: SourceSpec
    table: TableSpec
    backend: str = "auto"
    chunk_rows: int | None = None


def load_data_block(
    document: Mapping[str, Any] | BaseModel | Path | str, folder: Path | None = None
) -> DataBlock:
    """Reads a block.

    Args:
        document: a file with a `data:` block (what else it holds is not looked at); or a DataSourceConfig, or
            the same as a dictionary, `data:` around it or not. References are replaced in files, with the
            `.env` beside them; relative paths begin at the file.
        folder: of what is no file: where its relative paths begin, and a `.env` for its references. None
            takes values as they are.

    Raises:
        ConfigError: with every mistake, one a line.
    """
    mistakes = Mistakes()
    if isinstance(document, Path | str):
        node = _from_file(Path(document), mistakes)
        block = _Block(node, BLOCK, Path(document).absolute().parent, mistakes)
    else:
        given = document if isinstance(document, Mapping) else document.model_dump(exclude_unset=True)
        inner = given[BLOCK] if BLOCK in given and "type" not in given else given
        tree = tree_of(inner)
        tree = tree if folder is None else resolve_tree(tree, References(folder), mistakes, BLOCK)
        block = _Block(tree, BLOCK, folder, mistakes)
    found = block.read() if isinstance(block.node.value, dict) else None
    mistakes.raise_if_any()
    if found is None:
        raise ConfigError(f"a {BLOCK} block is keys with values", hint="data: {type: postgres, ...}")
    return found


def _from_file(file: Path, mistakes: Mistakes) -> Node:
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    tree = read_yaml(file, file.name, mistakes)
    mistakes.raise_if_any()
    node = values_of(tree).get(BLOCK)
    if node is None or not isinstance(node.value, dict):
        what = "is missing" if node is None else "must be keys with values"
        place = node.where if node is not None else tree.place if tree is not None else None
        mistakes.add(what, path=BLOCK, hint="data: {type: postgres, connection: {...}}", place=place)
        return Node(None)
    return resolve_tree(node, References(file.parent), mistakes, BLOCK)


@dataclass
class _Block:
    """Brings a block into the form of `data_sources:`, where the connector reads it.

    Attributes:
        moved: keys that stand elsewhere in the block, with the path that they are written under.
    """

    node: Node
    path: str
    folder: Path | None
    mistakes: Mistakes
    moved: dict[str, str] = field(default_factory=dict)

    def read(self) -> DataBlock | None:
        nodes = {key: node for key, node in self.node.value.items() if node.value is not None}
        parts = {key: nodes.pop(key) for key in PARTS if key in nodes}
        own = {key: node for key, node in nodes.items() if key in DataSourceConfig.model_fields}
        block = read_model(DataSourceConfig, Entries(own, self.path, self.node.where, {}), self.mistakes)
        if "api_config" in parts:
            api = parts["api_config"]
            entries = Entries(values_of(api), dotted(self.path, "api_config"), api.where, {})
            read_model(APIConnection, entries, self.mistakes)
            if isinstance(api.value, dict) and "endpoint" not in api.value:
                parts["api_config"] = replace(api, value={**api.value, "endpoint": Node("", unresolved=True)})
        if block is None:
            return None
        connector = known_connector(block.type, dotted(self.path, "type"), nodes["type"], self.mistakes)
        if connector is None:
            return None
        spec = self._source(block, connector, nodes, parts)
        if spec is None or not spec.tables:
            return None
        return DataBlock(spec, spec.tables[0], block.backend, block.chunk_size)

    def _source(
        self, block: DataSourceConfig, connector: Any, nodes: dict[str, Node], parts: dict[str, Node]
    ) -> SourceSpec | None:
        options = keys_of(connector.StreamOptions)
        of_table = {*TABLE_KEYS, *options} - ({*keys_of(connector.Config), *SOURCE_KEYS} - set(TABLE_KEYS))
        kind = nodes.pop("file_type", None) or (nodes["type"] if block.type in FILE_TYPES else None)
        nodes = {key: node for key, node in nodes.items() if key not in OF_FRAMES}
        if flattens(connector.Config):
            self._spread(parts, nodes)
        else:  # a user's own connector gets what stands there as it stands there
            nodes |= parts
        table = {key: nodes.pop(key) for key in list(nodes) if key in of_table}
        if flattens(connector.Config):
            self._refuse_unknown(nodes, {*keys_of(connector.Config), *SOURCE_KEYS}, of_table)
        self._translate(table, options, kind)
        self._insist_on_what_is_loaded(connector, table, nodes)
        unnamed = not {"name", "query"} & set(table)
        table.setdefault("name", Node(ONLY_TABLE, ONLY_TABLE))
        nodes["tables"] = Node([Node(table, place=self.node.where)])
        told = Mistakes()
        spec = read_source(BLOCK, replace(self.node, value=nodes), self.path, told, self.folder)
        for mistake in told:
            path = self._as_written(mistake.path)
            self.mistakes.add(mistake.what, path=path, hint=mistake.hint, place=mistake.place)
        if spec is None or not unnamed:
            return spec
        return replace(spec, tables=(spec.tables[0].model_copy(update={"name": ""}),))

    def _insist_on_what_is_loaded(
        self, connector: Any, table: dict[str, Node], nodes: dict[str, Node]
    ) -> None:
        """A database has many tables, files are many; what else there is may be the only one."""
        takes_paths = "path" in keys_of(connector.StreamOptions)
        said = {"name", "query", *(("path",) if takes_paths else ())} & {*table, *nodes}
        if not said and (takes_paths or Feature.QUERY in connector.features):
            path = dotted(self.path, "source" if takes_paths else "query")
            hint = "it says what is loaded"
            self.mistakes.add("is missing", path=path, hint=hint, place=self.node.where)

    def _spread(self, parts: dict[str, Node], nodes: dict[str, Node]) -> None:
        """The parts of a block, as keys of the source."""
        for key, node in values_of(parts.pop("api_config", None)).items():
            name = "path" if key == "endpoint" else key
            nodes[name], self.moved[name] = node, f"{self.path}.api_config.{key}"
        for name, part in parts.items():
            nodes[GROUPING], self.moved[GROUPING] = part, dotted(self.path, name)

    def _refuse_unknown(self, nodes: dict[str, Node], of_source: set[str], of_table: set[str]) -> None:
        known = sorted({*DataSourceConfig.model_fields, *of_source, *of_table})
        for key in [key for key in nodes if key not in of_source]:
            place, path = nodes.pop(key).key_place, self.moved.get(key, dotted(self.path, key))
            hint = near(key, known) or f"known: {', '.join(known)}"
            self.mistakes.add("is not a known key", path=path, hint=hint, place=place)

    def _translate(self, table: dict[str, Node], options: Container[str], kind: Node | None) -> None:
        """The connector's words for the block's: `source` is a path or a table, `query` may be parameters."""
        source = table.pop("source", None)
        if source is not None:
            key = "path" if "path" in options else "name"
            table.setdefault(key, source)
            self.moved.setdefault(key, dotted(self.path, "source"))
        if kind is not None and "format" in options:
            table.setdefault("format", kind)
            self.moved.setdefault("format", dotted(self.path, "file_type"))
        if "query" in table and "params" in options:
            given = tree_of(dict(parse_qsl(table.pop("query").text)))
            table["params"] = Node({**given.value, **values_of(table.get("params"))})
        if "path" in table:
            name = PurePath(table["path"].text).name.partition(".")[0]
            plain = name and not set(name) & set("*?[")
            table.setdefault("name", Node(name, name) if plain else Node(ONLY_TABLE, ONLY_TABLE))

    def _as_written(self, path: str) -> str:
        rest = path.removeprefix(f"{self.path}.tables[0]").removeprefix(self.path).removeprefix(".")
        key = re.split(r"[.\[]", rest, maxsplit=1)[0]
        written = self.moved.get(key, dotted(self.path, key) if key else self.path)
        return written + rest[len(key) :]
