"""The calls of scripts around HubSpot: configuration, extraction, contracts; with and without Spark."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import asgard
from asgard.app.checks.contracts import contract, known_contracts
from asgard.integrations.config_loader import load_config
from asgard.integrations.external_data_quality import ExternalDataQualityChecker, main
from asgard.integrations.hubspot_to_bronze import HubSpotAPI, extract_hubspot_data
from tests.servers.hubspot import HubSpot

CONFIG = """
data_sources:
  redshift:
    cluster_identifier: "${REDSHIFT_CLUSTER_ID}"
    tables: [{name: web_analytics, frequency: daily}]
  hubspot:
    base_url: "%s"
    api_key: "${HUBSPOT_API_KEY}"
    rate_limit: 100
    endpoints:
      - {name: contacts, path: /crm/v3/objects/contacts, frequency: hourly}
      - {name: deals, path: /crm/v3/objects/deals, frequency: hourly}
"""


@pytest.fixture
def hubspot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubSpot]:
    with HubSpot(limit=10_000) as running:
        running._clock_ms = int(time.time() * 1000) - 100_000_000
        for number in range(1, 4):
            running.put("contacts", number, email=f"p{number}@example.com", firstname="P")
            running.put("deals", number, dealname=f"d{number}", amount=f"{number}.50")
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "default.yaml").write_text(CONFIG % running.url)
        monkeypatch.setenv("HUBSPOT_API_KEY", running.key)
        monkeypatch.chdir(tmp_path)
        yield running


class Spark:
    """What is asked of a session."""

    def createDataFrame(self, rows: list[Any], schema: str) -> tuple[list[Any], str]:
        return rows, schema


def test_extraction_without_spark(hubspot: HubSpot) -> None:
    config = load_config()
    frame = extract_hubspot_data(None, config, "contacts")
    assert list(frame["email"]) == ["p1@example.com", "p2@example.com", "p3@example.com"]
    api = HubSpotAPI(config)
    assert api.endpoints == ["contacts", "deals"]
    assert list(api.fetch("deals")["amount"]) == [Decimal("1.5"), Decimal("2.5"), Decimal("3.5")]
    api.close()


def test_extraction_with_spark(hubspot: HubSpot) -> None:
    rows, schema = extract_hubspot_data(Spark(), load_config(), "deals")
    assert [row["amount"] for row in rows] == [Decimal("1.5"), Decimal("2.5"), Decimal("3.5")]
    assert "`amount` decimal(38,9)" in schema
    assert "`closedate` timestamp" in schema
    assert "`archived` boolean" in schema


def test_what_is_not_configured(hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBSPOT_API_KEY")
    with pytest.raises(asgard.ConfigError, match="HUBSPOT_API_KEY is not set"):
        HubSpotAPI(load_config())
    with pytest.raises(asgard.ConfigError, match=r"no data_sources\.hubspot"):
        HubSpotAPI({"data_sources": {"hubspots": {}}})
    monkeypatch.setenv("HUBSPOT_API_KEY", "wrong")
    with pytest.raises(asgard.AuthenticationError):
        HubSpotAPI(load_config())


def failed(results: dict[str, Any], table: str) -> list[str]:
    return [check["name"] for check in results["hubspot"][table]["checks"] if not check["passed"]]


def test_the_contracts(hubspot: HubSpot, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hubspot" in known_contracts()
    assert set(contract("hubspot")) == {"contacts", "deals", "companies", "tickets"}
    results = ExternalDataQualityChecker(None, load_config()).run_all_external_data_quality_checks()
    assert failed(results, "contacts") == failed(results, "deals") == []
    assert main([]) == (0 if results["all_passed"] else 4)
    assert json.loads(capsys.readouterr().out)["hubspot"]["deals"]["passed"] is True
    hubspot.put("contacts", 2, email="no address")
    hubspot.put("deals", 1, amount=None)
    hubspot.put("deals", 2, amount="-5")
    results = ExternalDataQualityChecker(None, load_config()).run_all_external_data_quality_checks()
    assert failed(results, "contacts") == ["matches(email)"]
    assert sorted(failed(results, "deals")) == ["amount present", "non_negative(amount)"]
    assert not results["all_passed"]
    assert main([]) == 4


def test_the_command(hubspot: HubSpot, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asgard.integrations.external_data_quality", "config/default.yaml"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, 4)
    assert json.loads(done.stdout)["hubspot"]["contacts"]["passed"] is True
    assert main([str(tmp_path / "nowhere.yaml")]) == 2
