"""`asgard doctor` says when the last backup was made, and what a restore would miss."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.app.backup.kept_shop import KeptShop
from tests.upgrade.shop import SECOND_DAY


def told(shop: KeptShop) -> dict[str, str]:
    (finding,) = [one for one in shop.asgard("doctor", "--json").json if one["about"] == "backup"]
    return dict(finding)


def test_the_last_backup_is_told(shop: KeptShop) -> None:
    assert told(shop) == {
        "about": "backup",
        "grade": "good",
        "what": "none is known; asgard backup makes one",
    }
    backup = shop.back_up()
    assert f"{backup}, 0 runs since" in told(shop)["what"]
    shop.live(SECOND_DAY)
    assert f"{backup}, 1 run since" in told(shop)["what"]
    Path(backup).unlink()
    assert "not there any more" in told(shop)["what"]


def test_a_backup_that_is_old_is_warned_of(shop: KeptShop) -> None:
    shop.back_up()
    shop.live(SECOND_DAY)
    note = shop.state / "backup.json"
    document = json.loads(note.read_text())
    document["made_at"] = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    note.write_text(json.dumps(document))
    found = told(shop)
    assert (found["grade"], "miss 2 runs" in found["what"]) == ("warning", True)
    assert found["hint"] == f"asgard backup {shop.backups}/"


def test_a_restored_project_knows_its_backup(shop: KeptShop) -> None:
    backup = shop.back_up()
    shutil.rmtree(shop.state)
    shop.done("restore", backup)
    assert backup in told(shop)["what"]


def test_a_restore_that_was_not_finished_is_to_be_mended(shop: KeptShop) -> None:
    backup = shop.back_up()
    (shop.state / "restore.json").write_text(json.dumps({"format": 1, "backup": "0", "file": backup}))
    said = shop.asgard("doctor", "--json")
    found = [one for one in said.json if one["about"] == "backup"]
    assert (said.code, found[0]["grade"]) == (4, "failure")
    assert found[0]["hint"] == f"run it again: asgard restore {backup}"
