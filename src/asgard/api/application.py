"""The application: every noun's routes, the guard before them, and the worker that lives as long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer

from asgard.api import (
    checks,
    datasources,
    diffs,
    documentation,
    health,
    ingestions,
    jobs,
    lineage,
    maintenance,
    models,
    pipelines,
    plans,
    runs,
    schedules,
    secrets,
    sessions,
    sinks,
    sources,
    tables,
    transforms,
)
from asgard.api.access import guard, insist_on_actions
from asgard.api.bodies import Bodies
from asgard.api.ending import told_of_the_end
from asgard.api.problems import ANSWERS, handle_problems
from asgard.api.served import Served

NOUNS = (
    health, datasources, sinks, ingestions, transforms, sources, pipelines, tables, diffs, models, plans,
    lineage, checks, runs, jobs, schedules, maintenance, secrets, sessions,
)  # fmt: skip
BEARER = HTTPBearer(auto_error=False, description="What asgard tokens create prints; none from loopback.")
"""For the document, and for who tries the API in /docs; `guard` is who asks."""
ROUTES = tuple(route for noun in NOUNS for route in noun.router.routes)
DESCRIPTION = """Moves data from databases, files, APIs and streams into an open lakehouse, and proves that
it is right. Lists come in pages: `next` of one is the `cursor` of the page behind it. Errors are
`application/problem+json` with what, hint and where."""


def create_app(
    project: str | Path | None = None, env: str | None = None, *, worker: bool | None = None
) -> FastAPI:
    """The application. The project is opened when it starts.

    Args:
        project, env: as `asgard --project --env` have them.
        worker: whether jobs are run here too; by default as ASGARD_WORKER says.
    """

    @lru_cache(maxsize=1)
    def served() -> Served:
        return Served(project, env, worker=worker)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        platform = await run_in_threadpool(served)
        platform.start()
        try:
            with told_of_the_end(platform.drain):
                yield
        finally:
            await run_in_threadpool(platform.stop)

    app = FastAPI(
        title="Asgard",
        description=DESCRIPTION,
        version=version("asgard-platform"),
        lifespan=living,
        dependencies=[Depends(BEARER), Depends(guard, scope="function")],
        responses=ANSWERS,
        docs_url=None,
        redoc_url=None,
    )
    app.state.served = served
    for noun in NOUNS:
        app.include_router(noun.router)
    app.include_router(documentation.router)
    app.add_middleware(Bodies)
    handle_problems(app)
    insist_on_actions((*ROUTES, *documentation.router.routes, *app.routes))
    return app


app = create_app()
