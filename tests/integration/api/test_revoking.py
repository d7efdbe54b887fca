"""A key that is revoked, or expires, opens nothing from then on: what it had opened before ends, too."""

import threading
from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest

from tests.integration.api.following import following
from tests.integration.api.serving import Server, Tenant
from tests.waiting import eventually
from worker.models import ApiKey
from worker.store import projects

MODEL = "gemini-3.8-flash"


def revoke(server: Server, tenant: Tenant) -> None:
    with server.context.database.write() as session:
        assert projects.revoke(session, tenant.key_id, server.context.clock())


def expire(server: Server, tenant: Tenant) -> None:
    with server.context.database.write() as session:
        projects.expire(session, session.get_one(ApiKey, tenant.key_id), server.context.clock() - timedelta(seconds=1))


@pytest.mark.parametrize("end", [revoke, expire])
def test_an_open_stream_ends_with_its_key_and_no_other_does(
    server: Server, tenant: Tenant, end: Callable[[Server, Tenant], None]
) -> None:
    job_id = tenant.submit()["id"]
    other = server.key(tenant.project_id)

    with following(other, job_id) as goes_on:
        with following(tenant, job_id) as follower:
            eventually(lambda: follower.field("id") == goes_on.field("id") == ["1"])
            end(server, tenant)
        assert not goes_on.has_ended
        assert follower.field("event") == ["job.created"]
        other.post(f"/v1/jobs/{job_id}/cancel")


def test_a_stream_of_the_door_ends_with_its_key(guest: Tenant, sqlite_server: Server) -> None:
    job_id = guest.submit()["id"]
    ended = list[bool]()

    def read() -> None:
        with guest.http.stream("GET", f"/gemini/v1/interactions/{job_id}?stream=true") as answer:
            ended.append("[DONE]" not in "".join(answer.iter_lines()))

    thread = threading.Thread(target=read)
    thread.start()
    eventually(lambda: sqlite_server.awaited(guest) == [job_id])
    revoke(sqlite_server, guest)
    thread.join(60)

    assert ended == [True]


@pytest.mark.parametrize("kind", ["wait", "prefer", "hold"])
def test_who_waits_is_told_that_the_key_is_no_more(guest: Tenant, sqlite_server: Server, kind: str) -> None:
    body = {"model": MODEL, "input": "x"}
    job_id = guest.submit()["id"]
    ask: dict[str, Callable[[], httpx2.Response]] = {
        "wait": lambda: guest.get(f"/v1/jobs/{job_id}?wait=60"),
        "prefer": lambda: guest.post("/v1/jobs", body, headers={"Prefer": "wait=60"}),
        "hold": lambda: guest.post("/gemini/v1/interactions", body),
    }
    answers = list[httpx2.Response]()
    thread = threading.Thread(target=lambda: answers.append(ask[kind]()))

    thread.start()
    eventually(lambda: sqlite_server.awaited(guest))
    revoke(sqlite_server, guest)
    thread.join(60)

    assert [answer.status_code for answer in answers] == [401]
    assert answers[0].headers["www-authenticate"] == "Bearer"
