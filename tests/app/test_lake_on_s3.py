"""A project whose lake lies in a bucket: run, models, checks, queries, undo, resync, as on a disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from asgard.app.frames.opened_project import Project
from tests.servers.object_stores import ACCESS_KEY, SECRET_KEY, ObjectServer, new_bucket, shared_store


@pytest.fixture
def server() -> ObjectServer:
    return shared_store("moto")


@pytest.fixture
def file(tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "orders.csv").write_text("id,customer,amount\n1,7,1.50\n2,7,2.25\n3,8,10.00\n")
    (tmp_path / "models" / "silver").mkdir(parents=True)
    (tmp_path / "models" / "silver" / "totals.sql").write_text(
        "SELECT customer, SUM(amount) AS total FROM bronze.shop.orders GROUP BY customer"
    )
    document = {
        "version": 1,
        "lake": {
            "location": f"s3://{new_bucket(server)}/team",
            "connection": {
                "endpoint_url": server.url, "access_key": ACCESS_KEY, "secret_key": "${LAKE_SECRET}",
            },
        },
        "data_sources": {
            "shop": {
                "type": "files", "path": "files",
                "tables": [
                    {"name": "orders", "path": "orders.csv", "mode": "merge", "primary_key": "id",
                     "checks": [{"unique": ["id"]},
                                {"between": {"column": "amount", "max": 100, "on_fail": "quarantine"}}]}
                ],
            }
        },
    }  # fmt: skip
    monkeypatch.setenv("LAKE_SECRET", SECRET_KEY)
    found = tmp_path / "asgard.yml"
    found.write_text(yaml.safe_dump(document))
    return found


def totals(project: Project) -> dict[str, str]:
    rows = project.query("SELECT * FROM silver.totals", backend="arrow").to_pylist()
    return {str(row["customer"]): str(row["total"]) for row in rows}


def asgard(file: Path, *words: str) -> Any:
    """What a command says; it must succeed, and never say the secret."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("asgard")), *words],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET_KEY not in done.stdout + done.stderr
    return done.stdout


def test_run_models_queries_and_ways_back(file: Path) -> None:
    project = Project(file)
    project.run()
    assert project.tables() == ["bronze.shop.orders", "silver.totals"]
    assert totals(project) == {"7": "3.75", "8": "10.00"}
    (file.parent / "files" / "orders.csv").write_text("id,customer,amount\n3,8,20.00\n4,9,5.00\n5,9,500.00\n")
    project.run()
    assert totals(project) == {"7": "3.75", "8": "20.00", "9": "5.00"}
    before = project.table("bronze.shop.orders", at=1, backend="arrow")
    assert sorted(row["id"] for row in before.to_pylist()) == [1, 2, 3]
    listed = json.loads(asgard(file, "tables", "--json"))
    assert {table["table"]: table["rows"] for table in listed} == {
        "bronze.shop.orders": 4,
        "silver.totals": 3,
    }
    asgard(file, "checks")
    assert "20.00" in asgard(file, "query", "SELECT total FROM silver.totals WHERE customer = 8")
    set_aside = asgard(file, "tables", "quarantine", "bronze.shop.orders")
    assert "500" in set_aside
    asgard(file, "tables", "undo", "bronze.shop.orders", "--yes")
    rows = project.table("bronze.shop.orders", backend="arrow").to_pylist()
    assert sorted(row["id"] for row in rows) == [1, 2, 3]
    assert list(file.parent.rglob("*.parquet")) == []
    hidden = [
        one for one in file.parent.rglob("*") if one.is_file() and SECRET_KEY.encode() in one.read_bytes()
    ]
    assert hidden == []


def test_what_does_not_fit_is_told_without_secrets(file: Path) -> None:
    text = file.read_text().replace("access_key:", "acess_key:")
    file.write_text(text)
    with pytest.raises(Exception, match="acess_key") as told:
        Project(file)
    assert SECRET_KEY not in str(told.value)
