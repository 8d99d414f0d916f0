"""A masked column lies nowhere in clear: not staged, not set aside, not in positions, not in what fails."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asgard.app.project.workspace import Workspace
from asgard.app.runs.runs import RunWish, Summary, run
from asgard.app.sources.sources import sample
from asgard.core.errors import ConfigError, SchemaChanged
from asgard.core.events import Event
from tests.flow.following import Lake
from tests.servers.kafka import Broker

CANARY = "c4n4ry-cl34r"
KEY = "masking_key: a key of a test that is long enough\n"


class Shop:
    """A project over one SQLite table, and everything that it ever wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder.parent / "shop.sqlite"
        self.told: list[str] = []
        self.staged: set[str] = set()
        folder.mkdir()
        with closing(sqlite3.connect(self.source)) as database, database:
            database.execute("CREATE TABLE people(id TEXT PRIMARY KEY, email, phone, card, note, at INTEGER)")
        self.add(range(40))

    def add(self, numbers: range) -> None:
        rows = [
            (f"{CANARY}-{n}", f"{CANARY}{n}@x", f"+47{CANARY}1234", n, CANARY * (n % 2), n) for n in numbers
        ]
        with closing(sqlite3.connect(self.source)) as database, database:
            database.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", rows)

    def project(self, table: str, top: str = KEY) -> None:
        (self.folder / "asgard.yml").write_text(
            f"{top}data_sources: {{shop: {{type: sqlite, database: {self.source}, tables: [{{name: people, "
            f"columns: {{card: text, email: text, phone: text, note: text}}, {table}}}]}}}}\n"
        )

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.folder)

    def run(self, *, full_refresh: bool = False) -> Summary:
        def emit(event: Event) -> None:
            self.told.append(f"{event.kind} {event.data}")
            if event.data.get("phase") in ("prepare", "merge", "check", "commit"):
                self.staged |= set(self.values())

        return run(self.workspace, RunWish(full_refresh=full_refresh), emit)

    def values(self) -> Iterator[str]:
        """Every value of every Parquet file that lies in the project now."""
        for file in self.folder.rglob("*.parquet"):
            for column in pq.read_table(file).columns:
                yield from map(str, column.to_pylist())

    def rows(self) -> list[dict[str, Any]]:
        found: pa.Table = self.workspace.table("people").scan().read_all()
        return sorted(found.to_pylist(), key=str)

    def nothing_clear(self) -> bool:
        """Whether the canary is in no value, no file as it lies there, and nothing that was told."""
        raw = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        texts = [*self.values(), *self.staged, *self.told]
        return not any(CANARY.encode() in one for one in raw) and not any(CANARY in one for one in texts)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "project")


ALL = "mask: {id: hash, email: hash, phone: partial, card: tokenize, note: redact}"


def test_nothing_clear_is_staged_published_or_told(shop: Shop) -> None:
    shop.project(f"{ALL}, checks: [{{unique: [id]}}, {{not_null: [email]}}]")
    assert shop.run().exit_code == 0
    assert shop.staged
    assert shop.nothing_clear()
    first = shop.rows()[0]
    assert (len(first["id"]), len(first["email"]), first["phone"], first["note"]) == (
        64,
        64,
        "****1234",
        None,
    )
    assert first["card"].startswith("tok_")


def test_nothing_clear_is_set_aside(shop: Shop) -> None:
    check = "{matches: {column: phone, pattern: never, on_fail: quarantine}}"
    shop.project(f"{ALL}, checks: [{check}]")
    assert shop.run().exit_code == 0
    mount = shop.workspace.table("people").quarantined()
    assert mount is not None
    assert mount.rows == 40
    assert shop.nothing_clear()


def test_nothing_clear_is_left_of_a_load_that_fails(shop: Shop) -> None:
    shop.project(f"{ALL}, checks: [{{between: {{column: at, max: 3}}}}, {{not_null: [note]}}]")
    assert shop.run().exit_code == 4
    assert shop.staged
    assert shop.nothing_clear()


def test_merges_go_on_by_masked_keys(shop: Shop) -> None:
    shop.project(f"{ALL}, mode: merge, primary_key: id, cursor: at")
    shop.run()
    shop.add(range(40, 60))
    with closing(sqlite3.connect(shop.source)) as database, database:
        database.execute("UPDATE people SET at = 1000, phone = '+4712345678' WHERE at = 3")
    assert shop.run().exit_code == 0
    rows = shop.rows()
    assert (len(rows), len({row["id"] for row in rows})) == (60, 60)
    assert [row["phone"] for row in rows if row["at"] == 1000] == ["****5678"]
    assert shop.nothing_clear()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mask: {email: redact}", ALL),
        (ALL, "mask: {email: redact}"),
        (ALL, ALL),
    ],
    ids=["masked later", "unmasked later", "another key"],
)
def test_clear_and_masked_rows_never_lie_together(shop: Shop, before: str, after: str) -> None:
    mode = "mode: append, cursor: at"
    shop.project(f"{before}, {mode}")
    assert shop.run().exit_code == 0
    shop.project(f"{after}, {mode}", KEY.replace("test", "tost"))
    shop.add(range(40, 45))
    refused = shop.run().outcomes[0].error
    assert isinstance(refused, SchemaChanged)
    assert "--full-refresh" in refused.hint
    assert shop.run(full_refresh=True).exit_code == 0
    shop.add(range(45, 50))
    assert shop.run().exit_code == 0
    assert len(shop.rows()) == 50


def test_a_replaced_table_takes_new_masks_at_once(shop: Shop) -> None:
    shop.project("mode: replace")
    shop.run()
    shop.project(f"mode: replace, {ALL}")
    assert shop.run().exit_code == 0
    assert CANARY not in str(shop.rows())
    shop.project(f"mode: append, {ALL}")
    assert shop.run().exit_code == 0


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("mask: {email: hide}", "must be hash"),
        ("mask: {at: hash}, mode: append, cursor: at", "mask.at: is the cursor"),
        ("mask: {id: redact}, mode: merge, primary_key: id", "mask.id: is a key"),
    ],
)
def test_masks_that_cannot_be_are_mistakes(shop: Shop, table: str, what: str) -> None:
    shop.project(table)
    with pytest.raises(ConfigError) as refused:
        shop.run()
    assert what in refused.value.what


def test_without_a_key_or_a_column_nothing_is_loaded(shop: Shop) -> None:
    shop.project("mask: {email: hash}", "")
    assert "masking_key" in str(shop.run().outcomes[0].error)
    shop.project("mask: {e_mail: redact}")
    assert "no such column" in str(shop.run().outcomes[0].error)
    assert shop.nothing_clear()


def test_a_short_key_is_refused_and_not_shown(shop: Shop) -> None:
    shop.project("mask: {email: hash}", "masking_key: sh0rt\n")
    with pytest.raises(ConfigError, match="too short") as refused:
        shop.run()
    assert "sh0rt" not in str(refused.value)


def test_a_log_keeps_no_clear_message(kafka: Broker, tmp_path: Path) -> None:
    topic = kafka.create_topic()
    messages = [{"id": 1, "card": CANARY}, {"id": CANARY, "card": "x"}, {"id": 3, "crad": CANARY}]
    kafka.send(topic, *map(json.dumps, messages), f"{{{CANARY}".encode(), b"\xff" + CANARY.encode())
    columns = {"columns": {"id": "int64", "card": "text"}, "mask": {"card": "tokenize"}}
    lake = Lake(tmp_path / "lake", kafka.bootstrap, topic, columns)
    file = lake.folder / "asgard.yml"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "masking_key": "a key of a test that is long enough"}))
    assert lake.run() == 0
    rows = lake.query("SELECT id, card, _rescued FROM events ORDER BY id")
    assert [(row["id"], str(row["card"])[:4], row["_rescued"]) for row in rows] == [
        (1, "tok_", None), (3, "None", None), (None, "tok_", None),
    ]  # fmt: skip
    aside = lake.aside()
    assert [row["_asgard_raw_value"] for row in aside] == [None, None]
    assert "its bytes are not kept" in aside[0]["_asgard_reason"]
    told = "".join(path.read_text() for path in lake.folder.rglob("*.jsonl"))
    assert "could not be decoded" in told
    assert CANARY not in f"{rows}{aside}{told}"
    files = [path.read_bytes() for path in lake.folder.rglob("*") if path.is_file()]
    assert not [content for content in files if CANARY.encode() in content]


def test_a_sample_is_masked_as_the_project_says(shop: Shop) -> None:
    shop.project(ALL)
    assert CANARY not in str(sample(shop.workspace, "shop.people").to_pylist())
