"""A source as it is written, `${...}` and all: what another process is given to open it.

Such a process looks the references up in its own environment and stores, so that no secret travels with the
description (Promise 6): a secret that is written out in clear is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from asgard.app.config.data_block import BLOCK, load_data_block
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project_file import SOURCES, read_project_file, values_of
from asgard.app.config.references import References, resolve_tree
from asgard.app.config.source_reading import read_source, source_class
from asgard.app.config.specs import TableSpec
from asgard.app.config.validation import dotted, is_secret, keys_of
from asgard.app.config.yaml_text import read_yaml, tree_of
from asgard.app.frames.asked import Asked, asked_of, given_in, of_block
from asgard.app.frames.connector import SECRET_NAME
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.core.source import Source
from asgard.core.stream import Stream
from asgard.quality.masking import Mask, Masking


@dataclass(frozen=True)
class Masks:
    """The masks of a stream without their key, which does not travel.

    Attributes:
        kinds: by column.
        stream: as the project names it.
        may_miss: a masked column that is not there is no mistake.
    """

    kinds: Mapping[str, Mask]
    stream: str
    may_miss: bool


@dataclass(frozen=True)
class WrittenSource:
    """Where a source's options come from; picklable, and without a secret in it.

    Attributes:
        entry: the options as they are written: flat, below `connection`, or a whole `data:` block.
        folder: where relative paths begin, and where a `.env` is looked for.
        name: of the source in its project; empty for one that stands in none.
        masking_key: the project's, as it is written; empty without one.
        is_block: `entry` is a `data:` block.
    """

    entry: Mapping[str, Any]
    folder: str
    name: str = ""
    masking_key: str = ""
    is_block: bool = False

    def __post_init__(self) -> None:
        bare = list(_bare_secrets(self.entry, _secret_keys(self._type)))
        bare += ["masking_key"] if self.masking_key and "${" not in self.masking_key else []
        if bare:
            raise ConfigError(
                f"{', '.join(bare)}: a secret written in clear would travel to other processes with the plan",
                hint="write where it is to be found: ${env:NAME}, ${file:path}, ${vault:path#key}, ...",
            )

    @classmethod
    def of_options(cls, options: Any) -> WrittenSource:
        """A source from a caller's dictionary or DataSourceConfig; its paths begin at the process's folder.

        Raises:
            ConfigError: it has no type, or a secret in clear.
        """
        return cls(_shown(given_in(options)), str(Path.cwd()))

    @classmethod
    def of_project(cls, project: str | Path | None, name: str, env: str | None = None) -> WrittenSource:
        """A source of a project, by its name.

        Raises:
            ConfigError: there is no such project or source, or it has a secret in clear.
        """
        mistakes = Mistakes()
        files = read_project_file(project, env, mistakes)
        mistakes.raise_if_any()
        sources = values_of(files.written.value.get(SOURCES))
        if name not in sources:
            raise ConfigError(
                f"there is no source {name!r}", hint=f"{files.file.name} has: {', '.join(sources) or 'none'}"
            )
        key = files.written.value.get("masking_key")
        written = str(key.value) if key is not None and key.value is not None else ""
        return cls({"type": name, **sources[name].plain()}, str(files.folder), name, written)

    @classmethod
    def of_file(cls, file: Path) -> WrittenSource:
        """The source of a YAML file with a `data:` block.

        Raises:
            ConfigError: there is no such file or block, or it has a secret in clear.
        """
        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
        mistakes = Mistakes()
        block = values_of(read_yaml(file, file.name, mistakes)).get(BLOCK)
        mistakes.raise_if_any()
        if block is None or not isinstance(block.value, dict):
            raise ConfigError(f"{file.name} has no {BLOCK} block", hint="data: {type: postgres, ...}")
        return cls(block.plain(), str(file.absolute().parent), is_block=True)

    @property
    def _type(self) -> str:
        found = self.entry.get("type")
        if not isinstance(found, str):
            raise ConfigError(
                "the configuration has no type", hint="type: postgres, sqlite, csv, excel, api, ..."
            )
        if "${" in found:
            raise ConfigError(f"type is {found}: which connector it is must be plain to see")
        return found

    @property
    def connector(self) -> type[Source]:
        """The class of the source."""
        found: type[Source] = source_class(self._type)
        return found

    def asked(self) -> Asked:
        """The options with their references looked up, here and now: it holds secrets, and stays here.

        Raises:
            ConfigError: with every mistake.
            Refused, Unreachable: a store of secrets does not give what is referred to.
        """
        folder = Path(self.folder)
        if self.is_block:
            return of_block(load_data_block(self.entry, folder))
        if not self.name:
            return asked_of(self._type, self.entry, folder)
        mistakes = Mistakes()
        path = dotted(SOURCES, self.name)
        node = resolve_tree(tree_of(self.entry), References(folder), mistakes, path)
        spec = read_source(self.name, node, path, mistakes, folder)
        mistakes.raise_if_any()
        assert spec is not None
        return Asked(spec)

    def masking(self, masks: Masks | None) -> Masking | None:
        """Masks with the project's key, looked up here and now."""
        if masks is None:
            return None
        key = References(Path(self.folder)).resolve(self.masking_key).text if self.masking_key else ""
        return Masking(masks.kinds, f"{self.name}.{masks.stream}", key.encode() or None, masks.may_miss)


def masks_of(stream: Stream, table: TableSpec) -> Masks | None:
    """What a project masks of a stream; None for nothing."""
    if not table.mask:
        return None
    name = stream.full_name if table.is_pattern else table.name
    return Masks(table.mask, name, table.is_pattern or table.allow_missing)


def table_of(source: Source, asked: Asked, name: str) -> TableSpec:
    """What the configuration says about a table, by any of its names; patterns count."""
    if (said := asked.named(name)) is not None:
        return said
    if not asked.spec.tables:
        return TableSpec(name=name)
    stream = source.describe(name)
    names = (stream.name, stream.full_name)
    for table in asked.spec.tables:
        if not table.is_pattern and table.name in names:
            return table
    for table in asked.spec.tables:
        if table.is_pattern and any(fnmatchcase(one, table.name) for one in names):
            return table
    return TableSpec(name=name)


def _shown(value: Any) -> Any:
    """Secrets that a model holds as the texts that they were given as."""
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return _shown(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        return {str(key): _shown(child) for key, child in value.items()}
    return [_shown(child) for child in value] if isinstance(value, list | tuple) else value


def _secret_keys(type_name: str) -> dict[str, Any]:
    """The keys of a connector and its tables whose values are secret, with their types."""
    connector = source_class(type_name)
    fields = {**keys_of(connector.StreamOptions), **keys_of(connector.Config)}
    found = {key: field.annotation for key, field in fields.items() if is_secret(field.annotation)}
    takes_anything = connector.Config.model_config.get("extra") == "allow"
    return {**found, **({"": Secret} if takes_anything else {})}


def _bare_secrets(value: Any, keys: Mapping[str, Any], path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            where = dotted(path, key)
            if key in keys:
                yield from _bare(child, keys[key], where)
            elif "" in keys and SECRET_NAME.search(str(key)):  # which are secret is not known: by their names
                yield from _bare(child, Secret, where)
            else:
                yield from _bare_secrets(child, keys, where)
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _bare_secrets(child, keys, dotted(path, number))


def _bare(value: Any, annotation: Any, path: str) -> Iterator[str]:
    """Paths of values of a secret type that are no references."""
    if isinstance(value, Mapping):
        models = [one for one in (annotation, *get_args(annotation)) if _is_model(one)]
        inner = {key: field.annotation for model in models for key, field in keys_of(model).items()}
        for key, child in value.items():
            if is_secret(inner.get(key, annotation)):
                yield from _bare(child, inner.get(key, annotation), dotted(path, key))
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _bare(child, annotation, dotted(path, number))
    elif value is not None and "${" not in str(value):
        yield path


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
