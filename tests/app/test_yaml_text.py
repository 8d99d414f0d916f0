"""YAML to values with places: what is read, what is refused, and where it is said to stand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.yaml_text import Node, parse_yaml, read_yaml, tree_of


def read(text: str) -> tuple[Node | None, list[str]]:
    mistakes = Mistakes()
    node = parse_yaml(text, "a.yml", mistakes)
    return node, [str(mistake) for mistake in mistakes]


def plain(text: str) -> Any:
    node, mistakes = read(text)
    assert mistakes == []
    assert node is not None
    return node.plain()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("2024-01-31", "2024-01-31"), ("2024-01-31 10:00:00", "2024-01-31 10:00:00"), ("12:30", "12:30"),
        ("0", 0), ("-7", -7), ("007", "007"), ("+1", 1), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"),
        ("9" * 100, int("9" * 100)), ("9" * 5000, "9" * 5000),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("12e4567", "12e4567"), (".inf", math.inf), ("-b", "-b"),
        ("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("<<", "<<"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(written: str, value: Any) -> None:
    assert plain(f"key: {written}") == {"key": value}
    assert type(plain(f"key: {written}")["key"]) is type(value)


def test_every_key_and_value_knows_its_place() -> None:
    node, _ = read("a: 1\nb:\n  - c: 'ü'\n    d:   |\n      x\n  - 7\n")
    assert node is not None
    entry = node.value["b"].value[0]
    assert [str(place) for place in (node.value["a"].key_place, node.value["a"].place)] == [
        "a.yml:1:1",
        "a.yml:1:4",
    ]
    assert str(node.value["b"].where) == "a.yml:2:1"
    assert str(entry.where) == "a.yml:3:5"
    assert str(entry.value["c"].place) == "a.yml:3:8"
    assert str(entry.value["d"].key_place) == "a.yml:4:5"
    assert str(node.value["b"].value[1].where) == "a.yml:6:5"


def test_columns_count_characters_not_bytes() -> None:
    node, _ = read("größe: {ä: ö, ß: 1}\n")
    assert node is not None
    assert str(node.value["größe"].value["ß"].place) == "a.yml:1:18"


def test_anchors_aliases_and_merge_keys() -> None:
    text = "x: &x {a: 1, b: 2}\ny: {b: 3, <<: *x}\nz: {<<: [*x, {b: 9, c: 4}]}\nw: *x\nn: [&n 5, *n]\n"
    assert plain(text) == {
        "x": {"a": 1, "b": 2},
        "y": {"a": 1, "b": 3},
        "z": {"a": 1, "b": 2, "c": 4},
        "w": {"a": 1, "b": 2},
        "n": [5, 5],
    }


def test_an_alias_has_the_place_of_its_own_key() -> None:
    node, _ = read("x: &x {a: 1}\ny: *x\n")
    assert node is not None
    assert [str(node.value[key].where) for key in "xy"] == ["a.yml:1:1", "a.yml:2:1"]


def test_tabs_may_separate_but_not_indent() -> None:
    assert plain("a:\t1\nb: 2\t# two\n") == {"a": 1, "b": 2}
    _, mistakes = read("a:\n\tb: 2\n")
    assert len(mistakes) == 1
    assert mistakes[0].startswith("a.yml:2:1: this is not YAML: ")
    assert mistakes[0].endswith("; indent with spaces, not with tabs")


def test_keys_given_twice_are_all_told() -> None:
    node, mistakes = read("a: 1\nb: {c: 1, d: 2, c: 3}\na: 4\n")
    assert mistakes == [
        "a.yml:2:17: the key 'c' is given twice; the first is on line 2: keep one of them",
        "a.yml:3:1: the key 'a' is given twice; the first is on line 1: keep one of them",
    ]
    assert node is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1,", "a.yml:2:1: this is not YAML: did not find expected node content"),
        ("a: b: c", "a.yml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: @b", "a.yml:1:4: this is not YAML: found character that cannot start any token"),
        ("a: {b: ${C}}", 'put a value with ${...} in quotes: "${NAME}"'),
        ("a: 1\n---\nb: 2\n", "a.yml:2:1: a second document begins here"),
        ("a: *b", "a.yml:1:4: there is no anchor &b before *b"),
        ("a: &a [*a]", "a.yml:1:8: there is no anchor &a before *a"),
        ("? [a]\n: 1", "a.yml:1:3: a list or mapping stands where a key is expected"),
        ("x: &x 1\n*x : 2", "a.yml:2:1: an alias stands where a key is expected"),
        ("a: {<<: 5}", "a.yml:1:9: << takes a mapping or a list of mappings"),
        ("a: !secret b", "a.yml:1:4: the tag !secret means nothing here; leave it out"),
        ("a: !!python/name:os.system ''", "the tag !!python/name:os.system means nothing here"),
        ("a: \x07", "a.yml:1:4: character U+0007 is not allowed in YAML"),
        ("ä: 1\nö: ü\x1f", "a.yml:2:5: character U+001F is not allowed in YAML"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, told: str) -> None:
    _, mistakes = read(text)
    assert len(mistakes) == 1
    assert told in mistakes[0]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "a:\n" + " " * 9 + "- " * 100]
)
def test_huge_nesting_is_refused_at_once(text: str) -> None:
    _, mistakes = read(text)
    assert len(mistakes) == 1
    assert "nested more than 60 deep" in mistakes[0]


def test_a_file_that_explodes_through_aliases_is_refused_before_it_does() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    _, mistakes = read("\n".join(lines))
    assert len(mistakes) == 1
    assert "with its aliases this is more than 2,000,000 values" in mistakes[0]


def test_an_empty_text_is_a_node_of_nothing() -> None:
    for text in ("", "\n\n", "# only words\n", "---\n"):
        assert plain(text) is None


def test_files_that_cannot_be_read(tmp_path: Any) -> None:
    def told(name: str) -> list[str]:
        mistakes = Mistakes()
        assert read_yaml(tmp_path / name, name, mistakes) is None
        return [str(mistake) for mistake in mistakes]

    (tmp_path / "latin.yml").write_bytes("a: 1\nb: grün\n".encode("latin-1"))
    (tmp_path / "wide.yml").write_bytes("a: 1\n".encode("utf-16"))
    assert told("latin.yml") == ["latin.yml:2:6: byte 0xfc is not UTF-8; save the file as UTF-8"]
    assert told("wide.yml") == ["wide.yml:1:1: byte 0xff is not UTF-8; save the file as UTF-8"]
    assert told("none.yml") == ["none.yml cannot be read: No such file or directory"]
    assert told(".") == [". cannot be read: Is a directory"]


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_it(tmp_path: Any) -> None:
    (tmp_path / "a.yml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    mistakes = Mistakes()
    node = read_yaml(tmp_path / "a.yml", "a.yml", mistakes)
    assert node is not None
    assert node.plain() == {"a": 1, "b": 2}
    assert str(node.value["b"].key_place) == "a.yml:2:1"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Quoting(yaml.SafeDumper):
    """Quotes every text: which ones need it differs between the versions of YAML."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, '"'))


@given(VALUES)
def test_what_was_written_is_read(value: Any) -> None:
    text = yaml.dump({"key": value}, Dumper=Quoting)
    assert plain(text) == {"key": value}


@given(VALUES)
def test_values_from_python_are_the_same_without_places(value: Any) -> None:
    assert tree_of(value).plain() == value


@given(st.text())
def test_no_text_raises_anything(text: str) -> None:
    read(text)
