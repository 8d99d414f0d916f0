"""The Spark of tests: loopback alone, UTC, and Delta Lake both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.servers.spark import HOST


def test_a_session_writes_and_reads_delta_on_loopback(spark: Any, tmp_path: Path) -> None:
    spark.range(3).coalesce(1).write.format("delta").save(str(tmp_path / "t"))
    assert sorted(row.id for row in spark.read.format("delta").load(str(tmp_path / "t")).collect()) == [
        0,
        1,
        2,
    ]
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.sparkContext.getConf().get("spark.driver.host") == HOST
