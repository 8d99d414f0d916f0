"""A bucket of a stand-in for Google Cloud Storage, for the contract: both speak the same listing and reading.

What is Google's alone is tried on fake-gcs-server (`make test-cluster`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.gcs import GCSSource
from asgard.core.errors import AuthenticationError, QueryError, Unreachable
from asgard.testing.connectors import Harness
from tests.connectors.buckets import contract_harness
from tests.servers.google_front import google_front
from tests.servers.object_stores import new_bucket, shared_store

TOKEN = "canary-token"


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    server = shared_store("moto")
    with google_front(server.url) as url:
        config = {"bucket": new_bucket(server), "prefix": "raw", "endpoint_url": url, "access_token": TOKEN}
        bad = (
            ({**config, "bucket": "no-such-bucket"}, QueryError),
            ({**config, "prefix": "empty"}, QueryError),
            ({**config, "access_token": "wrong"}, AuthenticationError),
            ({**config, "endpoint_url": "http://127.0.0.1:9"}, Unreachable),
        )
        yield contract_harness(GCSSource, config, bad, (TOKEN,))
