"""Which files a project is made of, and how an overlay lies over the file below."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.project_file import environments, find_project, read_project_file
from asgard.core.errors import ConfigError
from tests.app.own_connectors import Folder


def together(folder: Folder, base: str, overlay: str) -> object:
    folder.write(base)
    folder.write(overlay, "asgard.prod.yml")
    mistakes = Mistakes()
    tree = read_project_file(folder.path, "prod", mistakes).resolved(mistakes)
    assert not mistakes
    return tree.plain()


def test_the_file_is_found_from_any_folder_below(tmp_path: Path) -> None:
    (tmp_path / "asgard.yaml").write_text("")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_project(tmp_path / "a" / "b") == tmp_path / "asgard.yaml"
    assert find_project(tmp_path / "asgard.yaml") == tmp_path / "asgard.yaml"


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text("")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "asgard.yml").write_text("")
    assert find_project(tmp_path / "a") == tmp_path / "a" / "asgard.yml"


def test_without_a_file_the_hint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no asgard.yml in .* or above") as caught:
        find_project(tmp_path)
    assert "asgard init" in caught.value.hint
    with pytest.raises(ConfigError, match=r"there is no file .*other.yml"):
        find_project(tmp_path / "other.yml")


def test_two_files_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "asgard.yml").write_text("")
    (tmp_path / "asgard.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"has both asgard.yml and asgard.yaml"):
        find_project(tmp_path)


def test_mappings_merge_values_and_lists_replace(folder: Folder) -> None:
    base = (
        "name: a\nlake: {format: delta, location: x}\nparallel: 2\nsome: {list: [1, 2], deep: {a: 1, b: 2}}\n"
    )
    over = "lake: {location: y}\nparallel: null\nsome: {list: [3], deep: {b: {c: 4}}}\nnew: 5\n"
    assert together(folder, base, over) == {
        "name": "a",
        "lake": {"format": "delta", "location": "y"},
        "parallel": None,
        "some": {"list": [3], "deep": {"a": 1, "b": {"c": 4}}},
        "new": 5,
    }


def test_tables_merge_by_their_names(folder: Folder) -> None:
    base = """
data_sources:
  shop:
    tables: [orders, {name: items, mode: append, primary_key: [a, b]}, {name: people}]
"""
    over = """
data_sources:
  shop:
    tables:
      - {name: items, primary_key: [c]}
      - orders
      - {name: new}
"""
    assert together(folder, base, over) == {
        "data_sources": {
            "shop": {
                "tables": [
                    {"name": "orders"},
                    {"name": "items", "mode": "append", "primary_key": ["c"]},
                    {"name": "people"},
                    {"name": "new"},
                ]
            }
        }
    }


def test_tables_of_one_name_merge_by_what_they_are_called(folder: Folder) -> None:
    base = "data_sources: {s: {tables: [{name: a, as: x}, {name: a, as: y, query: q}]}}"
    over = "data_sources: {s: {tables: [{name: a, as: y, query: r}]}}"
    merged = together(folder, base, over)
    assert merged == {
        "data_sources": {"s": {"tables": [{"name": "a", "as": "x"}, {"name": "a", "as": "y", "query": "r"}]}}
    }


def test_lists_without_names_replace(folder: Folder) -> None:
    base = "a: [x, y]\nb: [{c: 1}, {name: d}]\nchecks: [{unique: id, name: one}, {not_null: id, name: two}]\n"
    over = "a: [z]\nb: [{name: d}]\nchecks: [{not_null: [id, day], name: two}]\n"
    assert together(folder, base, over) == {
        "a": ["z"],
        "b": [{"name": "d"}],
        "checks": [{"unique": "id", "name": "one"}, {"not_null": ["id", "day"], "name": "two"}],
    }


def test_places_stay_those_of_the_file_that_wins(folder: Folder) -> None:
    folder.write("lake:\n  location: x\n  format: delta\n")
    folder.write("# prod\nlake: {location: y}\n", "asgard.prod.yml")
    tree = read_project_file(folder.path, "prod", Mistakes()).resolved(Mistakes())
    lake = tree.value["lake"].value
    assert [str(lake[key].place) for key in ("location", "format")] == [
        "asgard.prod.yml:2:18",
        "asgard.yml:3:11",
    ]


def test_the_environment_may_come_from_a_variable(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("name: base\n")
    folder.write("name: over\n", "asgard.prod.yml")
    folder.write("name: dev\n", "asgard.dev.yaml")
    assert environments(folder.path / "asgard.yml") == ["dev", "prod"]

    def name(env: str | None) -> object:
        return read_project_file(folder.path, env, Mistakes()).resolved(Mistakes()).value["name"].value

    assert name(None) == "base"
    folder.write("ASGARD_ENV=dev\n", ".env")
    assert name(None) == "dev"
    monkeypatch.setenv("ASGARD_ENV", "prod")
    assert name(None) == "over"
    assert name("dev") == "dev"
    monkeypatch.setenv("ASGARD_ENV", "")
    assert name(None) == "base"


def test_an_environment_that_is_not_there(folder: Folder) -> None:
    folder.write("name: base\n")
    with pytest.raises(ConfigError, match=r"asgard.prod.yml is not beside asgard.yml") as caught:
        read_project_file(folder.path, "prod", Mistakes())
    assert caught.value.hint == "there is no overlay yet"
    folder.write("", "asgard.production.yml")
    folder.write("", "asgard.dev.yml")
    with pytest.raises(ConfigError, match="there is no environment 'productoin'") as caught:
        read_project_file(folder.path, "productoin", Mistakes())
    assert caught.value.hint == "did you mean production?; there are: dev, production"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "asgard.yml:1:1: the file is empty; asgard init writes a first one"),
        ("# nothing\n", "asgard.yml:1:1: the file is empty; asgard init writes a first one"),
        ("- a\n", "asgard.yml:1:1: the file is no mapping; write keys and values: `name: shop`"),
        ("just words\n", "asgard.yml:1:1: the file is no mapping; write keys and values: `name: shop`"),
    ],
)
def test_a_file_without_keys(folder: Folder, text: str, told: str) -> None:
    folder.write(text)
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        read_project_file(folder.path, None, Mistakes())


def test_mistakes_of_both_files_are_told(folder: Folder) -> None:
    folder.write("a: [\n")
    folder.write("b: 1\nb: 2\nc: 'x\n", "asgard.prod.yml")
    with pytest.raises(ConfigError) as caught:
        read_project_file(folder.path, "prod", Mistakes())
    lines = caught.value.what.splitlines()
    assert [line.split(":")[0] for line in lines] == ["asgard.prod.yml", "asgard.prod.yml", "asgard.yml"]


def test_reading_the_files_alone_loads_nothing_heavy() -> None:
    heavy = "{'pydantic', 'pyarrow', 'sqlglot'}"
    ask = f"import asgard.app.config.project_file, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
