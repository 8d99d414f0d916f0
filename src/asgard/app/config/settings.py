"""Settings of the service, from the environment and from `.env` in the folder of the project.

What only a cluster or Airbyte needs is unset or has its usual name; nothing of it is needed for the embedded
engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from asgard.app.config.mistakes import Mistakes
from asgard.app.config.references import References
from asgard.app.config.validation import Entries, read_model
from asgard.app.config.yaml_text import tree_of
from asgard.core.config import Config
from asgard.core.secret import Secret

AIRBYTE_PATH = "/api/public/v1"


def _airbyte_address(value: str) -> str:
    address = value.rstrip("/")
    return address if address.endswith(AIRBYTE_PATH) else address + AIRBYTE_PATH


class Settings(Config):
    """What is set by variables of the same names in capitals."""

    environment: str = Field(default="development", description="Where this runs, for people.")
    pipeline_namespace: str = Field(default="asgard", description="The namespace of Spark jobs.")
    transform_engine: Literal["embedded", "spark", "kubernetes"] | None = Field(
        default=None,
        description="What runs transforms; by default kubernetes where SPARK_IMAGE is set, else embedded.",
    )
    spark_image: str | None = Field(default=None, description="The image of Spark jobs on Kubernetes.")
    spark_version: str = Field(default="4.1.4", min_length=1, description="The Spark in that image.")
    spark_lake_claim: str | None = Field(
        default=None,
        description="The claim of a volume with the lake's folder, where it is no bucket.",
    )
    kube_context: str | None = Field(default=None, description="The context of the kubeconfig to use.")
    spark_service_account: str = Field(default="spark-sa", description="The account that they run as.")
    s3_secret_name: str = Field(default="s3-credentials", description="The secret with the bucket's keys.")
    airbyte_base_url: Annotated[str, BeforeValidator(_airbyte_address)] | None = Field(
        default=None, description="Airbyte's public API; /api/public/v1 is put behind it where it is missing."
    )
    airbyte_client_id: str | None = Field(default=None, description="Who we are at Airbyte.")
    airbyte_client_secret: Secret | None = Field(default=None, description="The secret to it.")
    asgard_project: str | None = Field(default=None, description="The project file that is served.")
    asgard_worker: bool = Field(
        default=True, description="Whether the server runs jobs too; false where asgard worker does."
    )
    asgard_worker_slots: int = Field(default=2, ge=1, le=64, description="Jobs at the same time.")


def load_settings(folder: Path) -> Settings:
    """The settings; the environment goes before `.env`, and what is empty counts as unset.

    Args:
        folder: where `.env` lies.

    Raises:
        ConfigError: with every value that is wrong.
    """
    references = References(folder)
    given = {name: references.variable(name.upper()) for name in Settings.model_fields}
    values = {name: value for name, value in given.items() if value}
    mistakes = Mistakes()
    settings = read_model(Settings, Entries(tree_of(values).value, "", None, {}), mistakes)
    mistakes.raise_if_any()
    assert settings is not None
    return settings
