"""Files that have come into a source: what a schedule with `arrivals` waits for, on S3 as on a disk.

A look is a listing with the source's own credentials, by a thread of its own: the worker's clock waits for no
bucket. What was seen is kept with the schedule, as one hash for each file, so that any number of workers may
look and one of them asks for the job.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from asgard.app.config.project import Project
from asgard.core.errors import AsgardError, ConfigError, QueryError
from asgard.core.source import ReadSettings
from asgard.transport.files import FoundFile

LOOK_SECONDS = 30.0
"""Between two looks at one source."""
SETTLED_SECONDS = 5.0
"""A file on a disk that was written more recently than that may still be growing; an object is whole."""
MOST_FILES = 50_000


@dataclass
class _Look:
    """The last look at one source: when it began, and what it saw."""

    began: float
    saw: str | None = None
    trouble: AsgardError | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class Arrivals:
    """Looks for files, again and again.

    Args:
        every_seconds: between two looks.
        patient: waits for each look, as who looks only once must.
    """

    def __init__(self, every_seconds: float = LOOK_SECONDS, *, patient: bool = False) -> None:
        self._every_seconds = every_seconds
        self._patient = patient
        self._looks: dict[str, _Look] = {}

    def seen(self, project: Project, name: str) -> str | None:
        """What lies there, by the last look that ended: `files` and a hash for each; None before the first.

        Args:
            name: `source`, or `source.table`.

        Raises:
            AsgardError: the last look failed; it is told once, and looked again later.
        """
        look = self._looks.get(name)
        if look is None or (look.ended.is_set() and time.monotonic() - look.began >= self._every_seconds):
            before, look = look, _Look(time.monotonic())
            look.saw = before.saw if before is not None else None
            self._looks[name] = look
            arguments = (project, name, look)
            threading.Thread(target=_look, args=arguments, name="arrivals", daemon=True).start()
        if self._patient:
            look.ended.wait()
        trouble, look.trouble = look.trouble, None
        if trouble is not None:
            raise trouble
        return look.saw


def refuse_unknown(project: Project, name: str) -> None:
    """Sees that a schedule can look there.

    Raises:
        ConfigError: there is no such source or table, or its streams are no files.
    """
    source, _, table = name.partition(".")
    spec = project.sources.get(source)
    if spec is None:
        raise ConfigError(
            f"there is no source {source!r}", hint=f"there are: {', '.join(project.sources) or 'none'}"
        )
    if not hasattr(spec.connector_class, "file_set"):
        raise ConfigError(
            f"{source} is {spec.type}, which keeps no files",
            hint="arrivals are for files, s3, gcs and azure; give the schedule every: 15m",
        )
    if table and table not in [entry.name for entry in spec.tables]:
        raise ConfigError(f"{source} has no table {table!r} in the project", hint="name it below its tables")


def _look(project: Project, name: str, look: _Look) -> None:
    try:
        look.saw = _listed(project, name)
    except AsgardError as error:
        look.trouble = error.at(source=name)
    finally:
        look.ended.set()


def _listed(project: Project, name: str) -> str:
    source_name, _, table = name.partition(".")
    spec = project.sources[source_name]
    if spec.unavailable is not None:
        raise spec.unavailable
    with spec.connector_class(spec.config, source_name, ReadSettings()) as source:
        if not table:
            return _hashed(source.place.find())
        entry = next(one for one in spec.tables if one.name == table)
        try:
            return _hashed(source.file_set(table, entry.options or source.options_of({})).files)
        except QueryError:  # there is no such file yet
            return _hashed(())


def _hashed(files: Iterable[FoundFile]) -> str:
    newest_ns = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    found = set()
    for file in files:
        if file.etag or file.modified_ns <= newest_ns:
            named = f"{file.name}\n{file.member}\n{file.size_bytes}\n{file.modified_ns}\n{file.etag}"
            found.add(hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest()[:16])
    if len(found) > MOST_FILES:
        raise ConfigError(
            f"there are {len(found):,} files, more than the {MOST_FILES:,} that a schedule can watch",
            hint="watch a table of fewer files, or give the schedule every: 15m",
        )
    return " ".join(["files", *sorted(found)])
