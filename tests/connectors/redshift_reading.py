"""What the tests of Redshift share: a database of the stand-in, and its bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgard.connectors.redshift import RedshiftConfig, RedshiftSource
from asgard.core.cancel import Cancel
from asgard.core.source import ReadSettings
from asgard.transport.objects import Bucket
from tests.connectors.harness_redshift import bucket_config
from tests.connectors.reading import Loaded, load
from tests.servers.redshift import RedshiftFront


@dataclass(frozen=True)
class Warehouse:
    """A database behind the front."""

    front: RedshiftFront
    name: str
    bucket: dict[str, Any]

    @classmethod
    def new(cls, front: RedshiftFront) -> Warehouse:
        """An empty one, with a bucket of its own."""
        return cls(front, front.create_database(), bucket_config(front))

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs SQL beside the front."""
        return self.front.execute(sql, self.name)

    def config(self, **more: Any) -> dict[str, Any]:
        """For the connector."""
        return self.front.config(self.name, **{**self.bucket, **more})

    def source(self, cancel: Cancel | None = None, **more: Any) -> RedshiftSource:
        """A source that unloads whatever it can."""
        config = RedshiftConfig.model_validate(self.config(**more))
        return RedshiftSource(config, "tried", ReadSettings(1 << 20, cancel or Cancel()))

    def load(self, name: str, options: dict[str, Any] | None = None, **how: Any) -> Loaded:
        """One plan, read to its end."""
        more = how.pop("config", {})
        with self.source(**more) as source:
            return load(source, name, options, **how)

    @property
    def place(self) -> Bucket:
        """Where files are unloaded to."""
        config = RedshiftConfig.model_validate(self.config())
        return config.s3.open(Cancel())

    def objects(self) -> list[str]:
        """The names of what lies there."""
        return [file.name for file in self.place.find()]
