"""Whatever stands in a project file, a project or a ConfigError with places comes of it, and nothing else."""

# ruff: noqa: E501 - lists of words

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgard.app.config.data_block import load_data_block
from asgard.app.config.explain import explain
from asgard.app.config.project import load_project
from asgard.core.errors import ConfigError
from tests.app.own_connectors import use_own_connectors

KEYS = st.sampled_from(
    ["name", "version", "memory", "parallel", "lake", "location", "format", "data_sources", "data", "type", "source",
     "connection", "defaults", "tables", "endpoints", "files", "host", "port", "database", "password", "auth", "kind",
     "mode", "cursor", "cursor_lag", "primary_key", "as", "table", "exclude", "checks", "not_null", "between", "unique",
     "frequency", "enabled", "query", "path", "columns", "headers", "rowstore", "hub_api", "refusing", "api_config",
     "endpoint", "base_url", "chunk_size", "backend", "file_type", "shop", "Shop", "gold", "dsn", "tags", "column"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 10**30) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["rowstore", "hub_api", "merge", "1h", "512MB", "${HOME}", "${NOT_SET_X}", "$${", "${", "id", "*",
                       "public.*", "bearer", "csv", "api", "hourly", "${file:x}", "${HOME:-${NOT_SET_X}}"])
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=30,
)
LIKELY = st.fixed_dictionaries(
    {"type": st.sampled_from(["rowstore", "hub_api", "refusing", "nosuch"])},
    optional={"connection": TREES, "tables": st.lists(TREES, max_size=3), "endpoints": TREES, "defaults": TREES,
              "host": SCALARS, "database": SCALARS, "auth": TREES, "headers": TREES, "enabled": SCALARS},
)  # fmt: skip
PROJECTS = TREES | st.fixed_dictionaries(
    {"data_sources": st.dictionaries(KEYS, LIKELY | TREES, max_size=3)},
    optional={"lake": TREES, "memory": TREES},
)
FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(autouse=True)
def connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_connectors(monkeypatch)
    monkeypatch.delenv("ASGARD_ENV", raising=False)


def written(tree: Any) -> str:
    return yaml.safe_dump(tree, default_flow_style=None)


def told(action: Callable[[], object]) -> str | None:
    """What a ConfigError says; None when there is none. Everything else is raised."""
    try:
        action()
    except ConfigError as error:
        return error.what
    return None


@FUZZ
@given(base=PROJECTS, overlay=PROJECTS)
def test_projects(tmp_path: Path, base: Any, overlay: Any) -> None:
    (tmp_path / "asgard.yml").write_text(written(base))
    (tmp_path / "asgard.dev.yml").write_text(written(overlay))
    for env in (None, "dev"):
        what = told(partial(load_project, tmp_path, env))
        assert what != ""
        for line in (what or "").splitlines():
            assert re.match(r"asgard(\.dev)?\.yml:\d+:\d+: ", line)


@FUZZ
@given(
    base=PROJECTS,
    overlay=PROJECTS,
    key=st.lists(KEYS | st.sampled_from(["0", "[1]"]), min_size=1, max_size=5),
)
def test_explanations(tmp_path: Path, base: Any, overlay: Any, key: list[str]) -> None:
    (tmp_path / "asgard.yml").write_text(written(base or {"name": "x"}))
    (tmp_path / "asgard.dev.yml").write_text(written(overlay))
    asked = ".".join(key)
    what = told(partial(explain, tmp_path, asked, "dev"))
    if what is None:
        explanation = explain(tmp_path, asked, "dev")
        assert sum(answer.won for answer in explanation.answers) <= 1
        assert str(explanation).startswith(asked)
    else:
        assert "there is no key" in what or what.startswith("asgard")


@FUZZ
@given(block=LIKELY | TREES)
def test_data_blocks(tmp_path: Path, block: Any) -> None:
    (tmp_path / "config.yml").write_text(written({"data": block}))
    for document in (tmp_path / "config.yml", {"data": block}):
        assert told(partial(load_data_block, document)) != ""
