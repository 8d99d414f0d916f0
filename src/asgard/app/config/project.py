"""The project: everything that `asgard.yml` says, typed, with every mistake told at once.

Reads files and looks references up; connects to nothing but stores of secrets that are referred to. What a
source has, and with it the tables that a name with wildcards means, is asked later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from asgard.app.config.contract_specs import ContractSpec, SchemaContract
from asgard.app.config.engine_specs import EnginesSpec
from asgard.app.config.lakes import LakeSpec
from asgard.app.config.lineage_spec import LineageSpec
from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project_file import SOURCES, ProjectFile, find_project, read_project_file
from asgard.app.config.quantities import Size
from asgard.app.config.schedule_specs import MaintenanceSpec, QueueSpec, ScheduleSpec
from asgard.app.config.source_reading import read_source
from asgard.app.config.specs import SourceSpec, TableSpec
from asgard.app.config.validation import Entries, dotted, read_model
from asgard.app.config.yaml_text import Node, tree_of
from asgard.core.config import Config
from asgard.core.errors import AsgardError
from asgard.core.secret import Secret

__all__ = ["LakeSpec", "Project", "ProjectKeys", "SourceSpec", "TableSpec", "find_project", "load_project"]

VERSION = 1
LEAST_MEMORY_BYTES = 200_000_000
MOST_PARALLEL = 64
SHORTEST_MASKING_KEY = 16
MASKING_KEY = "masking_key"


class ProjectKeys(Config):
    """The keys at the top of the file."""

    version: int = Field(default=VERSION, ge=1, description="The version of the file's form.")
    name: str | None = Field(
        default=None, min_length=1, description="What the project is called; the folder's name."
    )
    workspace: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
        description="Whose history the runs go to; several may share one state folder.",
    )
    lake: LakeSpec = Field(default=LakeSpec(), description="Where the tables lie.")
    data_sources: Any = Field(default=None, description="Where data comes from, by name.")
    masking_key: Secret | None = Field(
        default=None,
        description="A secret of 16 characters or more: what mask: hash and tokenize are made with.",
    )
    engines: EnginesSpec = Field(default=EnginesSpec(), description="What runs the SELECTs of models.")
    models: str = Field(default="models", min_length=1, description="The folder of the models.")
    memory: Size = Field(default=1_000_000_000, description="What a run may hold altogether: 512MB, 4GiB.")
    parallel: int | None = Field(
        default=None, ge=1, le=MOST_PARALLEL, description="Splits read at once; the processors, at most 4."
    )
    state: str = Field(default=".asgard", min_length=1, description="The folder of history and logs.")
    beside: bool = Field(
        default=False,
        description="For an environment's file: models are built beside production, and promoted.",
    )
    lineage: LineageSpec = Field(default=LineageSpec(), description="Who is told what was made of what.")
    queue: QueueSpec = Field(default=QueueSpec(), description="Where jobs wait, and how many run at a time.")
    schema_contract: SchemaContract | None = Field(
        default=None,
        description="What becomes of drift in all tables that do not say it: evolve, freeze, discard_row or "
        "discard_value, for tables, columns and types.",
    )
    schedules: dict[str, ScheduleSpec] = Field(
        default={}, description="What is run by itself, by name, beside the tables that have a frequency."
    )
    maintenance: MaintenanceSpec = Field(
        default=MaintenanceSpec(), description="The upkeep of tables: how far it goes, and when it is done."
    )

    @field_validator("version")
    @classmethod
    def _known_version(cls, value: int) -> int:
        if value > VERSION:
            raise ValueError(
                f"the file is of version {value}, this Asgard reads version {VERSION}; "
                "pip install --upgrade asgard-platform"
            )
        return value

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: int) -> int:
        if value < LEAST_MEMORY_BYTES:
            least = LEAST_MEMORY_BYTES // 1_000_000
            raise ValueError(f"is less than a run needs; give it {least}MB or more")
        return value

    @field_validator("masking_key")
    @classmethod
    def _long_enough(cls, value: Secret | None) -> Secret | None:
        if value is not None and len(value.get_secret_value()) < SHORTEST_MASKING_KEY:
            raise ValueError(
                "is too short to keep anybody from trying all keys; asgard secrets key prints one"
            )
        return value


@dataclass(frozen=True)
class Project:
    """A project file, read.

    Attributes:
        file: the project file, absolute; `folder` is where its paths begin.
        environment: whose overlay lies over it; None for none.
        sources: by name, in the file's order; those with `enabled: false` are left out.
        memory_bytes: what a run may hold altogether.
        parallel: how many splits are read at the same time.
        masking_key: what columns are hashed and tokenized with; None where no table wants it.
        masking_key_unavailable: why there is none now: a store does not give it.
        engines: what runs the SELECTs of models.
        beside: whether models are built beside production, whose file is without the environment's overlay.
        schema_contract: what becomes of drift, where sources and tables do not say it.
        files: what it was read from; None for a project that was put together.
    """

    file: Path
    folder: Path
    environment: str | None
    name: str
    workspace: str
    lake: LakeSpec
    sources: dict[str, SourceSpec]
    models_folder: Path
    state_folder: Path
    memory_bytes: int
    parallel: int
    queue: QueueSpec = field(default_factory=QueueSpec)
    schedules: Mapping[str, ScheduleSpec] = field(default_factory=dict)
    maintenance: MaintenanceSpec = field(default_factory=MaintenanceSpec)
    masking_key: Secret | None = None
    masking_key_unavailable: AsgardError | None = None
    lineage: LineageSpec = field(default_factory=LineageSpec)
    beside: bool = False
    engines: EnginesSpec = field(default_factory=EnginesSpec)
    schema_contract: ContractSpec | None = None
    files: ProjectFile | None = field(default=None, repr=False, compare=False)

    def production(self) -> Project:
        """The project without the environment's overlay, and without its sources.

        Raises:
            ConfigError: it cannot stand without the overlay.
        """
        if self.files is None or self.files.overlay is None:
            return self
        alone = replace(self.files, environment=None, overlay=None, written=self.files.base)
        return _project_of(alone, Mistakes(), {}, with_sources=False)

    def looked_up_anew(self) -> Project:
        """The same project, whose references are looked up again: secrets may have been changed meanwhile.

        Raises:
            ConfigError, Refused, Unreachable: as for `load_project`.
        """
        if self.files is None:
            return self
        found = _project_of(self.files.looked_up_anew(), Mistakes(), {})
        return replace(
            self,
            lake=found.lake,
            sources=found.sources,
            masking_key=found.masking_key,
            masking_key_unavailable=found.masking_key_unavailable,
            files=found.files,
        )


def load_project(
    path: Path | str | None = None,
    env: str | None = None,
    *,
    memory: str | int | None = None,
    parallel: int | None = None,
    with_sources: bool = True,
) -> Project:
    """Reads a project.

    Args:
        path: the file, or a folder at or below it; None for the folder of the process.
        env: the environment whose overlay counts; None for the one of ASGARD_ENV.
        memory: goes before the file's, for example `512MB`.
        parallel: goes before the file's.
        with_sources: False leaves the sources out, unread: who looks at tables needs none of their drivers.

    Raises:
        ConfigError: `what` has every mistake of the file, one a line:
            `asgard.yml:LINE:COLUMN: field.path: what; hint`.
        Refused, Unreachable: a store of secrets does not give what the file refers to outside of its sources;
            a source that wants something of it is `unavailable`, and the others are not.
    """
    mistakes = Mistakes()
    files = read_project_file(path, env, mistakes)
    given = {"memory": memory, "parallel": parallel}
    return _project_of(files, mistakes, given, with_sources=with_sources)


def _project_of(
    files: ProjectFile, mistakes: Mistakes, given: Mapping[str, Any], *, with_sources: bool = True
) -> Project:
    spared = () if with_sources else (SOURCES, MASKING_KEY)
    silent: dict[str, AsgardError] = {}
    tree = files.resolved(mistakes, [key for key in files.written.value if key not in spared], silent)
    for path, error in silent.items():
        if path != MASKING_KEY and not path.startswith(f"{SOURCES}."):
            raise error
    if MASKING_KEY in silent:
        tree = replace(tree, value={key: node for key, node in tree.value.items() if key != MASKING_KEY})
    nodes = {**tree.value, **{key: tree_of(value) for key, value in given.items() if value is not None}}
    if "data" in nodes:
        hint = "asgard run --config FILE loads a file with one data block; sources stand below data_sources"
        mistakes.add("is not a key of a project", path="data", hint=hint, place=nodes.pop("data").where)
    keys = read_model(ProjectKeys, Entries(nodes, "", tree.place, {}, folder=files.folder), mistakes)
    sources = _sources(nodes.get(SOURCES), files.folder, mistakes, silent) if with_sources else {}
    mistakes.raise_if_any()
    assert keys is not None
    return Project(
        file=files.file,
        folder=files.folder,
        environment=files.environment,
        name=keys.name or files.folder.name,
        workspace=keys.workspace,
        lake=keys.lake,
        sources=sources,
        models_folder=files.folder / keys.models,
        state_folder=files.folder / keys.state,
        memory_bytes=keys.memory,
        parallel=keys.parallel or default_parallel(),
        queue=keys.queue,
        schedules=keys.schedules,
        maintenance=keys.maintenance,
        masking_key=keys.masking_key,
        masking_key_unavailable=silent.get(MASKING_KEY),
        lineage=keys.lineage,
        beside=keys.beside,
        engines=keys.engines,
        schema_contract=keys.schema_contract,
        files=files,
    )


def default_parallel() -> int:
    """The processors, at most 4: more splits than that load the source, not the lake."""
    return min(os.cpu_count() or 1, 4)


def _sources(
    node: Node | None, folder: Path, mistakes: Mistakes, silent: Mapping[str, AsgardError]
) -> dict[str, SourceSpec]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        mistakes.add(
            "must be keys with values", path=SOURCES, hint="shop: {type: postgres, ...}", place=node.where
        )
        return {}
    found: dict[str, SourceSpec] = {}
    first: dict[str, str] = {}
    for name, child in node.value.items():
        path = dotted(SOURCES, name)
        if (other := first.setdefault(name.casefold(), name)) != name:
            what = f"{name!r} and {other!r} differ only in case"
            mistakes.add(what, path=path, hint="give one of them another name", place=child.key_place)
        spec = read_source(name, child, path, mistakes, folder, unavailable=silent.get(path))
        if spec is not None:
            found[name] = spec
    return found
