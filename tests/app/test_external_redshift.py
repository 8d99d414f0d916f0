"""The calls of scripts around Redshift, with the configuration that they have; with and without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import asgard
from asgard.app.checks.contracts import contract
from asgard.integrations.config_loader import load_config
from asgard.integrations.external_data_quality import ExternalDataQualityChecker
from asgard.integrations.redshift_to_bronze import RedshiftExtractor, extract_redshift_data
from tests.servers.object_stores import shared_store
from tests.servers.postgres import shared_server
from tests.servers.redshift import RedshiftFront, redshift_front

CONFIG = """
data_sources:
  redshift:
    host: 127.0.0.1        # AWS would be asked for the address of the cluster
    ssl_mode: disable
    cluster_identifier: "${REDSHIFT_CLUSTER_ID}"
    database: "${REDSHIFT_DATABASE}"
    port: %d
    username: "${REDSHIFT_USERNAME}"
    password: "${REDSHIFT_PASSWORD}"
    schema: "public"
    tables:
      - name: "marketing_campaigns"
        source: "google_ads_api"
        frequency: "hourly"
      - name: "customer_behavior"
        source: "amplitude_events"
        frequency: "real-time"
      - name: "web_analytics"
        source: "google_analytics_4"
        frequency: "daily"
"""
TABLES = """
CREATE TABLE marketing_campaigns (campaign_id int, campaign_name varchar(40), status varchar(9),
  budget numeric(12, 2), spend numeric(12, 2), impressions bigint, clicks bigint, conversions bigint);
INSERT INTO marketing_campaigns VALUES (1, 'spring', 'on', 100.10, 20.05, 10, 5, 1),
  (2, 'fall', 'off', 1, 0, 0, 0, 0);
CREATE TABLE customer_behavior (user_id varchar(9), event_name varchar(9), event_timestamp timestamptz,
  session_id varchar(9), page_url varchar(99), device_type varchar(9));
INSERT INTO customer_behavior VALUES ('u', 'click', now(), 's', '/', 'phone');
CREATE TABLE web_analytics (date date, page_path varchar(99), sessions int, users int, pageviews int,
  bounce_rate real, revenue numeric(12, 2));
INSERT INTO web_analytics VALUES (current_date, '/', 3, 2, 9, 0.5, 10.00);
"""  # fmt: skip


class Spark:
    """What is asked of a session."""

    def createDataFrame(self, rows: list[Any], schema: str) -> tuple[list[Any], str]:
        return rows, schema


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[RedshiftFront, str]]:
    with redshift_front(shared_server("16"), shared_store("moto")) as front:
        database = front.create_database()
        front.execute(TABLES, database)
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "default.yaml").write_text(CONFIG % front.port)
        monkeypatch.setenv("REDSHIFT_CLUSTER_ID", "shop")
        monkeypatch.setenv("REDSHIFT_DATABASE", database)
        monkeypatch.setenv("REDSHIFT_USERNAME", front.server.user)
        monkeypatch.setenv("REDSHIFT_PASSWORD", front.server.password)
        monkeypatch.chdir(tmp_path)
        yield front, database
        front.server.drop_database(database)


def test_extraction(warehouse: tuple[RedshiftFront, str]) -> None:
    config = load_config()
    frame = extract_redshift_data(None, config, "marketing_campaigns")
    assert list(frame["budget"]) == [Decimal("100.10"), Decimal("1.00")]
    rows, schema = extract_redshift_data(Spark(), config, "web_analytics")
    assert rows[0]["revenue"] == Decimal("10.00")
    assert "`revenue` decimal(12,2)" in schema
    assert "`date` date" in schema
    extractor = RedshiftExtractor(None, config)
    assert extractor.tables == ["marketing_campaigns", "customer_behavior", "web_analytics"]
    assert list(extractor.extract("customer_behavior")["user_id"]) == ["u"]
    assert list(extractor.query("SELECT sum(clicks)::bigint AS n FROM marketing_campaigns")["n"]) == [5]
    extractor.close()
    with pytest.raises(asgard.QueryError, match="no table or view"):
        extract_redshift_data(None, config, "campaigns")


def test_what_is_not_configured(
    warehouse: tuple[RedshiftFront, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDSHIFT_PASSWORD", "wr0ng")
    with pytest.raises(asgard.AuthenticationError):
        RedshiftExtractor(None, load_config())
    monkeypatch.delenv("REDSHIFT_PASSWORD")
    with pytest.raises(asgard.ConfigError, match="REDSHIFT_PASSWORD is not set"):
        RedshiftExtractor(None, load_config())


def failed(results: dict[str, Any], table: str) -> list[str]:
    return [check["name"] for check in results["redshift"][table]["checks"] if not check["passed"]]


def test_the_contracts(warehouse: tuple[RedshiftFront, str]) -> None:
    front, database = warehouse
    assert set(contract("redshift")) == {"marketing_campaigns", "customer_behavior", "web_analytics"}
    results = ExternalDataQualityChecker(None, load_config()).run_all_external_data_quality_checks()
    assert [failed(results, table) for table in contract("redshift")] == [[], [], []]
    assert results["all_passed"] is True
    front.execute(
        "INSERT INTO marketing_campaigns SELECT 1, NULL, 'on', -1, 0, 0, 0, 0;"
        "UPDATE customer_behavior SET event_timestamp = now() - interval '2 days';"
        "DELETE FROM web_analytics",
        database,
    )
    results = ExternalDataQualityChecker(None, load_config()).run_all_external_data_quality_checks()
    assert failed(results, "marketing_campaigns") == [
        "not_null(campaign_name)", "unique(campaign_id)", "non_negative(budget)",
    ]  # fmt: skip
    assert failed(results, "customer_behavior") == ["fresh(event_timestamp)"]
    assert "row_count" in failed(results, "web_analytics")[0]
    assert results["all_passed"] is False
