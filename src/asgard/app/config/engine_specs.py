"""What asgard.yml says about engines: which runs the models, and where Spark is.

Reference: https://spark.apache.org/docs/latest/submitting-applications.html#master-urls
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from asgard.core.config import Config

REACHED_AS_ITSELF = ("spark.sql.ansi.", "spark.sql.session.timeZone", "spark.sql.caseSensitive")


class SparkSpec(Config):
    """The Spark that builds models with `engine: spark`; without more, one on this machine."""

    master: str = Field(
        default="local[*]",
        pattern=r"^(local(\[.*\])?|spark://.+|k8s://.+|yarn)$",
        description="Where it runs: local[*], spark://host:7077, yarn.",
    )
    connect: str | None = Field(
        default=None, pattern=r"^sc://.+", description="Of a Spark Connect server, in place of a master."
    )
    conf: dict[str, str | int | bool] = Field(
        default={}, description="Settings of the session: spark.driver.memory, spark.jars, ..."
    )

    @model_validator(mode="after")
    def _keeps_what_results_rest_on(self) -> Self:
        for name in self.conf:
            if name.startswith(REACHED_AS_ITSELF):
                raise ValueError(f"conf sets {name}, on which equal results rest; leave it out")
        return self

    @property
    def settings(self) -> dict[str, str]:
        """The settings as Spark wants them, in text."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self.conf.items()
        }


class EnginesSpec(Config):
    """What runs the SELECTs of models."""

    default: Literal["duckdb", "spark"] = Field(
        default="duckdb", description="Of models that do not say it themselves."
    )
    spark: SparkSpec = Field(default=SparkSpec(), description="Where Spark is.")
