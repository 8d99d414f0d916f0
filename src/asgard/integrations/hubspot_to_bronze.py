"""HubSpot as scripts call it: `extract_hubspot_data(spark, config, "contacts")`.

The rows are those of the connector `hubspot`: typed, with archived objects. With a Spark session they are a
DataFrame of it, with None one of pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgard.app.frames.external_data import as_frame, connector_of, extracted, tables_of

SOURCE = "hubspot"


class HubSpotAPI:
    """HubSpot, connected.

    Args:
        config: as `load_config` gives it, with `data_sources.hubspot`.

    Raises:
        AuthenticationError: the key is refused.
        ConfigError: there is no hubspot in the configuration, or it has no key.
        Unreachable: no answer.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._connector = connector_of(config, SOURCE)
        self._connector.connect()
        self.endpoints = tables_of(config, SOURCE)

    def fetch(self, endpoint: str, spark: Any = None) -> Any:
        """All objects of an endpoint, such as `contacts`, as a DataFrame."""
        return as_frame(self._connector.load_data(table=endpoint, backend="arrow"), spark)

    def close(self) -> None:
        """Gives the connections back."""
        self._connector.disconnect()


def extract_hubspot_data(spark: Any, config: Mapping[str, Any], endpoint: str) -> Any:
    """All objects of an endpoint as a DataFrame: of the Spark session, of pandas where that is None.

    Raises:
        AsgardError: as `HubSpotAPI`; QueryError if there is no such endpoint.
    """
    return extracted(spark, config, SOURCE, endpoint)
