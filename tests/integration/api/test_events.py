"""Events of a job: as a list, and as a stream that loses none."""

import threading

import orjson
import pytest

from api.places import Streams
from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.following import following
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually

JSON = {"Accept": "application/json"}


def test_the_list_has_every_event_in_order(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)

    page = tenant.get(f"/v1/jobs/{job_id}/events", headers=JSON).json()

    assert [(event["sequence"], event["type"]) for event in page["data"]] == [
        (1, "job.created"),
        (2, "job.started"),
        (3, "job.completed"),
    ]
    assert page["has_more"] is False


def test_the_list_is_paged_by_cursor(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)
    path = f"/v1/jobs/{job_id}/events?limit=2"

    first = tenant.get(path, headers=JSON).json()
    second = tenant.get(f"{path}&cursor={first['next_cursor']}", headers=JSON).json()

    assert [event["sequence"] for event in first["data"] + second["data"]] == [1, 2, 3]
    assert [first["has_more"], second["has_more"]] == [True, False]


def test_a_stream_follows_a_job_to_its_end(server: Server, tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]

    with following(tenant, job_id) as follower:
        eventually(lambda: follower.field("id") == ["1"])
        worker.start(job_id)
        eventually(lambda: follower.field("id") == ["1", "2"])
        worker.finish(job_id)

    assert follower.field("id") == ["1", "2", "3"]
    assert follower.field("event") == ["job.created", "job.started", "job.completed"]
    data = [orjson.loads(text) for text in follower.field("data")]
    assert [event["data"]["status"] for event in data] == ["queued", "in_progress", "completed"]
    for event in data:
        server.contract.validate({"$ref": "#/components/schemas/Event"}, event)
    eventually(lambda: server.desk.streams.places.open == 0)


@pytest.mark.parametrize(
    ("last", "ids"),
    [("1", ["2", "3"]), ("2", ["3"]), ("2.upstream-17", ["3"]), ("3", []), ("99", []), ("", ["1", "2", "3"])],
)
def test_a_stream_goes_on_after_the_last_event_seen(guest: Tenant, local: Worker, last: str, ids: list[str]) -> None:
    job_id = guest.submit()["id"]
    local.complete(job_id)

    with following(guest, job_id, **{"Last-Event-ID": last}) as follower:
        pass

    assert follower.field("id") == ids


@pytest.mark.parametrize("last", ["x", "-1", "1e3", "9" * 30])
def test_a_bad_last_event_id_is_a_bad_request(guest: Tenant, last: str) -> None:
    answer = guest.get(f"/v1/jobs/{guest.submit()['id']}/events", headers={"Last-Event-ID": last})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_quiet_stream_is_kept_alive_by_comments(own_settings: MakeSettings) -> None:
    with serving(own_settings(), streams=Streams(heartbeat_s=0.05)) as server:
        tenant, worker = server.tenant(), Worker(server.context)
        job_id = tenant.submit()["id"]

        with following(tenant, job_id) as follower:
            eventually(lambda: sum(line.startswith(":") for line in follower.lines) >= 3)
            worker.complete(job_id)

    assert follower.field("event")[-1] == "job.completed"


def test_more_streams_than_the_limit_are_turned_away(own_settings: MakeSettings) -> None:
    with serving(own_settings(), streams=Streams(limit=1)) as server:
        tenant, worker = server.tenant(), Worker(server.context)
        job_id = tenant.submit()["id"]
        with following(tenant, job_id) as follower:
            eventually(lambda: follower.field("id") == ["1"])

            refused = tenant.get(f"/v1/jobs/{job_id}/events")
            listed = tenant.get(f"/v1/jobs/{job_id}/events", headers=JSON)

            worker.complete(job_id)
        eventually(lambda: server.desk.streams.places.open == 0)
        assert tenant.get(f"/v1/jobs/{job_id}/events").status_code == 200

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["ratelimit-limit"] == "1"
    assert listed.status_code == 200


def test_a_client_that_goes_away_gives_its_place_back(own_settings: MakeSettings) -> None:
    with serving(own_settings()) as server:
        tenant = server.tenant()
        job_id = tenant.submit()["id"]

        with tenant.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()  # which closes the answer when it goes
            next(lines)
            eventually(lambda: server.desk.streams.places.open == 1, what="the place to be taken")

        eventually(lambda: server.desk.streams.places.open == 0, what="the place to be given back")


def test_a_stream_ends_when_its_job_is_deleted(server: Server, tenant: Tenant) -> None:
    job_id = tenant.submit()["id"]
    other = server.key(tenant.project_id)

    with following(tenant, job_id) as follower:
        eventually(lambda: follower.field("id") == ["1"])
        other.post(f"/v1/jobs/{job_id}/cancel")
        other.http.delete(f"/v1/jobs/{job_id}")

    assert follower.has_ended


def test_a_process_that_leaves_ends_its_streams_and_waits_soon(own_settings: MakeSettings) -> None:
    with serving(own_settings()) as server:
        tenant, waiting = server.tenant(), list[int]()
        job_id = tenant.submit()["id"]
        other = server.key(tenant.project_id)
        thread = threading.Thread(target=lambda: waiting.append(other.get(f"/v1/jobs/{job_id}?wait=60").status_code))
        thread.start()
        with following(tenant, job_id) as follower:
            eventually(lambda: follower.field("id") == ["1"] and len(server.desk.watch.awaited) == 1)
            eventually(lambda: server.desk.watch.waiters == 2)
            server.uvicorn.should_exit = True
        thread.join(30)

    assert waiting == [200]
