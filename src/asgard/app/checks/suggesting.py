"""The wish to be shown checks that fit a table: its profile, and what it suggests, as YAML to paste."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from asgard.app.config.text_files import yaml_of
from asgard.app.project.workspace import Workspace
from asgard.quality.profile import profiles
from asgard.quality.suggestions import Suggestion, suggestions


def suggest(workspace: Workspace, name: str) -> list[Suggestion]:
    """Checks that every row of a table passes now, with the evidence.

    Raises:
        ConfigError: there is no table of that name.
    """
    table = workspace.table(name)
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        return suggestions(profiles(engine, table.mount()), datetime.now(UTC))


def yaml_of_suggestions(found: Sequence[Suggestion]) -> str:
    """What can be pasted below a table of asgard.yml, the evidence as comments."""
    lines = ["checks:"] if found else ["checks: []"]
    for suggestion in found:
        first, *others = yaml_of([suggestion.entry]).splitlines()
        lines += [f"  # {suggestion.evidence}", *(f"  {line}" for line in (first, *others))]
    return "\n".join(lines) + "\n"
