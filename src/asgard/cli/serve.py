"""`asgard serve`."""

from __future__ import annotations

import click

from asgard.cli.options import project_options
from asgard.core.errors import ConfigError


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where it listens; 0.0.0.0 for every address."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port.")
@click.option("--no-worker", is_flag=True, help="Run no jobs here; asgard worker does.")
@project_options
def serve(host: str, port: int, no_worker: bool, project: str | None, env: str | None) -> None:
    """Serve the REST API, and run its jobs.

    Loopback needs no token. Any other address needs one: asgard tokens create makes it.
    """
    try:
        import uvicorn

        from asgard.api.application import create_app
    except ImportError as error:
        raise ConfigError(
            f"serving needs a package that is not installed: {error.name}",
            hint="pip install 'asgard-platform[api]'",
        ) from error
    app = create_app(project, env, worker=False if no_worker else None)
    app.state.served().insist_on_credentials(host)
    uvicorn.run(app, host=host, port=port, proxy_headers=False, timeout_graceful_shutdown=5)
