"""After a restore loads go on where the tables themselves say: nothing is missing, nothing comes twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.app.backup.kept_shop import TABLES, KeptShop
from tests.upgrade.shop import FIRST_DAY, SECOND_DAY, THIRD_DAY

STATE, RECORDS = "state", "records"


@pytest.mark.parametrize("lost", [(STATE,), (RECORDS,), (STATE, RECORDS)], ids="+".join)
@pytest.mark.parametrize("loaded_since", [False, True], ids=["as it was", "loaded since"])
def test_loads_go_on_exactly_once(shop: KeptShop, lost: tuple[str, ...], loaded_since: bool) -> None:
    backup = shop.back_up()
    days = [FIRST_DAY]
    if loaded_since:
        shop.live(SECOND_DAY)
        days.append(SECOND_DAY)
    if STATE in lost:
        shop.lose_state()
    if RECORDS in lost:
        shop.lose_records()
    told = shop.done("restore", backup, "--json", *([] if STATE in lost else ["--keep"])).json
    standing = "newer" if loaded_since else "as it was"
    assert {table["table"]: table["standing"] for table in told["tables"]} == dict.fromkeys(TABLES, standing)
    assert all(table["records_brought_back"] > 0 for table in told["tables"]) == (RECORDS in lost)
    shop.holds(*days)
    shop.live(THIRD_DAY)
    shop.holds(*days, THIRD_DAY)


def test_what_a_backup_cannot_know_is_read_from_the_log(shop: KeptShop) -> None:
    """An undo begins an epoch, which no backup of before has: the older one must not be believed again."""
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    for table in ("bronze.shop.visits", "bronze.shop.orders"):
        shop.done("tables", "undo", table, "--yes")
    shop.lose_records()
    told = shop.done("restore", backup, "--keep", "--json").json
    assert all("lost" not in table for table in told["tables"])
    assert all(table["records_from_the_log"] > 0 for table in told["tables"])
    shop.load()
    shop.holds(FIRST_DAY, SECOND_DAY)


def test_a_table_that_came_after_the_backup_explains_itself(shop: KeptShop) -> None:
    shutil.rmtree(shop.folder / "lake/bronze/shop/visits")
    backup = shop.back_up()
    shop.load()
    shop.lose_records()
    told = shop.done("restore", backup, "--keep", "--json").json
    assert next(t for t in told["tables"] if "visits" in t["table"])["standing"] == "not in the backup"
    shop.live(SECOND_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY)


def test_an_older_copy_of_a_table_is_told_and_goes_on_from_its_own_position(shop: KeptShop) -> None:
    table = shop.folder / "lake/bronze/shop/visits"
    shutil.copytree(table, shop.folder / "copy")
    shop.live(SECOND_DAY)
    backup = shop.back_up()
    shutil.rmtree(table)
    shutil.copytree(shop.folder / "copy", table)
    said = shop.asgard("restore", backup, "--keep", "--json")
    assert said.code == 4
    (visits,) = [one for one in said.json["tables"] if one["table"] == "bronze.shop.visits"]
    assert (visits["standing"], visits["version"], visits["version_in_backup"]) == ("older", 1, 2)
    assert "asgard resync bronze.shop.visits" in visits["hint"]
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_an_older_copy_that_was_loaded_since_is_told(shop: KeptShop) -> None:
    table = shop.folder / "lake/bronze/shop/visits"
    shutil.copytree(table, shop.folder / "copy")
    shop.live(SECOND_DAY)
    backup = shop.back_up()
    shutil.rmtree(table)
    shutil.copytree(shop.folder / "copy", table)
    shop.live(THIRD_DAY)
    said = shop.asgard("restore", backup, "--keep", "--json")
    assert said.code == 4
    (visits,) = [one for one in said.json["tables"] if one["table"] == "bronze.shop.visits"]
    assert visits["standing"] == "with another past"
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


@pytest.mark.parametrize("with_records", [True, False])
def test_a_table_that_was_made_anew_keeps_its_own_position(shop: KeptShop, with_records: bool) -> None:
    backup = shop.back_up()
    shutil.rmtree(shop.folder / "lake/bronze/shop/visits")
    shop.live(SECOND_DAY)
    if not with_records:
        shop.lose_records()
    told = shop.done("restore", backup, "--keep", "--json").json
    (visits,) = [one for one in told["tables"] if one["table"] == "bronze.shop.visits"]
    assert (visits["standing"], visits["records_brought_back"]) == ("another table", 0)
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_a_table_that_is_gone_is_told_and_read_from_the_beginning(shop: KeptShop) -> None:
    backup = shop.back_up()
    shutil.rmtree(shop.folder / "lake/bronze/shop/visits")
    said = shop.asgard("restore", backup, "--keep", "--json")
    assert said.code == 4
    (visits,) = [one for one in said.json["tables"] if one["table"] == "bronze.shop.visits"]
    assert visits["standing"] == "gone"
    assert "hint" in visits
    assert not (shop.folder / "lake/bronze/shop/visits").exists()
    shop.live(SECOND_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY)


def test_a_table_whose_log_is_gone_from_its_positions_is_resynced(shop: KeptShop) -> None:
    backup = shop.back_up()
    shutil.rmtree(shop.folder / "lake/bronze/shop/visits/_delta_log")
    said = shop.asgard("restore", backup, "--keep", "--json")
    assert said.code == 4
    stopped = shop.asgard("run", "shop.visits")
    assert (stopped.code, "its positions are there" in stopped.err) == (4, True)
    shop.done("resync", "bronze.shop.visits")
    shop.live(SECOND_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY)
    assert shop.asgard("resync", "bronze.shop.nothing").code == 2


def test_an_integer_that_nobody_explains_stops_its_stream_until_a_resync(shop: KeptShop) -> None:
    """As it is with tables whose newest loads are of a version that told the log less."""
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    _forget_inline_records(shop.folder / "lake/bronze/shop/visits")
    shop.lose_records()
    said = shop.asgard("restore", backup, "--keep", "--json")
    assert said.code == 4
    (visits,) = [one for one in said.json["tables"] if one["table"] == "bronze.shop.visits"]
    assert list(visits["lost"]) == ["visits"]
    assert visits["hint"].startswith("asgard resync bronze.shop.visits")
    stopped = shop.asgard("run", "shop.visits")
    assert stopped.code == 4
    assert "no record of it" in stopped.err
    shop.done("resync", "bronze.shop.visits")
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_a_restore_that_is_run_twice_changes_nothing_more(shop: KeptShop) -> None:
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    shop.lose_records()
    shop.done("restore", backup, "--keep")
    before = {path: path.read_bytes() for path in sorted(shop.folder.glob("lake/**/_asgard/**/*.json"))}
    told = shop.done("restore", backup, "--keep", "--json").json
    after = {path: path.read_bytes() for path in sorted(shop.folder.glob("lake/**/_asgard/**/*.json"))}
    assert before == after
    assert all(table["records_brought_back"] == 0 for table in told["tables"])


def test_records_that_are_there_are_never_replaced(shop: KeptShop) -> None:
    backup = shop.back_up()
    (record,) = (shop.folder / "lake/bronze/shop/visits/_asgard/positions").glob("*/*.json")
    record.write_bytes(b"{}")
    for options in (["--dry-run"], []):
        said = shop.asgard("restore", backup, "--keep", "--json", *options)
        assert said.code == 4
        (visits,) = [one for one in said.json["tables"] if one["table"] == "bronze.shop.visits"]
        assert "is damaged" in visits["lost"]["visits"]
    assert record.read_bytes() == b"{}"


def _forget_inline_records(table: Path) -> None:
    for commit in (table / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            line.get("commitInfo", {}).pop("asgard.records", None)
        commit.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
