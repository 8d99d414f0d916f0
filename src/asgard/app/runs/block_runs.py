"""Wishes about a file with one `data:` block: look at what it names, or load it into a lake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from asgard.app.config.data_block import DataBlock, load_data_block
from asgard.app.config.project import LakeSpec, Project, find_project, load_project
from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, run
from asgard.app.sources.sources import first_rows
from asgard.core.cancel import Cancel
from asgard.core.errors import ConfigError
from asgard.core.events import Emit
from asgard.flow.run import Summary

TARGET_COLUMN = b"asgard.target_column"


def sample_block(file: Path, limit_rows: int = 10) -> pa.Table:
    """The schema and the first rows of what a block names; nothing is written.

    Returns:
        The rows; schema metadata `asgard.target_column` names the target column if the block does.

    Raises:
        ConfigError: with every mistake of the block, or the target column is not there.
    """
    block = load_data_block(file)
    with Workspace(_project(file, block)).source(block.source.name) as source:
        rows = first_rows(source, block.table, limit_rows)
    target = block.table.target_column
    if target is None:
        return rows
    if target not in rows.schema.names:
        raise ConfigError(
            f"there is no target column {target!r}", hint=f"the columns are {', '.join(rows.schema.names)}"
        )
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), TARGET_COLUMN: target.encode()})


def load_block(file: Path, to: str, emit: Emit, cancel: Cancel | None = None) -> Summary:
    """Loads what a block names into the lake of the project here or above, else into data/lakehouse.

    Args:
        to: `bronze.SOURCE.TABLE`, or `SOURCE.TABLE`.

    Raises:
        ConfigError: with every mistake of the block, or `to` names no table.
    """
    parts = to.removeprefix("bronze.").split(".")
    if len(parts) != 2 or not all(parts):
        raise ConfigError(f"{to!r} is no table", hint="--to bronze.SOURCE.TABLE, such as bronze.shop.orders")
    block = load_data_block(file)
    table = block.table.model_copy(update={"table": parts[1]})
    block = replace(block, source=replace(block.source, name=parts[0], tables=(table,)))
    return run(Workspace(_project(file, block)), RunWish(), emit, cancel)


def _project(file: Path, block: DataBlock) -> Project:
    """A project of one source: the lake and the history are those of the project around, if there is one."""
    sources = {block.source.name: block.source}
    try:
        around = load_project(find_project(Path.cwd()), with_sources=False)
    except ConfigError:
        folder = Path.cwd()
        return Project(
            file=file.absolute(),
            folder=folder,
            environment=None,
            name=folder.name,
            workspace="default",
            lake=LakeSpec(),
            sources=sources,
            models_folder=folder / ".asgard" / "no-models",
            state_folder=folder / ".asgard",
            memory_bytes=1_000_000_000,
            parallel=2,
        )
    return replace(around, sources=sources, models_folder=around.state_folder / "no-models", files=None)
