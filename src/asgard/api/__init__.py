"""The service over HTTP: `asgard serve`, or `uvicorn asgard.api:app`. It only translates."""

from asgard.api.application import app

__all__ = ["app"]
