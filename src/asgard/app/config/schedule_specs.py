"""What a project says about its queue and its schedules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from asgard.app.config.quantities import Lag, Size
from asgard.app.config.specs import Frequency, Names
from asgard.core.config import Config, LocalPath
from asgard.core.errors import ConfigError
from asgard.core.secret import Secret
from asgard.schedule.timetable import Timetable

AtLeastOne = Annotated[int, Field(ge=1)]


LEAST_KEPT_SECONDS = 3600.0


def _zone(value: str) -> str:
    try:
        Timetable(cron="0 0 * * *", zone=value)
    except ConfigError as error:
        raise ValueError(f"{error.what}; {error.hint}") from error
    return value


class QueueServer(Config):
    """A PostgreSQL database that several machines share."""

    host: str = Field(description="The server's name or address.")
    port: int = Field(default=5432, ge=1, le=65535, description="The server's port.")
    database: str = Field(description="The database within the server.")
    username: str | None = Field(default=None, description="Who signs in.")
    password: Secret | None = Field(default=None, description="The password.")
    ssl_mode: str = Field(default="require", description="As libpq means it: disable, require, verify-full.")
    ssl_root_cert: LocalPath | None = Field(default=None, description="PEM file of the authorities to trust.")


class QueueSpec(Config):
    """Where jobs wait, and how many run at a time."""

    postgres: QueueServer | None = Field(
        default=None,
        description="For workers on several machines; left out, the queue is a file of the state.",
    )
    limits: dict[str, AtLeastOne] = Field(
        default={}, description="Jobs that run at the same time, by the name of the queue."
    )
    per_source: AtLeastOne | None = Field(
        default=1, description="Jobs that read one source at the same time; null for no limit."
    )
    keep_days: float = Field(default=30, gt=0, description="How long ended jobs and their logs are kept.")


class MaintenanceSpec(Config):
    """The upkeep of the lake's tables: how far it goes, and when it is done by itself."""

    every: Frequency | None = Field(
        default=None, description="When a worker does it by itself: a word, a duration or a cron line."
    )
    timezone: str = Field(default="UTC", description="Whose wall clock a word or a cron line means.")
    tables: Names = Field(default=(), description="The tables that are looked after; left out: all.")
    budget: Annotated[Lag, Field(gt=0)] | None = Field(
        default=None, description="No file is begun to be written anew later than that: 10m."
    )
    budget_bytes: Size | None = Field(
        default=None, description="No file is begun to be written anew once so much was written: 10GB."
    )
    keep: Lag = Field(default=7 * 86_400.0, description="How long versions of tables stay readable: 7d.")
    keep_log: Lag = Field(
        default=30 * 86_400.0, description="How long the log tells who did what to a table: 30d."
    )
    cluster: bool = Field(
        default=True, description="Whether files are put in order by the columns of cluster_by."
    )
    queue: str = Field(default="default", min_length=1, description="The queue whose limit counts.")
    priority: int = Field(default=0, description="Jobs of a higher one go first.")
    timeout: Lag | None = Field(default=None, description="An attempt that takes longer is ended: 2h.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return _zone(value)

    @field_validator("keep", "keep_log")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if value < LEAST_KEPT_SECONDS:
            raise ValueError("is too short: loads and queries on their way need their versions; keep 1h")
        return value


class ScheduleSpec(Config):
    """What is run by itself, and when."""

    run: Names = Field(default=(), description="What asgard run would be given; left out: everything.")
    every: Frequency | None = Field(default=None, description="A word, a duration or a cron line.")
    after: str | None = Field(default=None, description="Runs after each good run of this schedule.")
    files: str | None = Field(
        default=None, min_length=1, description="Runs when files of this pattern have come or changed."
    )
    arrivals: str | None = Field(
        default=None,
        min_length=1,
        description="Runs when files have come or changed in a source: uploads, or uploads.orders.",
    )
    timezone: str = Field(default="UTC", description="Whose wall clock a word or a cron line means.")
    catch_up: Literal["latest", "all", "none"] = Field(
        default="latest", description="What becomes of times that passed while no worker was there."
    )
    full_refresh: bool = Field(default=False, description="Reads everything anew and replaces the tables.")
    queue: str = Field(default="default", min_length=1, description="The queue whose limit counts.")
    priority: int = Field(default=0, description="Jobs of a higher one go first.")
    attempts: AtLeastOne = Field(
        default=4, description="How often a job is tried, errors that may heal given."
    )
    timeout: Lag | None = Field(default=None, description="An attempt that takes longer is ended: 2h.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return _zone(value)

    @model_validator(mode="after")
    def _one_reason(self) -> Self:
        reasons = (self.every, self.after, self.files, self.arrivals)
        if sum(reason is not None for reason in reasons) != 1:
            raise ValueError("needs one of every, after, files and arrivals")
        if self.files is not None and "://" in self.files:
            raise ValueError("files is of this machine; arrivals: SOURCE.TABLE watches a source of files")
        return self
