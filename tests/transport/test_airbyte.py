"""The client of Airbyte's API: signs in, turns pages, tries again, and says who must act when it cannot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgard.core.cancel import Cancel
from asgard.core.errors import (
    AsgardError,
    AuthenticationError,
    ConfigError,
    Conflict,
    DataError,
    QueryError,
    Refused,
    Unreachable,
)
from asgard.transport import http_rules
from asgard.transport.airbyte import AirbyteClient, AirbyteSettings, api_url
from asgard.transport.airbyte_answers import Connection, Job, JobType, Kind, Named
from tests.servers.airbyte import CLIENT_ID, CLIENT_SECRET, PREFIX, AirbyteServer, Fault
from tests.servers.api import Reply

CONFIGURATION = {"sourceType": "postgres", "host": "db", "database": "shop", "username": "reader",
                 "password": 'canary "quoted" pässword', "port": 5432}  # fmt: skip
BUCKET = {"destinationType": "s3", "s3_bucket_name": "lake", "secret_access_key": "canary-s3-key"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_rules, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def server() -> Iterator[AirbyteServer]:
    with AirbyteServer() as running:
        yield running


@pytest.fixture
def client(server: AirbyteServer) -> Iterator[AirbyteClient]:
    with signed_in(server) as running:
        yield running


def signed_in(
    server: AirbyteServer, secret: str | None = CLIENT_SECRET, max_retries: int = 2
) -> AirbyteClient:
    settings = AirbyteSettings(server.url, CLIENT_ID, secret, timeout_seconds=5, max_retries=max_retries)
    return AirbyteClient(settings, Cancel())


def joined(server: AirbyteServer, client: AirbyteClient) -> Connection:
    workspace = server.workspace("default")
    source = client.create_actor(Kind.SOURCE, workspace, "orders", CONFIGURATION)
    sink = client.create_actor(Kind.DESTINATION, workspace, "lake", BUCKET)
    return client.create_connection(source.id, sink.id, name="orders to lake")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://airbyte:8000", "http://airbyte:8000/api/public/v1"),
        ("http://airbyte:8000/", "http://airbyte:8000/api/public/v1"),
        ("http://airbyte:8000/api", "http://airbyte:8000/api/public/v1"),
        ("http://airbyte:8000/api/public/", "http://airbyte:8000/api/public/v1"),
        ("http://airbyte:8001/api/public/v1", "http://airbyte:8001/api/public/v1"),
        ("http://airbyte:8001/api/public/v1/", "http://airbyte:8001/api/public/v1"),
        ("https://tools.example.com/airbyte", "https://tools.example.com/airbyte/api/public/v1"),
        ("https://api.airbyte.com", "https://api.airbyte.com/v1"),
        ("https://api.airbyte.com/v1", "https://api.airbyte.com/v1"),
    ],
)
def test_the_address_may_lack_the_path_of_the_api(given: str, url: str) -> None:
    assert api_url(given) == url


@pytest.mark.parametrize("given", ["airbyte:8000", "", "ftp://airbyte", "http://[", "http://"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(ConfigError, match="does not begin with https") as wrong:
        api_url(given)
    assert "AIRBYTE_BASE_URL" in wrong.value.hint


@pytest.mark.parametrize("given", ["", ".", ".."])
def test_an_id_leads_nowhere_else(server: AirbyteServer, client: AirbyteClient, given: str) -> None:
    with pytest.raises(ConfigError, match="is no id"):
        client.delete_connection(given)
    with pytest.raises(QueryError):
        client.connection("../workspaces")
    assert server.asked[-1].path.endswith("/connections/..%2Fworkspaces")


def test_what_is_made_is_there_until_it_is_deleted(server: AirbyteServer, client: AirbyteClient) -> None:
    made = joined(server, client)
    assert made == Connection(
        made.id, "orders to lake", made.source_id, made.destination_id, made.workspace_id, "active"
    )
    assert server.state.source[made.source_id]["configuration"] == {
        k: v for k, v in CONFIGURATION.items() if k != "sourceType"
    }
    assert client.actor(Kind.SOURCE, made.source_id) == Named(made.source_id, "orders", "postgres")
    assert list(client.actors(Kind.DESTINATION, made.workspace_id)) == [
        Named(made.destination_id, "lake", "s3")
    ]
    assert list(client.connections()) == [client.connection(made.id)] == [made]
    assert client.patch_connection(made.id, name="renamed").name == "renamed"
    replaced = client.replace_actor(Kind.SOURCE, made.source_id, "orders", {**CONFIGURATION, "host": "db2"})
    assert replaced == Named(made.source_id, "orders", "postgres")
    assert server.state.source[made.source_id]["configuration"]["host"] == "db2"
    for _ in range(2):  # gone already is no mistake
        client.delete_connection(made.id)
        client.delete_actor(Kind.SOURCE, made.source_id)
        client.delete_actor(Kind.DESTINATION, made.destination_id)
    assert [*client.connections(), *client.actors(Kind.SOURCE), *client.actors(Kind.DESTINATION)] == []


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
def test_lists_are_whole_whatever_their_length(
    server: AirbyteServer, client: AirbyteClient, count: int
) -> None:
    ids = [server.workspace(f"w{number}") for number in range(count)]
    assert [one.id for one in client.workspaces()] == ids


def test_a_server_that_gives_smaller_pages_than_asked_for(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    server.most_rows = 7
    ids = [server.workspace(f"w{number}") for number in range(20)]
    assert [one.id for one in client.workspaces()] == ids
    offsets = [asked.query["offset"] for asked in server.asked_for("GET /workspaces")]
    assert offsets == ["0", "7", "14"]


def test_a_list_that_never_ends_is_refused(server: AirbyteServer, client: AirbyteClient) -> None:
    page = Reply(200, {"data": [{"workspaceId": "a", "name": "a"}], "next": "again"})
    server.fail("GET /workspaces", *[Fault(page)] * 3)
    with pytest.raises(DataError, match="the same page twice, at offset 1"):
        list(client.workspaces())


def test_one_token_for_many_requests_and_a_new_one_when_it_expires(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    for _ in range(3):
        list(client.workspaces())
    assert server.tokens_given == 1
    server.expire_tokens()
    assert list(client.workspaces()) == []
    assert server.tokens_given == 2
    (first, _) = server.asked_for("POST /applications/token")
    assert first.document == {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "grant_type": "client_credentials",
        "grant-type": "client_credentials",
    }


def test_a_token_is_renewed_before_it_expires(server: AirbyteServer, client: AirbyteClient) -> None:
    server.life_seconds = 0
    list(client.workspaces())
    list(client.workspaces())
    assert server.tokens_given == 2
    assert [one.reply.status for one in server.exchanges] == [200] * 4


def test_a_post_is_sent_again_with_a_new_token(server: AirbyteServer, client: AirbyteClient) -> None:
    made = joined(server, client)
    server.expire_tokens()
    assert client.create_job(made.id, JobType.SYNC).status == "pending"
    assert len(server.state.jobs) == 1


def test_a_wrong_secret_is_refused_and_not_shown(server: AirbyteServer) -> None:
    with signed_in(server, "canary-wrong") as client, pytest.raises(AuthenticationError) as refused:
        list(client.workspaces())
    assert "AIRBYTE_CLIENT_SECRET" in refused.value.hint
    assert "canary" not in str(refused.value)
    assert "canary" not in repr(client.settings)


def test_without_an_application_nobody_signs_in(server: AirbyteServer) -> None:
    without = AirbyteClient(AirbyteSettings(server.url), Cancel())
    with without as client, pytest.raises(AuthenticationError, match="401"):
        list(client.workspaces())
    assert "authorization" not in server.asked[-1].headers


@pytest.mark.parametrize("given", [{"client_id": "a"}, {"client_secret": "b"}])
def test_half_of_the_credentials_is_a_mistake(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is set, AIRBYTE_CLIENT_"):
        AirbyteSettings("http://airbyte:8000", **given)


@pytest.mark.parametrize("reply", [Reply(500), Reply(503), Reply(429, None, {"Retry-After": "0"}), Reply(0)])
def test_what_is_only_read_is_asked_again(server: AirbyteServer, client: AirbyteClient, reply: Reply) -> None:
    server.workspace("default")
    server.fail("GET /workspaces", Fault(reply), Fault(reply))
    assert [one.name for one in client.workspaces()] == ["default"]


@pytest.mark.parametrize("reply", [Reply(500), Reply(0)])
def test_what_may_have_been_done_is_not_done_again_by_itself(
    server: AirbyteServer, client: AirbyteClient, reply: Reply
) -> None:
    made = joined(server, client)
    server.fail("POST /jobs", Fault(reply, done=True))
    with pytest.raises(Unreachable) as broken:
        client.create_job(made.id, JobType.SYNC)
    assert broken.value.retryable
    assert len(server.state.jobs) == 1


def test_too_many_requests_are_never_a_reason_to_fail_at_once(
    server: AirbyteServer, client: AirbyteClient
) -> None:
    made = joined(server, client)
    server.fail("POST /jobs", Fault(Reply(429, None, {"Retry-After": "0"})))
    assert client.create_job(made.id, JobType.RESET).type == "reset"


def test_a_delete_that_breaks_off_is_asked_again(server: AirbyteServer, client: AirbyteClient) -> None:
    made = joined(server, client)
    server.fail("DELETE /connections/{id}", Fault(Reply(0), done=True))
    client.delete_connection(made.id)
    assert server.state.connections == {}


def test_a_server_that_stays_away(server: AirbyteServer, client: AirbyteClient) -> None:
    server.fail("GET /workspaces", *[Fault(Reply(502))] * 3)
    with pytest.raises(Unreachable, match="after 3 attempts: status 502") as away:
        list(client.workspaces())
    assert not away.value.retryable
    assert away.value.exit_code == 5


NOWHERE = "00000000-0000-4000-8000-000000000000"


def test_each_refusal_says_who_must_act(server: AirbyteServer, client: AirbyteClient) -> None:
    made = joined(server, client)
    client.create_job(made.id, JobType.SYNC)
    with pytest.raises(QueryError, match="404: refused: Could not find a job for 7"):
        client.job(7)
    with pytest.raises(QueryError, match=NOWHERE):
        client.connection(NOWHERE)
    with pytest.raises(Conflict, match="already running"):
        client.create_job(made.id, JobType.SYNC)
    with pytest.raises(ConfigError, match="sourceType or definitionId"):
        client.create_actor(Kind.SOURCE, made.workspace_id, "x", {"host": "db"})
    server.fail("GET /workspaces", Fault(Reply(403, {"title": "forbidden"})))
    with pytest.raises(Refused, match="status 403: forbidden") as refused:
        list(client.workspaces())
    assert refused.value.where["url"].startswith(f"{server.url}{PREFIX}/workspaces")


def test_no_secret_of_a_configuration_is_in_an_error(server: AirbyteServer, client: AirbyteClient) -> None:
    workspace = server.workspace("default")
    server.wrong = "cannot reach {host} as {username} with {password}"
    told: list[AsgardError] = []
    with pytest.raises(ConfigError) as refused:
        client.create_actor(Kind.SOURCE, workspace, "orders", CONFIGURATION)
    told.append(refused.value)
    assert "cannot reach db as ********** with **********" in refused.value.what
    echo = Reply(500, {"message": f"failed with {CONFIGURATION['password']}"})
    server.fail("POST /sources", Fault(echo))
    with pytest.raises(Unreachable) as failed:
        client.create_actor(Kind.SOURCE, workspace, "orders", CONFIGURATION)
    told.append(failed.value)
    html = f"<html>{CONFIGURATION['password']}</html>".encode()
    server.fail("POST /sources", Fault(Reply(400, html)))
    with pytest.raises(ConfigError) as page:
        client.create_actor(Kind.SOURCE, workspace, "orders", CONFIGURATION)
    told.append(page.value)
    for error in told:
        assert "canary" not in str(error)
        assert "pässword" not in str(error)
        assert "p\\u00e4ssword" not in str(error)


def test_a_web_page_is_no_api(server: AirbyteServer, client: AirbyteClient) -> None:
    server.fail("GET /workspaces", Fault(Reply(200, b"<html>Airbyte</html>")))
    with pytest.raises(ConfigError, match="not as Airbyte's API does") as page:
        list(client.workspaces())
    assert "AIRBYTE_BASE_URL" in page.value.hint


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", "queued"),
        ("queued", "queued"),
        ("running", "running"),
        ("incomplete", "running"),
        ("succeeded", "done"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_every_status_has_a_state(
    server: AirbyteServer, client: AirbyteClient, status: str, state: str
) -> None:
    server.statuses = [status]
    job = client.create_job(joined(server, client).id, JobType.SYNC)
    assert client.job(job.id).state == state
    assert job.has_ended == (state in ("done", "failed", "cancelled"))


def test_figures_that_are_not_told_are_not_there(server: AirbyteServer, client: AirbyteClient) -> None:
    connection = joined(server, client)
    job = client.create_job(connection.id, JobType.SYNC)
    assert job == Job(job.id, "sync", "pending", connection.id, None, None, "PT8S")
    assert client.job(job.id).rows == 100
    assert client.cancel_job(job.id).status == "running"
    assert client.job(job.id) == Job(job.id, "sync", "cancelled", connection.id, 200, 10_000, "PT8S")
    assert client.cancel_job(job.id).status == "cancelled"


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"jobId": "12", "status": "running", "jobType": "sync", "connectionId": "a"},
        {"jobId": 12, "status": "dreaming", "jobType": "sync", "connectionId": "a"},
        {"jobId": 12, "status": "running"},
    ],
)
def test_an_answer_that_is_no_job_is_refused(
    server: AirbyteServer, client: AirbyteClient, told: dict[str, object]
) -> None:
    server.fail("GET /jobs/{id}", Fault(Reply(200, told)))
    with pytest.raises(DataError, match="Airbyte's answer cannot be used"):
        client.job(12)
