"""A bucket of a stand-in for S3, for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asgard.connectors.s3 import S3Source
from asgard.core.errors import QueryError, Unreachable
from asgard.testing.connectors import Harness
from tests.connectors.buckets import contract_harness
from tests.servers.object_stores import SECRET_KEY, new_bucket, shared_store

TOKEN = "canary-token"


@contextmanager
def harness(folder: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    server = shared_store("moto")
    config = server.s3_config(new_bucket(server), prefix="raw", session_token=TOKEN)
    bad = (
        ({**config, "bucket": "no-such-bucket"}, QueryError),
        ({**config, "prefix": "empty"}, QueryError),
        ({**config, "endpoint_url": "http://127.0.0.1:9"}, Unreachable),
    )
    yield contract_harness(S3Source, config, bad, (SECRET_KEY, TOKEN))
