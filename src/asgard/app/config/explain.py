"""Where a value of the project file comes from: every place that was asked, in order, and which one won.

Works on a file with mistakes too, as long as it is YAML: finding them is what it is for. What may be a secret
is stars: what goes into a secret field, has a secret's name, or comes from a reference into a place of which
it is not known that it holds no secret (Promise 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from asgard.app.config.key_paths import Steps, key_of, node_at, steps_of
from asgard.app.config.lakes import LAKE_GROUPS, LakeSpec
from asgard.app.config.mistakes import Mistakes, near
from asgard.app.config.project import ProjectKeys, default_parallel
from asgard.app.config.project_file import (
    SOURCES,
    TABLE_LISTS,
    ProjectFile,
    merged,
    read_project_file,
    values_of,
)
from asgard.app.config.references import Lookup
from asgard.app.config.source_reading import GROUPING, flattens, source_class
from asgard.app.config.specs import SourceKeys, TableSpec
from asgard.app.config.validation import SECRET_NAME, is_secret, keys_of, names_of
from asgard.app.config.yaml_text import Node
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.secret import STARS
from asgard.secrets.surroundings import STORES

_REFERENCE = re.compile(rf"\$\{{((?:env:)?\w+|(?:file|{'|'.join(STORES)}):[^{{}}]+?)(:-[^{{}}]*)?\}}")
"""One whole reference, whose text holds no secret but in its default."""


@dataclass(frozen=True)
class Answer:
    """What one place said.

    Attributes:
        place: `asgard.prod.yml`, `asgard.yml:9:17`, `default`.
        key: under which key it was looked for.
        found: whether it has a value.
        won: whether that is the value that counts.
        written: the value as it is written there, stars for secrets; empty where there is none.
        lookups: where its references were looked up.
    """

    place: str
    key: str
    found: bool
    won: bool = False
    written: str = ""
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why a key has its value.

    Attributes:
        value: as text, JSON for lists and mappings; stars for a secret, None where there is no value.
        answers: every place, in the order in which they count.
        problems: what is wrong with the references of the value.
    """

    key: str
    value: str | None
    secret: bool
    answers: tuple[Answer, ...]
    problems: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        answers = [
            {
                "place": answer.place,
                "key": answer.key,
                "found": answer.found,
                "won": answer.won,
                **({"written": answer.written} if answer.found else {}),
                "lookups": [{"place": look.place, "found": look.found} for look in answer.lookups],
            }
            for answer in self.answers
        ]
        return {
            "key": self.key,
            "value": self.value,
            "secret": self.secret,
            "answers": answers,
            "problems": list(self.problems),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.key} = {'nothing' if self.value is None else self.value}",
            "looked up in this order:",
        ]
        for number, answer in enumerate(self.answers, 1):
            said = answer.written if answer.found else "not there"
            key = "" if answer.key == self.key else f" {answer.key}"
            lines.append(f"  {number}. {answer.place}{key}: {said}{'  <- won' if answer.won else ''}")
            lines += [
                f"       {look.place}: {'found' if look.found else 'not set'}" for look in answer.lookups
            ]
        return "\n".join([*lines, *(f"  problem: {problem}" for problem in self.problems)])


def explain(project: Path | str | None, key: str, env: str | None = None) -> Explanation:
    """Says where a value was looked up and what won.

    Args:
        project: the project file, or a folder at or below it; None for the folder of the process.
        key: `lake.location`, `data_sources.shop.password`, `data_sources.shop.tables.orders.cursor`
            or `...tables[0].cursor`.

    Raises:
        ConfigError: there is no such key, file or environment.
    """
    files = read_project_file(project, env, Mistakes())
    return _Explainer(files, key).explain()


@dataclass
class _Explainer:
    files: ProjectFile
    key: str
    problems: list[str] = field(default_factory=list)

    def explain(self) -> Explanation:
        steps = steps_of(self.key, (self.files.overlay, self.files.base))
        known = self._field(steps)
        answers, winner = self._asked(steps, known)
        default = self._default(steps, known)
        if winner is None and known is None:
            raise ConfigError(f"there is no key {self.key!r}", hint=self._suggestion(steps))
        if known is not None:
            shown = "" if default is None else default
            answers.append(Answer("default", self.key, default is not None, winner is None, shown))
        value = default if winner is None else self._shown(self._whole(winner, steps), steps, known)
        secret = value == STARS
        return Explanation(self.key, value, secret, tuple(answers), tuple(self.problems))

    def _whole(self, winner: Node, steps: Steps) -> Node:
        """Mappings and lists are of both files."""
        if not isinstance(winner.value, dict | list) or self.files.overlay is None:
            return winner
        return node_at(merged(self.files.base, self.files.overlay), steps) or winner

    def _asked(self, steps: Steps, known: FieldInfo | None) -> tuple[list[Answer], Node | None]:
        """What the files say, the overlay before the base, each key before the one that stands in for it."""
        trees = [(self.files.file.name, self.files.base)]
        if self.files.overlay is not None:
            trees.insert(0, (self.files.overlay_name, self.files.overlay))
        answers: list[Answer] = []
        winner: Node | None = None
        ended = False
        for number, candidate in enumerate(self._candidates(steps, known)):
            taken_away = False  # null hides what the file below says under the same key
            for name, tree in trees:
                node = node_at(tree, candidate)
                if node is None:
                    if number == 0:
                        answers.append(Answer(name, self.key, False))
                    continue
                won = winner is None and node.value is not None and not taken_away and not ended
                taken_away = taken_away or node.value is None
                answers.append(self._answer(node, candidate, known, won))
                winner = node if won else winner
            # A table that says null does not want the default of its source either.
            ended = ended or (taken_away and winner is None and _is_of_table(candidate))
        return answers, winner

    def _answer(self, node: Node, steps: Steps, known: FieldInfo | None, won: bool) -> Answer:
        resolved = self.files.references.resolve(node.text) if isinstance(node.value, str) else None
        written = self._shown(node, steps, known, as_written=True)
        lookups = tuple(resolved.lookups) if resolved else ()
        if resolved and won:
            self.problems += [f"{what}; {hint}" for _, what, hint in resolved.mistakes]
            self.problems += [f"{error.what}; {error.hint}" for _, error in resolved.failures]
        return Answer(str(node.where), key_of(steps), True, won, written, lookups)

    def _shown(self, node: Node, steps: Steps, known: FieldInfo | None, *, as_written: bool = False) -> str:
        if node.value is None:
            return "null"
        if isinstance(node.value, dict | list):
            return json.dumps(self._plain(node, steps), ensure_ascii=False, default=str)
        return str(self._scalar(node, steps, known, as_written))

    def _plain(self, node: Node, steps: Steps) -> Any:
        if isinstance(node.value, dict):
            return {key: self._plain(child, (*steps, key)) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(child, (*steps, number)) for number, child in enumerate(node.value)]
        return self._scalar(node, steps, self._field(steps), False)

    def _scalar(self, node: Node, steps: Steps, known: FieldInfo | None, as_written: bool) -> Any:
        resolved = self.files.references.resolve(node.text) if isinstance(node.value, str) else None
        named = any(SECRET_NAME.search(step) for step in steps[1:] if isinstance(step, str))
        reference = _REFERENCE.fullmatch(node.text) if as_written else None
        if reference is not None:
            return "${" + reference[1] + (":-...}" if reference[2] else "}")
        mistaken = known is None and bool(self._models(steps))  # a key that nobody knows: meant to be which?
        told_by = known if known is not None or len(steps) < 2 else self._field(steps[:-1])
        if named or mistaken or (told_by is not None and is_secret(told_by.annotation)):
            return STARS
        if resolved is None or not resolved.referred:
            return resolved.text if resolved else node.value
        return resolved.text if known is not None else STARS

    def _candidates(self, steps: Steps, known: FieldInfo | None) -> Iterator[Steps]:
        """The key itself, then those that say the same: other names, grouped or not, defaults."""
        yield steps
        seen = {steps}
        for candidate in self._stand_ins(steps, known):
            if candidate not in seen:
                seen.add(candidate)
                yield candidate

    def _stand_ins(self, steps: Steps, known: FieldInfo | None) -> Iterator[Steps]:
        names = self._names(steps, known)
        for name in names:
            yield (*steps[:-1], name)
        if steps[0] != SOURCES or known is None:
            return
        if len(steps) in (3, 4) and steps[2] not in TABLE_LISTS and steps[2] != "defaults":
            for name in names:
                yield (*steps[:2], GROUPING, name)
                yield (*steps[:2], name)
        if _is_of_table(steps):
            for name in names:
                yield (*steps[:2], "defaults", name)
            if steps[-1] == "frequency":
                yield (*steps[:2], "frequency")

    def _names(self, steps: Steps, known: FieldInfo | None) -> tuple[str, ...]:
        for model in self._models(steps):
            for name, info in model.model_fields.items():
                if info is known:
                    return names_of(name, info)
        return ()

    def _models(self, steps: Steps) -> list[type[BaseModel]]:
        """The models that the last step may be a field of."""
        if len(steps) == 1:
            return [ProjectKeys]
        if len(steps) == 2 and steps[0] == "lake":
            return [LakeSpec]
        if len(steps) == 3 and steps[0] == "lake":
            return [model for group, model in LAKE_GROUPS.items() if group == steps[1]]
        if len(steps) < 3 or steps[0] != SOURCES:
            return []
        connector = self._connector(str(steps[1]))
        if len(steps) == 3:
            return [SourceKeys, *([connector.Config] if connector else [])]
        if len(steps) == 4 and steps[2] == GROUPING:
            return [connector.Config] if connector and flattens(connector.Config) else []
        if _is_of_table(steps) or (len(steps) == 4 and steps[2] == "defaults"):
            return [TableSpec, *([connector.StreamOptions] if connector else [])]
        return []

    def _field(self, steps: Steps) -> FieldInfo | None:
        for model in self._models(steps):
            if (found := keys_of(model).get(str(steps[-1]))) is not None:
                return found
        return None

    def _connector(self, source: str) -> Any:
        types = [
            node_at(tree, (SOURCES, source, "type")) for tree in (self.files.overlay, self.files.base) if tree
        ]
        given = next((node.text for node in types if node is not None and node.value is not None), source)
        try:
            return source_class(given)
        except (AsgardError, ImportError):
            return None

    def _default(self, steps: Steps, known: FieldInfo | None) -> str | None:
        if steps == ("name",):
            return self.files.folder.name
        if steps == ("parallel",):
            return str(default_parallel())
        if _is_of_table(steps) and steps[-1] == "mode":
            return "merge" if self._has(steps, "cursor") and self._has(steps, "primary_key") else "replace"
        if known is None or known.is_required():
            return None
        value = known.get_default(call_default_factory=True, validated_data={})
        if value is None or value == () or isinstance(value, BaseModel):
            return None
        return STARS if is_secret(known.annotation) else str(value)

    def _has(self, steps: Steps, key: str) -> bool:
        sibling = (*steps[:-1], key)
        return self._asked(sibling, self._field(sibling))[1] is not None

    def _suggestion(self, steps: Steps) -> str:
        """Keys that are near, or those beside it; where there are none, those of the step before."""
        parents = [node_at(tree, steps[:-1]) for tree in (self.files.overlay, self.files.base) if tree]
        known = [key for model in self._models(steps) for key in keys_of(model)]
        known += [key for parent in parents for key in values_of(parent)]
        if not known and len(steps) > 1:
            return self._suggestion(steps[:-1])
        return near(str(steps[-1]), known) or f"there are: {', '.join(dict.fromkeys(known))}"


def _is_of_table(steps: Steps) -> bool:
    return len(steps) == 5 and steps[0] == SOURCES and steps[2] in TABLE_LISTS
