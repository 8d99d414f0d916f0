"""Azure: every kind of key signs in, and a blob that is replaced while it is read is an error."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from asgard.connectors.azure import AzureConfig, AzureSource
from asgard.core.cancel import Cancel
from asgard.core.errors import AuthenticationError, ConfigError, DataError, Refused
from asgard.core.stream import Selection
from tests.connectors.buckets import put
from tests.connectors.reading import load
from tests.servers.object_stores import (
    AZURE_ACCOUNT,
    AZURE_KEY,
    ObjectServer,
    new_container,
    shared_store,
)


@pytest.fixture(scope="module")
def azurite() -> ObjectServer:
    return shared_store("azurite")


@pytest.fixture
def config(azurite: ObjectServer) -> dict[str, Any]:
    return azurite.azure_config(new_container(azurite))


def opened(config: dict[str, Any]) -> AzureSource:
    return AzureSource(AzureConfig.model_validate(config), "tried")


def shared_access(container: str) -> str:
    """A signature that lets its holder list and read one container for an hour."""
    version, until = "2022-11-02", (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    resource = f"/blob/{AZURE_ACCOUNT}/{container}"
    fields = ["rl", "", until, resource, "", "", "", version, "c", "", "", "", "", "", "", ""]
    digest = hmac.digest(base64.b64decode(AZURE_KEY), "\n".join(fields).encode(), "sha256")
    signature = base64.b64encode(digest).decode()
    return "?" + urlencode({"sv": version, "sr": "c", "sp": "rl", "se": until, "sig": signature})


def test_every_kind_of_key(config: dict[str, Any]) -> None:
    put(opened(config).place, "a b+ü.csv", b"x\n007\n")
    container, url = config["container"], config["endpoint_url"]
    line = f"AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};BlobEndpoint={url};EndpointSuffix=x;"
    plain = {"container": container, "account": AZURE_ACCOUNT, "endpoint_url": url}
    for keys in (
        config,
        {**plain, "sas_token": shared_access(container)},
        {"container": container, "connection_string": line},
    ):
        assert load(opened(keys), "t", {"path": "*.csv", "with_file": False}).rows == [{"x": "007"}]
    with pytest.raises((Refused, AuthenticationError)) as caught:
        opened({**plain, "sas_token": shared_access(container)[:-6] + "AAAA%3D"}).check()
    assert "sig=" not in str(caught.value)
    with pytest.raises((Refused, AuthenticationError)):
        opened({**plain, "anonymous": True}).check()


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match="account is missing"):
        opened({"container": "c"}).check()


def test_a_blob_that_is_replaced_while_it_is_read(config: dict[str, Any]) -> None:
    azure = opened(config)
    put(azure.place, "a.csv", b"x\n1\n")
    for name in ("a", "t"):  # found by a listing, and by its very name
        options = azure.options_of({} if name == "a" else {"path": "a.csv"})
        stream = azure.describe(name, options)
        with azure.plan([Selection(stream, options=options)], {}) as plan:
            assert sum(batch.num_rows for batch in azure.read(plan.splits[0])) == 1
            put(azure.place, "a.csv", b"x\n2\n")
            with pytest.raises(DataError, match="changed while it was being read"):
                list(azure.read(plan.splits[0]))
    by_listing, by_name = azure.place.find("*.csv")[0], azure.place.find("a.csv")[0]
    assert by_listing.state == by_name.state


def test_the_options_of_other_libraries(config: dict[str, Any]) -> None:
    told = AzureConfig.model_validate(config).storage_options(Cancel())
    assert told == {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_SKIP_SIGNATURE": "false", "AZURE_ENDPOINT": config["endpoint_url"], "ALLOW_HTTP": "true",
    }  # fmt: skip
