"""Tests of models: rows of the tables that a model reads, and the rows that its SELECT must make of them.

They stand in YAML, in `models/tests/` or beside the models, and run on rows alone: no table of the lake is
read, and none is written. Cells keep the text of the file until they are of their column's type, so `10.50`
is no float on its way to a decimal.

Reference: https://docs.getdbt.com/docs/build/unit-tests (the words: given, input, rows, expect)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asgard.app.config.mistakes import Mistakes, Place, near
from asgard.app.config.yaml_text import Node, read_yaml
from asgard.app.project.workspace import Workspace
from asgard.app.tables.rows import json_rows
from asgard.core.engine import Engine
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.names import fold
from asgard.core.table import Mount, TableName
from asgard.transform.models import Model

Rows = list[dict[str, Node]]
WORDS = {"name", "model", "description", "given", "expect"}
DBT_NAME = re.compile(r"(?:ref|source)\(\s*(?P<parts>.*?)\s*\)")


@dataclass(frozen=True)
class Given:
    """Rows of one table.

    Attributes:
        columns: column to its SQL type; others have the type of the lake's table, or of their cells.
    """

    input: str
    rows: Rows
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelTest:
    """One test, as it is written.

    Attributes:
        model: as the file calls it.
        expect: the rows that must come, in any order; columns that they do not name are not looked at.
        place: `models/tests/orders.yml:3:5`.
    """

    name: str
    model: str
    given: tuple[Given, ...]
    expect: Rows
    place: str


@dataclass(frozen=True)
class TestResult:
    """How a test ended.

    Attributes:
        missing, unexpected: rows that did not come, and rows that came instead, as text; those that are
            most alike stand at the same index.
        columns: of those rows.
        error: what kept it from running; empty otherwise.
    """

    test: ModelTest
    columns: tuple[str, ...] = ()
    missing: tuple[tuple[str, ...], ...] = ()
    unexpected: tuple[tuple[str, ...], ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether exactly the expected rows came."""
        return not (self.missing or self.unexpected or self.error)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        rows = {
            name: [dict(zip(self.columns, row, strict=True)) for row in found]
            for name, found in (("missing", self.missing), ("unexpected", self.unexpected))
            if found
        }
        head = {"test": self.test.name, "model": self.test.model, "place": self.test.place}
        return {**head, "passed": self.passed, **rows, **({"error": self.error} if self.error else {})}


def run_tests(workspace: Workspace, names: Sequence[str] = ()) -> Iterator[TestResult]:
    """Runs the tests of models.

    Args:
        names: of tests or of models; all of them without any.

    Raises:
        ConfigError: a file of tests has mistakes, or a name means nothing.
    """
    tests = read_tests(workspace.project.models_folder)
    models = {fold(str(model.name)): model for model in workspace.models}
    known = {fold(one) for test in tests for one in (test.name, test.model, _model_name(test, models))}
    for name in names:
        if fold(name) not in known:
            every = sorted({one for test in tests for one in (test.name, test.model)})
            raise ConfigError(f"there is no test {name!r}, and none of such a model", hint=near(name, every))
    wanted = {fold(name) for name in names}
    for test in tests:
        called = {fold(test.name), fold(test.model), fold(_model_name(test, models))}
        if wanted and not wanted & called:
            continue
        model = models.get(fold(_model_name(test, models)))
        if model is None:
            hint = near(test.model, [n for one in models.values() for n in (str(one.name), one.name.name)])
            yield TestResult(test, error=f"there is no model {test.model}" + (f"; {hint}" if hint else ""))
            continue
        try:
            yield _run(workspace, model, test)
        except AsgardError as error:
            yield TestResult(test, error=error.what)


def read_tests(folder: Path) -> list[ModelTest]:
    """The tests in the YAML files of the models' folder.

    Raises:
        ConfigError: with everything that is wrong in all files, one mistake a line.
    """
    mistakes = Mistakes()
    tests: list[ModelTest] = []
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".yml", ".yaml"))
    for path in files:
        name = (Path(folder.name) / path.relative_to(folder)).as_posix()
        node = read_yaml(path, name, mistakes)
        if node is None or node.value is None:
            continue
        listed = node.value.get("unit_tests") if isinstance(node.value, dict) else node
        if listed is None or not isinstance(listed.value, list):
            mistakes.add("tests are a list, or stand below unit_tests", place=node.place)
            continue
        tests += [test for one in listed.value if (test := _test(one, name, mistakes)) is not None]
    mistakes.raise_if_any()
    return tests


def _test(node: Node, file: str, mistakes: Mistakes) -> ModelTest | None:
    before = len(mistakes)
    keys = _mapping(node, "a test", mistakes)
    for strange in keys.keys() - WORDS:
        hint = near(strange, WORDS) or f"there are: {', '.join(sorted(WORDS))}"
        mistakes.add(f"{strange} is not a key of a test", hint=hint, place=keys[strange].key_place)
    for key in ("name", "model", "expect"):
        if key not in keys:
            mistakes.add(f"a test needs {key}", place=node.place)
    given = keys.get("given", Node([]))
    if not isinstance(given.value, list):
        mistakes.add("given is a list of input and rows", place=given.where)
    if len(mistakes) > before:
        return None
    inputs = tuple(_given(one, mistakes) for one in given.value)
    expect = _rows_of(keys["expect"], "expect", mistakes)
    place = str(node.place) if isinstance(node.place, Place) else file
    return ModelTest(keys["name"].text, _plain_name(keys["model"].text), inputs, expect, place)


def _given(node: Node, mistakes: Mistakes) -> Given:
    keys = _mapping(node, "given", mistakes)
    if "input" not in keys:
        mistakes.add("given needs input: the table whose rows they are", place=node.place)
        return Given("", [])
    kinds = _mapping(keys.get("columns", Node({})), "columns", mistakes)
    columns = {name: kind.text for name, kind in kinds.items()}
    return Given(_plain_name(keys["input"].text), _rows_of(node, "given", mistakes), columns)


def _rows_of(node: Node, what: str, mistakes: Mistakes) -> Rows:
    rows = _mapping(node, what, mistakes).get("rows", Node([]))
    if rows.value is None:
        return []
    if not isinstance(rows.value, list):
        mistakes.add(f"rows of {what} are a list", hint="rows: [{id: 1}, {id: 2}]", place=rows.where)
        return []
    return [_mapping(row, "a row", mistakes) for row in rows.value]


def _mapping(node: Node, what: str, mistakes: Mistakes) -> dict[str, Node]:
    if isinstance(node.value, dict):
        return node.value
    mistakes.add(f"{what} must be keys with values", place=node.where)
    return {}


def _plain_name(text: str) -> str:
    """`silver.orders` of `ref('silver.orders')`, `shop.orders` of `source('shop', 'orders')`."""
    found = DBT_NAME.fullmatch(text.strip())
    return ".".join(re.findall(r"[^'\",\s]+", found["parts"])) if found else text.strip()


def _model_name(test: ModelTest, models: Mapping[str, Model]) -> str:
    ends = [str(model.name) for model in models.values() if fold(model.name.name) == fold(test.model)]
    return ends[0] if len(ends) == 1 and fold(test.model) not in models else test.model


def _run(workspace: Workspace, model: Model, test: ModelTest) -> TestResult:
    with workspace.open_engine(workspace.budget.engine_bytes) as engine:
        given = {_upstream(model, one): one for one in test.given}
        if missing := [str(name) for name in model.upstream if name not in given]:
            raise ConfigError(f"given has no rows of {', '.join(missing)}, which the model reads")
        mounts = {name: _mount(workspace, engine, name, one) for name, one in given.items()}
        for name, mount in mounts.items():
            engine.attach(name, mount)
        with engine.query(model.sql) as reader:
            made = reader.read_all()
    return _judged(test, made)


def _upstream(model: Model, given: Given) -> TableName:
    found = [name for name in model.upstream if fold(str(name)) == fold(given.input)]
    found = found or [n for n in model.upstream if fold(f".{n}").endswith(fold(f".{given.input}"))]
    if len(found) != 1:
        reads = ", ".join(map(str, model.upstream)) or "nothing"
        raise ConfigError(f"the model does not read {given.input}; it reads {reads}")
    return found[0]


def _mount(workspace: Workspace, engine: Engine, name: TableName, given: Given) -> Mount:
    table = workspace.lake.table(name)
    known = table.schema() if table.exists() else pa.schema([])
    types = {column.name: column.type for column in known}
    if given.columns:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {_quoted(one)}" for one, kind in given.columns.items())
        with engine.query(f"SELECT {nulls}") as reader:
            types |= {column.name: column.type for column in reader.schema}
    written = list(dict.fromkeys(column for row in given.rows for column in row))
    if strange := [column for column in written if known.names and column not in types]:
        raise ConfigError(f"{name} has no column {', '.join(strange)}; it has {', '.join(types)}")
    if not types and not written:
        raise ConfigError(f"the columns of {name} are not known", hint="columns: {id: BIGINT}")
    cells = {column: [row.get(column) for row in given.rows] for column in dict.fromkeys([*types, *written])}
    columns = {
        column: _array(found, types.get(column) or _guessed(found), f"{name}.{column}")
        for column, found in cells.items()
    }
    rows = pa.table(columns)
    return Mount(rows.schema, reader=rows.to_reader, rows=rows.num_rows)


def _array(cells: Sequence[Node | None], kind: pa.DataType, column: str) -> pa.Array:
    try:
        if pa.types.is_nested(kind):
            return pa.array([None if cell is None else cell.plain() for cell in cells], kind)
        texts = [None if cell is None or cell.value is None else cell.text for cell in cells]
        if pa.types.is_timestamp(kind) and kind.tz:
            texts = [
                text and (text if re.search(r"(Z|[+-]\d\d:?\d\d)$", text) else text + "Z") for text in texts
            ]
        return pc.cast(pa.array(texts, pa.string()), kind)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(f"{column}: {error}, and the column is {kind}") from error


def _guessed(cells: Sequence[Node | None]) -> pa.DataType:
    """The type of a column that nobody names: whole numbers, numbers, truth or text."""
    kinds = {type(cell.value) for cell in cells if cell is not None and cell.value is not None}
    if kinds and kinds <= {dict, list}:
        return pa.array([cell.plain() if cell else None for cell in cells]).type
    for wanted, kind in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64())):
        if kinds and kinds <= wanted:
            return kind
    return pa.string()


def _judged(test: ModelTest, made: pa.Table) -> TestResult:
    columns = list(dict.fromkeys(column for row in test.expect for column in row)) or made.schema.names
    if missing := [column for column in columns if column not in made.schema.names]:
        raise ConfigError(
            f"the model makes no column {', '.join(missing)}; it makes {', '.join(made.schema.names)}"
        )
    wanted = {
        name: _array([row.get(name) for row in test.expect], made.schema.field(name).type, name)
        for name in columns
    }
    expected = _texts(pa.table(wanted) if test.expect else made.select(columns).slice(0, 0))
    got = _texts(made.select(columns))
    missing_rows, unexpected = list((expected - got).elements()), list((got - expected).elements())
    return TestResult(test, tuple(columns), *_paired(missing_rows, unexpected))


def _texts(rows: pa.Table) -> Counter[tuple[str, ...]]:
    """Rows as text, each value in one way alone."""
    said = (
        "NULL" if value is None else str(value)
        for row in json_rows(rows.to_batches())
        for value in row.values()
    )
    width = rows.num_columns
    return Counter(zip(*[said] * width, strict=True))


def _paired(
    missing: list[tuple[str, ...]], unexpected: list[tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Rows that differ least from each other stand at the same index."""
    ordered: list[tuple[str, ...]] = []
    left = list(unexpected)
    for row in missing:
        if left:
            nearest = max(left, key=lambda other: sum(a == b for a, b in zip(row, other, strict=True)))
            left.remove(nearest)
            ordered.append(nearest)
    return tuple(missing), (*ordered, *left)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
