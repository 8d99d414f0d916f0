"""Redshift as scripts call it: `extract_redshift_data(spark, config, "marketing_campaigns")`.

The rows are those of the connector `redshift`: of exact types, by way of S3 where the configuration says so.
With a Spark session they are a DataFrame of it, with None one of pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgard.app.frames.external_data import as_frame, connector_of, extracted, tables_of

SOURCE = "redshift"


class RedshiftExtractor:
    """Redshift, connected.

    Args:
        spark: the session whose DataFrames are wanted; None for pandas.
        config: as `load_config` gives it, with `data_sources.redshift`.

    Raises:
        AuthenticationError: user and password are refused.
        ConfigError: there is no redshift in the configuration, or what it names is not there.
        Unreachable: no answer.
    """

    def __init__(self, spark: Any, config: Mapping[str, Any]) -> None:
        self.spark = spark
        self._connector = connector_of(config, SOURCE)
        self._connector.connect()
        self.tables = tables_of(config, SOURCE)

    def extract(self, table: str) -> Any:
        """All rows of a table as a DataFrame."""
        return as_frame(self._connector.load_data(table=table, backend="arrow"), self.spark)

    def query(self, sql: str) -> Any:
        """The rows of a SELECT as a DataFrame."""
        return as_frame(self._connector.load_data(sql, backend="arrow"), self.spark)

    def close(self) -> None:
        """Gives the connections back."""
        self._connector.disconnect()


def extract_redshift_data(spark: Any, config: Mapping[str, Any], table_name: str) -> Any:
    """All rows of a table as a DataFrame: of the Spark session, of pandas where that is None.

    Raises:
        AsgardError: as `RedshiftExtractor`; QueryError if there is no such table.
    """
    return extracted(spark, config, SOURCE, table_name)
