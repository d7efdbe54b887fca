"""Long answers: waiting for a job with and without Redis."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from api.body import BodyLimit
from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.overheard import overheard
from tests.waiting import eventually

HELLO = {"model": "gemini-3.8-flash", "input": "Say hello."}
SOON_S = 40.0
"""Of the sixty seconds that are waited for at most; what takes a moment may take long on a busy machine."""


def bytes_held(server: Server) -> int:
    """Of all bodies and answers."""
    layer: Any = server.app.middleware_stack
    while not isinstance(layer, BodyLimit):
        layer = layer.app
    return layer.held.open


@contextmanager
def meanwhile(server: Server, tenant: Tenant, act: Callable[[str], object]) -> Iterator[None]:
    """Act on the job that somebody waits for, as soon as somebody does."""

    def run() -> None:
        (job_id,) = eventually(lambda: server.awaited(tenant), what="a waiter")
        act(job_id)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(30)


def test_a_wait_ends_when_the_job_does_though_redis_is_away(server: Server, tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    began = monotonic()

    with meanwhile(server, tenant, worker.complete):
        answer = tenant.get(f"/v1/jobs/{job_id}?wait=60")

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert monotonic() - began < SOON_S


def test_a_wait_ends_at_a_required_action(server: Server, tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]

    with meanwhile(server, tenant, worker.require_action):
        job = tenant.get(f"/v1/jobs/{job_id}?wait=60").json()

    assert job["status"] == "requires_action"
    assert job["required_action"]["function_calls"][0]["arguments"] == {"city": "Bonn"}


def test_a_notification_ends_a_wait_before_the_slow_look(own_settings: MakeSettings, redis_url: str) -> None:
    with serving(own_settings(redis_url=redis_url), look_every_s=60) as server:
        tenant, worker = server.tenant(), Worker(server.context)
        job_id, began = tenant.submit()["id"], monotonic()

        def act(job_id: str) -> None:
            worker.complete(job_id)
            # The subscription may still be on its way.
            while server.desk.watch.awaited:
                server.context.sender.publish([job_id])

        with meanwhile(server, tenant, act):
            answer = tenant.get(f"/v1/jobs/{job_id}?wait=60")

    assert answer.json()["status"] == "completed"
    assert monotonic() - began < SOON_S


def test_a_wait_that_is_over_answers_the_job_as_it_is(guest: Tenant) -> None:
    job_id = guest.submit()["id"]

    answer = guest.get(f"/v1/jobs/{job_id}?wait=1")

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


def test_where_too_many_wait_nobody_is_told_that_he_waited(sqlite_server: Server, guest: Tenant) -> None:
    job_id, waits = guest.submit()["id"], sqlite_server.desk.waits
    key = {"Prefer": "wait=60", "Idempotency-Key": "once"}
    waits.add(guest.project_id, waits.share)
    try:
        began = monotonic()
        read = guest.get(f"/v1/jobs/{job_id}?wait=60")
        made, again = (guest.post("/v1/jobs", HELLO, headers=key) for _ in range(2))
        took_s = monotonic() - began
    finally:
        waits.add(guest.project_id, -waits.share)

    assert (read.status_code, read.json()["code"]) == (429, "rate_limited")
    assert int(read.headers["Retry-After"]) > 0
    for answer in (made, again):
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        assert "Preference-Applied" not in answer.headers
    assert guest.get(f"/v1/jobs/{job_id}?wait=0").status_code == 200
    assert took_s < SOON_S


def test_a_wait_for_an_ended_job_is_no_wait(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)
    began = monotonic()

    tenant.get(f"/v1/jobs/{job_id}?wait=60")

    assert monotonic() - began < SOON_S


def test_a_wait_ends_when_the_job_is_deleted(server: Server, tenant: Tenant) -> None:
    job_id = tenant.submit()["id"]
    other = server.key(tenant.project_id)

    def delete(job_id: str) -> None:
        other.post(f"/v1/jobs/{job_id}/cancel")
        other.http.delete(f"/v1/jobs/{job_id}")

    with meanwhile(server, tenant, delete):
        answer = tenant.get(f"/v1/jobs/{job_id}?wait=60")

    assert answer.status_code in {200, 404}


def test_a_submit_that_prefers_to_wait_answers_the_ended_job(server: Server, tenant: Tenant, worker: Worker) -> None:
    with meanwhile(server, tenant, worker.complete):
        answer = tenant.post("/v1/jobs", HELLO, headers={"Prefer": "respond-async, wait=60"})

    assert (answer.status_code, answer.json()["status"], answer.json()["output_text"]) == (200, "completed", "Hello.")
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.headers["location"] == answer.json()["links"]["self"]


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_submit_whose_wait_is_over_is_taken(guest: Tenant, seconds: int) -> None:
    answer = guest.post("/v1/jobs", HELLO, headers={"Prefer": f"wait={seconds}"})

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == f"wait={seconds}"


def test_who_waits_holds_nothing_of_what_was_sent(server: Server, tenant: Tenant, worker: Worker) -> None:
    def complete(job_id: str) -> None:
        eventually(lambda: not bytes_held(server), what="the body to be let go")
        worker.complete(job_id)

    with meanwhile(server, tenant, complete):
        answer = tenant.post("/v1/jobs", HELLO | {"input": "x" * 300_000}, headers={"Prefer": "wait=60"})

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


def test_a_wait_whose_client_went_away_ends_with_its_job(sqlite_server: Server, guest: Tenant, local: Worker) -> None:
    job_id = guest.submit()["id"]
    port = int(sqlite_server.url.rpartition(":")[2])
    request = f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {guest.token}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        eventually(lambda: sqlite_server.awaited(guest))

    local.complete(job_id)

    eventually(lambda: not sqlite_server.awaited(guest))
    assert guest.get(f"/v1/jobs/{job_id}").json()["status"] == "completed"


def test_waiting_clients_cost_one_look_at_a_time_all_together(server: Server, tenant: Tenant, worker: Worker) -> None:
    made = [tenant.submit()["id"] for _ in range(5)]
    answers: list[str] = []

    def wait(job_id: str) -> None:
        with server.client(tenant.token) as client:
            answers.append(client.get(f"/v1/jobs/{job_id}?wait=60").json()["status"])

    threads = [threading.Thread(target=wait, args=(job_id,)) for job_id in made for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(server.awaited(tenant)) == 5 and server.desk.watch.waiters >= 20)
    with overheard(server.context.database.reader) as said:
        eventually(lambda: looks(said, made).count(5) >= 5, what="looks at all of them")

    # Beside them, each may read its job for the first time.
    assert sum(number < 5 for number in looks(said, made)) <= 20
    for job_id in made:
        worker.complete(job_id)
    for thread in threads:
        thread.join(60)
    assert answers == ["completed"] * 20


def looks(said: list[tuple[str, Any]], made: list[str]) -> list[int]:
    """How many of these jobs each statement names that names any."""
    numbers = [sum(job_id in repr(given) for job_id in made) for _, given in list(said)]
    return [number for number in numbers if number]
