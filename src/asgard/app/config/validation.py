"""Nodes to typed models, and pydantic's errors to sentences with a place and a next step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from asgard.app.config.mistakes import Mistakes, Place, near
from asgard.app.config.yaml_text import Node, yaml_values
from asgard.core.config import FOLDER, READ_DOCUMENT
from asgard.core.errors import AsgardError
from asgard.core.secret import STARS, redact

Model = TypeVar("Model", bound=BaseModel)

SECRET_NAME = re.compile(
    r"pass|secret|token|credential|auth(?!or(s|_|$)|_?(type|kind|method))|api_?key|access_?key|private",
    re.IGNORECASE,
)
LONGEST_SHOWN = 60

_TYPES = {
    "text": ("string_type", "string_sub_type"),
    "a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "a number": ("float_type", "float_parsing", "decimal_type", "decimal_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
    "a list": ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"),
    "keys with values": (
        "dict_type",
        "mapping_type",
        "model_type",
        "model_attributes_type",
        "dataclass_type",
    ),
    "empty": ("none_required",),
}
_WANTED_TYPE = {kind: wanted for wanted, kinds in _TYPES.items() for kind in kinds}
_WANTED_VALUE = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} long",
    "too_long": "at most {max_length} long",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


@dataclass(frozen=True)
class Entries:
    """The keys that one model is made of, as they stand in the file.

    Attributes:
        nodes: key to value.
        path: what they stand under; of a key that is not in `paths`, the path begins with it.
        place: where a missing key is told.
        paths: full path of a key that stands elsewhere (in `connection`, in `defaults`).
        also_known: keys beside the model's own, for suggestions.
        elsewhere: keys that people write here though they belong elsewhere, and the hint for each.
        missing_path: what the path of a missing key begins with, if not with `path`.
        folder: where relative paths among the values begin; None for the folder of the process.
    """

    nodes: Mapping[str, Node]
    path: str
    place: Place | None
    paths: Mapping[str, str]
    also_known: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    missing_path: str | None = None
    folder: Path | None = None

    def path_of(self, key: str) -> str:
        """The full path of a key."""
        return self.paths.get(key) or dotted(self.path, key)


def dotted(path: str, key: str | int) -> str:
    """The path one step further: `tables[0]`, `tables[0].name`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def said(node: Node) -> str:
    """A text as a message may have it: stars if it came from a reference, whatever it is (Promise 6)."""
    return STARS if node.referred else repr(node.text)


def names_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Every key that a field may be given by, its own name first."""
    alias = field.validation_alias or field.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return tuple(dict.fromkeys([name, *(choice for choice in choices if isinstance(choice, str))]))


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Every key of a model, aliases too."""
    return {key: field for name, field in model.model_fields.items() for key in names_of(name, field)}


def is_secret(annotation: Any) -> bool:
    """Whether a value of this type is a secret, or holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(is_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(is_secret(inner) for inner in get_args(annotation))


def read_model(model: type[Model], entries: Entries, mistakes: Mistakes) -> Model | None:
    """The model of these entries, or None: then `mistakes` has everything that is wrong with them.

    A number where text is wanted is taken as it is written (`password: 007`); null is as if the key was
    not there.
    """
    entries = replace(entries, nodes={k: node for k, node in entries.nodes.items() if node.value is not None})
    values = {key: node.plain() for key, node in entries.nodes.items()}
    while True:
        try:
            context = {FOLDER: entries.folder, READ_DOCUMENT: yaml_values}
            instance = model.model_validate(values, context=context)
        except ValidationError as error:
            found = [_Found.of(entry, model, entries) for entry in error.errors(include_url=False)]
            if sum(_taken_as_written(one, values) for one in found):
                continue
            _tell(found, model, entries, mistakes)
            _refuse_booleans(model, entries, {one.steps[0] for one in found if one.steps}, mistakes)
            return None
        except AsgardError as error:
            hidden = list(_hidden_texts(model, entries))
            what, hint = redact(error.what, hidden), redact(error.hint, hidden)
            mistakes.add(what, path=entries.path, hint=hint, place=entries.place)
            return None
        return None if _refuse_booleans(model, entries, set(), mistakes) else instance


def _refuse_booleans(
    model: type[BaseModel], entries: Entries, told: set[str | int], mistakes: Mistakes
) -> bool:
    """Tells where true stands for a number: pydantic takes it for 1. True if it told any."""
    refused = False
    for key, node in entries.nodes.items():
        if isinstance(node.value, bool) and key not in told and (info := keys_of(model).get(key)):
            kinds = set(_leaves(info.annotation))
            if kinds & {int, float} and not kinds & {bool, Any}:
                what = f"is {str(node.value).lower()}, must be a number"
                mistakes.add(what, path=entries.path_of(key), place=node.place)
                refused = True
    return refused


def _leaves(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for one in inner:
        yield from _leaves(one)


@dataclass(frozen=True)
class _Found:
    """An error of pydantic, brought to the node that it is about.

    Attributes:
        steps: keys and indexes from the entries to the node.
        node: None when the error is about the entries as a whole, or about a missing key.
        path: as people write it.
        missing: the key that is not there, if that is the error.
    """

    kind: str
    message: str
    context: Mapping[str, Any]
    steps: tuple[str | int, ...]
    node: Node | None
    path: str
    missing: str = ""

    @property
    def place(self) -> Place | None:
        """An unknown key is told where the key is, everything else where the value is."""
        if self.node is None:
            return None
        return self.node.key_place if self.kind == "extra_forbidden" else self.node.where

    @classmethod
    def of(cls, error: Any, model: type[BaseModel], entries: Entries) -> _Found:
        """Follows the error's loc through the nodes; steps that are no key (tags of unions) are left out."""
        steps: list[str | int] = []
        node: Node | None = None
        path = entries.path
        children: Any = entries.nodes
        for number, step in enumerate(error["loc"]):
            key = _present(step, children, model) if number == 0 else step
            if isinstance(children, Mapping) and key in children:
                path = dotted(path, key) if steps else entries.path_of(str(key))
            elif isinstance(children, list) and isinstance(key, int) and key < len(children):
                path = dotted(path, key)
            else:
                continue
            node = children[key]
            children = node.value
            steps.append(key)
        missing = str(error["loc"][-1]) if error["type"] == "missing" else ""
        if missing:
            path = dotted(path if steps or entries.missing_path is None else entries.missing_path, missing)
        context = error.get("ctx", {})
        return cls(error["type"], error["msg"], context, tuple(steps), node, path, missing)


def _present(step: str | int, children: Mapping[str, Node], model: type[BaseModel]) -> str | int:
    """The key by which a field was given, whatever name pydantic calls it by."""
    if step in children:
        return step
    for name, info in model.model_fields.items():
        names = names_of(name, info)
        if step in names:
            return next((key for key in names if key in children), step)
    return step


def _taken_as_written(found: _Found, values: dict[str, Any]) -> bool:
    """Puts `007` where text was wanted and a number was read; True if it did."""
    node = found.node
    if found.kind != "string_type" or node is None or not found.steps:
        return False
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return False
    holder: Any = values
    for step in found.steps[:-1]:
        holder = holder[step]
    if holder[found.steps[-1]] == node.text:
        return False
    holder[found.steps[-1]] = node.text
    return True


def _tell(found: list[_Found], model: type[BaseModel], entries: Entries, mistakes: Mistakes) -> None:
    hidden = list(_hidden_texts(model, entries))
    told: dict[str, list[_Found]] = {}
    for one in found:
        if one.node is None or not one.node.unresolved:
            told.setdefault(one.path, []).append(one)
    for path, group in told.items():
        place = group[0].place or entries.place
        types = list(dict.fromkeys(_WANTED_TYPE[one.kind] for one in group if one.kind in _WANTED_TYPE))
        deeper = any(other.startswith((f"{path}.", f"{path}[")) for other in told)
        rest = [one for one in group if one.kind not in _WANTED_TYPE]
        if types and not deeper and not rest:
            what = f"is {_kind(group[0], model)}, must be {' or '.join(types)}"
            hint = "put it in quotes" if types == ["text"] and _is_word(group[0].node) else ""
            mistakes.add(what, path=path, hint=hint, place=place)
        for one in rest:
            what, hint = _sentence(one, model, entries)
            mistakes.add(redact(what, hidden), path=path, hint=redact(hint, hidden), place=place)


def _is_word(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, bool)


def _sentence(one: _Found, model: type[BaseModel], entries: Entries) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    if one.kind == "missing":
        field = keys_of(model).get(one.missing) if not one.steps else None
        return "is missing", _as_hint(field.description or "") if field else ""
    if one.kind == "extra_forbidden":
        return "is not a known key", _known_keys(one, model, entries)
    if one.kind in _WANTED_VALUE:
        wanted = _WANTED_VALUE[one.kind].format(**one.context).replace("'", "")
        wanted = re.sub(r"<\w+\.\w+: (\w+)>", r"\1", wanted)  # a word of an enumeration, as it is written
        value = one.node.value if one.node else None
        choices = re.split(r", | or ", wanted) if one.kind in ("literal_error", "enum") else []
        return f"is {_shown(one, model)}, must be {wanted}", near(str(value), choices)
    if one.kind in ("value_error", "assertion_error"):
        what, _, hint = str(one.context.get("error", one.message)).partition("; ")
        return what, hint
    return one.message[:1].lower() + one.message[1:], ""


def _as_hint(description: str) -> str:
    """A description goes on where a sentence has begun."""
    word = description.partition(" ")[0]
    return (
        description.rstrip(".") if word.isupper() else description[:1].lower() + description[1:].rstrip(".")
    )


def _known_keys(one: _Found, model: type[BaseModel], entries: Entries) -> str:
    wrong = str(one.steps[-1]) if one.steps else ""
    known: Iterable[str] = (*keys_of(model), *entries.also_known)
    if len(one.steps) > 1:
        known = sorted({key for inner in _models_at(model, one.steps[:-1]) for key in keys_of(inner)})
    elsewhere = entries.elsewhere.get(wrong) if len(one.steps) == 1 else None
    return elsewhere or near(wrong, known) or f"known: {', '.join(known)}"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _models_at(model: type[BaseModel], steps: Iterable[str | int]) -> list[type[BaseModel]]:
    """The models that a value may be of; numbers and names of entries lead to no other one."""
    models = [model]
    for step in steps:
        fields = [field for one in models if (field := keys_of(one).get(str(step))) is not None]
        models = [inner for field in fields for inner in _models_in(field.annotation)] if fields else models
    return models


def _kind(one: _Found, model: type[BaseModel]) -> str:
    value = one.node.value if one.node else None
    if isinstance(value, str):
        shown = _shown(one, model)
        return f"text ({shown})" if shown != "text" else shown
    return _shown(one, model)


def _shown(one: _Found, model: type[BaseModel]) -> str:
    """A value for a sentence; of a secret, or what may be one, its kind alone (Promise 6)."""
    node = one.node
    value = node.value if node else None
    if node is None or value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    if node.referred or _hides(one, model) or len(str(value)) > LONGEST_SHOWN:
        return "text" if isinstance(value, str) else "a number"
    return repr(value) if isinstance(value, str) else node.text


def _hides(one: _Found, model: type[BaseModel]) -> bool:
    if any(SECRET_NAME.search(step) for step in one.steps if isinstance(step, str)):
        return True
    fields = (keys_of(inner).get(str(one.steps[-1])) for inner in _models_at(model, one.steps[:-1]))
    return any(field is not None and is_secret(field.annotation) for field in fields)


def _hidden_texts(model: type[BaseModel], entries: Entries) -> Iterator[str]:
    """Every text that no message may show: what came from references, and what goes into secrets."""
    for key, node in entries.nodes.items():
        yield from _texts_below(model, key, node)


def _texts_below(model: type[BaseModel], key: str, node: Node) -> Iterator[str]:
    field = keys_of(model).get(key)
    kind = field.annotation if field is not None else None
    models = [*_models_in(kind)]
    if len(models) == 1 and isinstance(node.value, dict) and set(node.value) <= set(keys_of(models[0])):
        for inner, child in node.value.items():  # which of its values are secrets, the model knows
            yield from _texts_below(models[0], inner, child)
    else:
        yield from _texts(node, SECRET_NAME.search(key) is not None or is_secret(kind))


def _texts(node: Node, secret: bool) -> Iterator[str]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _texts(child, secret or SECRET_NAME.search(key) is not None)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _texts(child, secret)
    elif isinstance(node.value, str) and (secret or node.referred):
        yield node.value
    elif secret and not isinstance(node.value, bool) and node.value is not None:
        yield node.text
