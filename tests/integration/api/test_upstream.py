"""Upstream events over HTTP: the simulator sends them, as Google would, and only what it signed is followed."""

import socket
from collections.abc import Callable, Iterator
from time import time
from typing import Any

import httpx2
import orjson
import pytest

from api import examples
from api.routes.upstream import MAX_BYTES
from tests.conftest import MakeSettings
from tests.integration.api.serving import Server, serving, start_one
from tests.waiting import eventually
from worker import telemetry
from worker.dev.simulator import SimulatorServer
from worker.dev.simulator.signer import Signer, signature
from worker.settings import UPSTREAM_PATH as PATH
from worker.store import jobs

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = orjson.dumps(examples.UPSTREAM_EVENT)
LONG = {"agent": examples.AGENT, "input": "x [[sim: duration=10000]]"}


@pytest.fixture
def hearing(own_settings: MakeSettings, simulator: SimulatorServer) -> Iterator[Server]:
    """An API process where dynamic events come in."""
    with socket.create_server(("127.0.0.1", 0)) as at:
        settings = own_settings(
            gemini_base_url=simulator.url,
            gemini_webhooks="dynamic",
            gemini_webhook_secrets=SECRET,
            public_url=f"http://127.0.0.1:{at.getsockname()[1]}/",
            # No poll falls due by itself.
            poll_agent_start_s=3600,
            poll_agent_cap_s=3600,
        )
        with serving(settings, at=at) as server:
            yield server


def signed(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    sent_s = int(time())
    signed = signature(secret, "msg_1", sent_s, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(sent_s), "webhook-signature": signed}


def post(server: Server, headers: dict[str, str], body: bytes = BODY) -> httpx2.Response:
    return server.client().post(PATH, content=body, headers=headers)


def due_now(server: Server, job_id: str) -> bool:
    with server.context.database.read() as session:
        job = jobs.get(session, job_id)
    return bool(job and job.due_at and job.due_at <= server.context.clock())


def test_the_end_of_a_run_makes_its_poll_happen_now(hearing: Server, simulator: SimulatorServer) -> None:
    tenant = hearing.tenant()
    job_id = tenant.submit(**LONG, model=None)["id"]
    assert start_one(hearing.context, job_id) == "started"
    name = tenant.get(f"/v1/jobs/{job_id}").json()["interaction_id"]
    assert not due_now(hearing, job_id)

    simulator.control.direct(name, finish=True)

    eventually(lambda: due_now(hearing, job_id), what="the poll to be due")
    eventually(lambda: simulator.control.events() == {"delivered": 1}, what="the answer")


def test_an_event_finds_the_job_whose_create_was_lost(hearing: Server, simulator: SimulatorServer) -> None:
    tenant = hearing.tenant()
    job_id = tenant.submit(**LONG, model=None)["id"]
    simulator.control.events(metadata=False)
    simulator.control.fault("create", kind="lost", count=1)
    assert start_one(hearing.context, job_id) == "waiting"
    (run,) = simulator.control.interactions()

    simulator.control.direct(run["id"], finish=True)

    job = eventually(lambda: _running(tenant.get(f"/v1/jobs/{job_id}").json()), what="the adoption")
    assert job is not None
    assert job["interaction_id"] == run["id"]
    assert simulator.control.stats()["created"] == 1


def _running(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["status"] == "in_progress" else None


def test_a_verified_event_about_a_stranger_is_taken_and_changes_nothing(
    hearing: Server, simulator: SimulatorServer
) -> None:
    answer = post(hearing, signed())

    assert (answer.status_code, answer.content) == (204, b"")
    assert "get" not in simulator.control.stats()["calls"]


FORGED: list[Callable[[], tuple[dict[str, str], bytes]]] = [
    lambda: ({}, BODY),
    lambda: (signed(secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), BODY),
    lambda: (signed(), BODY + b" "),
    lambda: (signed() | {"webhook-timestamp": str(int(time()) - 400)}, BODY),
    lambda: (signed(b"[]"), b"[]"),
]
"""Made when they are sent: what was signed when the tests were collected is stale by then, and refused for that."""


@pytest.mark.parametrize("forge", FORGED)
def test_what_is_not_signed_is_refused(hearing: Server, forge: Callable[[], tuple[dict[str, str], bytes]]) -> None:
    answer = post(hearing, *forge())

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "www-authenticate" not in answer.headers


def test_a_token_of_somebody_elses_key_is_refused_and_their_keys_are_asked_for_once(
    hearing: Server, simulator: SimulatorServer
) -> None:
    for _ in range(3):
        token = Signer().token({"iat": int(time()), "aud": hearing.url + PATH})
        assert post(hearing, signed() | {"webhook-signature": token}).status_code == 400

    assert simulator.control.stats()["calls"]["jwks"] == {"200": 1}


def test_an_event_that_is_too_large_is_not_read(hearing: Server) -> None:
    body = b" " * (MAX_BYTES + 1)

    answer = post(hearing, signed(body), body)

    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_while_keys_cannot_be_had_an_event_is_to_be_sent_again(own_settings: MakeSettings) -> None:
    given = {"gemini_base_url": "http://127.0.0.1:1", "gemini_webhooks": "dynamic", "public_url": "http://127.0.0.1:2"}
    with serving(own_settings(**given)) as server:
        answer = post(server, signed() | {"webhook-signature": Signer().token({"iat": int(time())})})

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]


def test_static_events_need_no_key_of_googles(own_settings: MakeSettings) -> None:
    given = {"gemini_base_url": "http://127.0.0.1:1", "gemini_webhooks": "static", "gemini_webhook_secrets": SECRET}
    with serving(own_settings(**given)) as server:
        assert post(server, signed()).status_code == 204
        assert post(server, signed() | {"webhook-signature": Signer().token({})}).status_code == 400


def test_where_events_are_off_there_is_no_such_path(sqlite_server: Server) -> None:
    answer = post(sqlite_server, signed())

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_events_are_counted_by_their_outcome(hearing: Server) -> None:
    # What other tests of this process counted.
    telemetry.drain()
    post(hearing, signed())
    post(hearing, {})

    text = hearing.operator().get("/metrics").text

    assert 'nightdesk_upstream_events_total{outcome="unknown"}' in text
    assert 'nightdesk_upstream_events_total{outcome="forged"}' in text
