"""The rules of the house that no linter knows: sizes, names, promises, forbidden words.

The walls between the rooms are import-linter's (pyproject.toml); here stands what it cannot say.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import asgard
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "src" / "asgard"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 600
MOST_LINES_OF_CORE = 2700
MOST_FOLDERS = 2
NAMELESS = {"utils", "util", "common", "helpers", "helper", "misc", "base", "shared"}

# Paths of somebody's machine, and hosts of registries: both tie the project to one place. The names are put
# together here, because this file is searched too.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.~/-])/(?:root|work|home/\w+)/"),
    "a registry's host": re.compile(
        r"\b(?:"
        + "|".join(
            ["py" + r"pi\.org", "python" + r"hosted\.org", "repo1?" + r"\.maven", "registry" + r"\.npm"]
        )
        + ")"
    ),
}
MAY_BE_FORBIDDEN = {"LICENSE"}


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


# ---- shape


def test_no_file_is_longer_than_one_can_read_at_a_sitting() -> None:
    assert {relative(path): lines(path) for path in MODULES if lines(path) > MOST_LINES} == {}


def test_the_core_stays_small() -> None:
    assert sum(lines(path) for path in (PACKAGE / "core").rglob("*.py")) <= MOST_LINES_OF_CORE


def test_folders_are_two_levels_deep_at_most() -> None:
    deep = [relative(path) for path in MODULES if len(path.relative_to(PACKAGE).parts) - 1 > MOST_FOLDERS]
    assert deep == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_modules_have_names_that_say_something() -> None:
    named = {
        relative(path)
        for path in MODULES
        for part in path.relative_to(PACKAGE).parts
        if stem(part) in NAMELESS
    }
    assert named == set()


def stem(part: str) -> str:
    return part.removesuffix(".py").strip("_")


def test_every_module_says_what_it_is() -> None:
    silent = [relative(path) for path in MODULES if not (ast.get_docstring(tree(path)) or "").strip()]
    assert silent == []


def test_init_files_only_re_export() -> None:
    """A docstring, imports, a sorted `__all__`, and the two functions that make imports lazy."""
    wrong = []
    for path in MODULES:
        if path.name != "__init__.py":
            continue
        for node in tree(path).body:
            if not _re_exports(node, lazy=path.parent == PACKAGE):
                wrong.append(f"{relative(path)}:{node.lineno}")
    assert wrong == []


def _re_exports(node: ast.stmt, lazy: bool) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.If):  # if TYPE_CHECKING: the imports that lazy names stand for
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.FunctionDef):
        return lazy and node.name in {"__getattr__", "__dir__"}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if names == {"__all__"} and isinstance(node.value, ast.List | ast.Tuple):
            exported = [ast.literal_eval(element) for element in node.value.elts]
            return exported == sorted(exported)
        return names == {"__version__"} or (lazy and all(name.startswith("_") for name in names))
    return False


# ---- what is imported


def test_what_is_imported_is_declared() -> None:
    """Every third-party import of the package is one of its dependencies or extras, by name."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [line for lines_ in project.get("optional-dependencies", {}).values() for line in lines_]
    declared = {_distribution(line) for line in [*project["dependencies"], *extras]}
    of_module = packages_distributions()
    undeclared = set()
    for path in MODULES:
        for module in imported(path):
            if module in sys.stdlib_module_names or module == "asgard":
                continue
            if not {_distribution(name) for name in of_module.get(module, [module])} & declared:
                undeclared.add(f"{relative(path)}: {module}")
    assert undeclared == set()


def test_the_core_knows_only_arrow_and_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "asgard", "pyarrow", "pydantic", "pydantic_core"}
    strange = {
        f"{relative(p)}: {m}"
        for p in (PACKAGE / "core").rglob("*.py")
        for m in imported(p)
        if m not in allowed
    }
    assert strange == set()


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


# ---- promises


def promises() -> dict[int, str]:
    """The numbered list below the heading `Promises` of ARCHITECTURE.md."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    section = re.search(r"^##+ Promises\b.*?$(.*?)(?=^##? |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, "ARCHITECTURE.md has no heading Promises"
    items = re.split(r"^(\d+)\. ", section[1], flags=re.MULTILINE)[1:]
    return {int(number): text for number, text in zip(items[::2], items[1::2], strict=True)}


def cited() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path in MODULES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for words in re.findall(r"\bPromises? (\d+(?:(?:, | and )\d+)*)", line):
                for promise in re.findall(r"\d+", words):
                    found.setdefault(int(promise), []).append(f"{relative(path)}:{number}")
    return found


def test_the_promises_are_numbered_from_one_to_ten() -> None:
    assert list(promises()) == list(range(1, 11))


def test_promises_that_code_cites_are_made() -> None:
    assert {number: where for number, where in cited().items() if number not in promises()} == {}


def test_promises_that_are_made_are_cited_where_code_keeps_them() -> None:
    kept = {number for number, text in promises().items() if "not kept yet" not in text.lower()}
    assert kept - set(cited()) == set(), "cite them (# Promise N: ...) or write 'not kept yet' beside them"


# ---- errors


def test_the_drawing_of_the_error_tree_is_the_tree() -> None:
    errors = importlib.import_module("asgard.core.errors")
    drawn = drawing(inspect.getdoc(errors) or "")
    assert drawn == real_tree(errors.AsgardError)


def test_every_error_is_drawn() -> None:
    """No module makes an error class of its own beside the tree."""
    errors = importlib.import_module("asgard.core.errors")
    for module in pkgutil.walk_packages(asgard.__path__, "asgard."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    strays = {c.__module__ for c in descendants(errors.AsgardError)} - {"asgard.core.errors"}
    assert strays == set()


def drawing(text: str) -> set[tuple[str, str, int]]:
    """(child, parent, exit code) of every drawn edge; the root's parent is empty."""
    edges, path = set(), []
    for line in text.splitlines():
        drawn = re.fullmatch(r"(?P<rails>[\s|`-]*)(?P<name>[A-Z]\w+)(?:\s+(?P<code>\d+)\s+\S.*)?", line)
        if not drawn or not (drawn["rails"].startswith("    ") and (drawn["code"] or not path)):
            continue
        depth = (len(drawn["rails"]) - 4) // 4
        path = [*path[:depth], drawn["name"]]
        edges.add((drawn["name"], path[-2] if depth else "", int(drawn["code"] or 70)))
    return edges


def real_tree(root: type) -> set[tuple[str, str, int]]:
    edges = {(root.__name__, "", root.exit_code)}
    for child in descendants(root):
        for parent in child.__bases__:
            if issubclass(parent, root):
                edges.add((child.__name__, parent.__name__, child.exit_code))
    return edges


def descendants(root: type) -> set[type]:
    return {found for child in root.__subclasses__() for found in {child, *descendants(child)}}


# ---- words


def test_nothing_ties_the_project_to_one_place() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = []
    for name in filter(None, listed.split("\0")):
        path = REPOSITORY / name
        if name in MAY_BE_FORBIDDEN or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            found += [
                f"{name}:{number}: {what}" for what, pattern in FORBIDDEN.items() if pattern.search(line)
            ]
    assert found == []
