"""The project that a server serves: read again when its files change, with the worker beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from asgard.app.access.access import Access, insist_on_credentials, open_access
from asgard.app.config.project import Project, find_project, load_project
from asgard.app.config.settings import Settings, load_settings
from asgard.app.jobs.worker import WorkerWish, work
from asgard.app.project.workspace import Workspace
from asgard.core.cancel import Cancel
from asgard.core.errors import AsgardError, ConfigError
from asgard.core.events import Event

FIRST_PROJECT = "# What Asgard loads and where to; asgard init writes a fuller one.\nversion: 1\n"
PATIENCE_SECONDS = 15.0
LOG = logging.getLogger("uvicorn.error")

Stamp = tuple[tuple[str, int], ...]


class Served:
    """What every route needs. Safe to use from any thread.

    Args:
        project: the file; None for the settings', else asgard.yml here or above, else a new one here.
        env: the environment whose overlay lies over it.
        worker: whether jobs are run here too; None for what the settings say.

    Raises:
        ConfigError: the project or a setting is wrong.
    """

    def __init__(
        self, project: str | Path | None = None, env: str | None = None, *, worker: bool | None = None
    ) -> None:
        self._file = _project_file(project)
        self._env = env
        self.settings: Settings = load_settings(self._file.parent)
        self._has_worker = self.settings.asgard_worker if worker is None else worker
        self._lock = threading.Lock()
        self._read: tuple[Stamp, Project] | None = None
        self._open = ExitStack()
        self._access: Access | None = None
        self._drain, self._stop = Cancel(), Cancel()
        self._thread: threading.Thread | None = None

    def project(self, *, with_sources: bool = False) -> Project:
        """The project as its files are now.

        Raises:
            ConfigError: with every mistake of the file.
            Refused, Unreachable: a store of secrets does not give what it refers to.
        """
        if with_sources:
            # Their secrets may have been exchanged, which no file of the project shows.
            return load_project(self._file, self._env)
        stamp = self._stamp()
        with self._lock:
            known = self._read
        if known is not None and known[0] == stamp:
            return known[1]
        project = load_project(self._file, self._env, with_sources=False)
        with self._lock:
            self._read = stamp, project
        return project

    def workspace(self, *, with_sources: bool = False) -> Workspace:
        """The project, opened for one request."""
        return Workspace(self.project(with_sources=with_sources))

    def workspace_of(self, environment: str | None) -> Workspace:
        """The project as an environment has it, for a look at its tables; None for the server's own.

        Raises:
            ConfigError: there is no such environment.
        """
        return Workspace.open(self._file, environment or self._env, with_sources=False)

    def access(self) -> Access:
        """The users and tokens; opened once, because every request asks.

        Raises:
            Unreachable, AuthenticationError, ConfigError, Refused: they cannot be.
        """
        project = self.project()
        with self._lock:
            if self._access is None:
                self._access = self._open.enter_context(open_access(project))
            return self._access

    def insist_on_credentials(self, host: str) -> None:
        """Goes on only if a server that listens there lets nobody in unseen.

        Raises:
            Refused: it is not loopback, and there is no token yet.
        """
        insist_on_credentials(self.access(), host)

    def start(self) -> None:
        """Starts the worker, if there is to be one."""
        if not self._has_worker:
            return
        wish = WorkerWish(str(self._file), self._env, self.settings.asgard_worker_slots)

        def working() -> None:
            try:
                work(wish, _tell, self._drain, self._stop)
            except AsgardError as error:
                LOG.error("the worker has ended: %s", error)

        self._thread = threading.Thread(target=working, name="worker")
        self._thread.start()

    def drain(self) -> None:
        """Takes no more jobs, and ends the answers that go on by themselves."""
        self._drain.cancel("the server ends")

    @property
    def is_ending(self) -> bool:
        """Whether answers that go on by themselves should end."""
        return self._drain.requested

    def stop(self) -> None:
        """Ends the worker and its runs; what they were at is done by the next one."""
        self.drain()
        self._stop.cancel("the server ends")
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)
        self._open.close()

    @property
    def runs_jobs(self) -> bool | None:
        """Whether the worker lives; None where jobs are run by others."""
        return None if self._thread is None else self._thread.is_alive()

    def _stamp(self) -> Stamp:
        folder = self._file.parent
        stamp = []
        for file in (*sorted(folder.glob("*.y*ml")), folder / ".env"):
            with suppress(OSError):
                stamp.append((file.name, file.stat().st_mtime_ns))
        return tuple(stamp)


def _project_file(given: str | Path | None) -> Path:
    wanted = given or load_settings(Path.cwd()).asgard_project
    if wanted is not None:
        return find_project(Path(wanted))
    try:
        return find_project(Path.cwd())
    except ConfigError as error:
        file = Path.cwd() / "asgard.yml"
        if file.exists() or "there is no asgard.yml" not in error.what:
            raise
        file.write_text(FIRST_PROJECT)
        LOG.warning("there was no project here: %s is a first one", file)
        return file


def _tell(event: Event) -> None:
    LOG.info("%s %s", event.kind, " ".join(f"{key}={value}" for key, value in event.data.items()))


def _served(request: Request) -> Served:
    served: Callable[[], Served] = request.app.state.served
    return served()


Platform = Annotated[Served, Depends(_served)]
"""The parameter by which a route asks for it."""
