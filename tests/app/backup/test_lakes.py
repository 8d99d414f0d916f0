"""Lakes of other kinds: in a bucket, of an environment beside production, with a table that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgard.app.config.lakes import far_connection
from asgard.app.config.project import load_project
from asgard.core.cancel import Cancel
from asgard.lake.bucket import bucket_folder
from asgard.lake.folder import Folder
from tests.app.backup.kept_shop import TABLES, KeptShop
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, ObjectServer, new_bucket, shared_store
from tests.upgrade.shop import FIRST_DAY, SECOND_DAY, THIRD_DAY


def set_keys(shop: KeptShop, file: str = "asgard.yml", **keys: object) -> None:
    path = shop.folder / file
    project = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(project | keys))


def emptied(folder: Folder) -> int:
    """Deletes everything below; gives how many files."""
    found = folder.files()
    folder.delete(*found)
    return len(found) + sum(emptied(folder / name) for name in folder.folders())


@pytest.fixture
def store() -> ObjectServer:
    return shared_store("moto")


def test_tables_in_a_bucket(shop: KeptShop, store: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_SECRET", SECRET_KEY)
    bucket = new_bucket(store)
    connection = {"endpoint_url": store.url, "access_key": ACCESS_KEY, "secret_key": "${LAKE_SECRET}"}
    set_keys(shop, lake={"location": f"s3://{bucket}/team", "connection": connection})
    shop.load()
    backup = shop.back_up()
    assert SECRET_KEY.encode() not in Path(backup).read_bytes()
    shop.live(SECOND_DAY)
    spec = load_project(shop.folder).lake
    lake = bucket_folder(far_connection(spec.location, spec.connection), Cancel())
    assert sum(emptied(lake / table.replace(".", "/") / "_asgard") for table in TABLES) > 3 * len(TABLES)
    shop.lose_state()
    assert shop.asgard("run", "shop.visits").code == 4
    told = shop.done("restore", backup, "--overwrite", "--json").json
    assert {table["standing"] for table in told["tables"]} == {"newer"}
    assert all(table["records_brought_back"] > 0 for table in told["tables"])
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_an_environment_beside_production_has_its_own_tables(shop: KeptShop) -> None:
    shop.done("run", "gold.customers")
    shop.write("models_dev/gold/customers.sql", "SELECT customer FROM bronze.shop.orders\n")
    set_keys(shop, "asgard.dev.yml", beside=True, models="models_dev")
    shop.done("run", "--env", "dev")
    told = shop.done("backup", f"{shop.backups}/", "--env", "dev", "--json").json
    assert list(told["tables"]) == ["gold.customers"]
    assert set(shop.done("backup", f"{shop.backups}/", "--json").json["tables"]) == {
        *TABLES,
        "gold.customers",
    }


def test_a_table_that_cannot_be_read_keeps_no_other_out(shop: KeptShop) -> None:
    shop.live(SECOND_DAY)
    newest = max((shop.folder / "lake/bronze/shop/visits/_delta_log").glob("*.json"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    said = shop.asgard("backup", f"{shop.backups}/", "--json")
    assert said.code != 0
    assert list(said.json["failed"]) == ["bronze.shop.visits"]
    assert set(said.json["tables"]) == {*TABLES} - {"bronze.shop.visits"}
    shop.lose_state()
    shop.lose_records()
    again = shop.asgard("restore", said.json["backup"], "--json")
    assert again.code == 4
    told = {table["table"]: table for table in again.json["tables"]}
    assert told["bronze.shop.visits"]["standing"] == "not to be read"
    newest.write_bytes(whole)
    shop.done("restore", said.json["backup"], "--keep")
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)


def test_the_catalog_of_iceberg_comes_back_where_it_is_lost_and_is_never_taken_back(shop: KeptShop) -> None:
    set_keys(shop, lake={"location": "ice", "format": "iceberg"})
    shop.load()
    backup = shop.back_up()
    shop.live(SECOND_DAY)
    told = shop.done("restore", backup, "--overwrite", "--json").json
    assert {"part": "state/catalog.db", "fate": "another one is there, and stays"} in [
        {key: part[key] for key in ("part", "fate")} for part in told["parts"]
    ]
    shop.holds(FIRST_DAY, SECOND_DAY)
    (shop.folder / "ice/catalog.db").unlink()
    told = shop.done("restore", backup, "--keep", "--json").json
    assert any("Iceberg" in note for note in told["notes"])
    shop.holds(FIRST_DAY)
    shop.live(THIRD_DAY)
    shop.holds(FIRST_DAY, SECOND_DAY, THIRD_DAY)
