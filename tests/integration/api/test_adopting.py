"""Adopting interactions over HTTP: who may, what is answered, and that a key adopts once."""

from collections.abc import Iterator
from typing import Any

import pytest

from api import examples
from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from worker.dev.simulator import SimulatorServer
from worker.gemini.request import build
from worker.states import Status

PATH = "/v1/jobs/adopt"


@pytest.fixture
def adopter(own_settings: MakeSettings, simulator: SimulatorServer) -> Iterator[Server]:
    with serving(own_settings(gemini_base_url=simulator.url)) as server:
        yield server


def elsewhere(server: Server) -> str:
    created = server.context.gemini.create(build({"agent": examples.AGENT, "input": "x [[sim: status=stuck]]"})).result(
        30
    )
    return created.upstream_id


def detail(answer: Any) -> tuple[int, str, str]:
    fault = answer.json()["errors"][0]
    return answer.status_code, fault["pointer"], fault["detail"]


def test_an_adopted_interaction_is_a_job_in_progress(adopter: Server) -> None:
    tenant, name = adopter.tenant(), elsewhere(adopter)

    answer = tenant.post(PATH, {"interaction_id": name, "metadata": {"report": "7"}, "timeout_seconds": 600})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["agent"], job["interaction_id"]) == ("in_progress", examples.AGENT, name)
    assert (job["metadata"], job["attempt"], job["turn"]) == ({"report": "7"}, 1, 1)
    assert tenant.get(f"/v1/jobs/{job['id']}").json() == job
    assert tenant.get(f"/v1/jobs/{job['id']}?include=input").json()["input"] is None
    events = tenant.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["data"]
    assert [event["type"] for event in events] == ["job.created", "job.started"]


def test_the_documented_adoption_is_taken_once_its_interaction_exists(adopter: Server) -> None:
    body = examples.ADOPTION | {"interaction_id": elsewhere(adopter)}

    assert adopter.tenant().post(PATH, body).status_code == 202


def test_one_key_adopts_once_and_says_so(adopter: Server) -> None:
    tenant, body = adopter.tenant(), {"interaction_id": elsewhere(adopter)}
    key = {"Idempotency-Key": "adopt-7"}

    first, second = (tenant.post(PATH, body, headers=key) for _ in range(2))
    other = tenant.post(PATH, body | {"priority": "low"}, headers=key)

    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_whoever_prefers_to_wait_gets_the_job_in_time(adopter: Server) -> None:
    answer = adopter.tenant().post(PATH, {"interaction_id": elsewhere(adopter)}, headers={"Prefer": "wait=0"})

    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


def test_only_an_admin_adopts_what_nightdesk_does_not_know(adopter: Server) -> None:
    admin, name = adopter.tenant(), elsewhere(adopter)
    plain, other = adopter.key(admin.project_id, "jobs:read", "jobs:write"), adopter.tenant("jobs:write")
    unknown = detail(plain.post(PATH, {"interaction_id": name}))

    job_id = admin.post(PATH, {"interaction_id": name}).json()["id"]

    assert unknown[:2] == (422, "/interaction_id")
    assert detail(other.post(PATH, {"interaction_id": name})) == unknown
    assert detail(plain.post(PATH, {"interaction_id": name})) == (
        422,
        "/interaction_id",
        f"belongs to {job_id} already",
    )
    assert adopter.key(admin.project_id, "jobs:read").post(PATH, {"interaction_id": name}).status_code == 403


def test_an_upstream_that_does_not_answer_is_unavailable(own_settings: MakeSettings) -> None:
    with serving(own_settings(gemini_base_url="http://127.0.0.1:1")) as server:
        tenant: Tenant = server.tenant()

        answer = tenant.post(PATH, {"interaction_id": "v1_x"}, headers={"Idempotency-Key": "k"})

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert tenant.get("/v1/jobs").json()["data"] == []


def test_a_failed_adoption_offers_no_retry(adopter: Server, simulator: SimulatorServer) -> None:
    tenant, name = adopter.tenant(), elsewhere(adopter)
    job_id = tenant.post(PATH, {"interaction_id": name}).json()["id"]
    Worker(adopter.context).finish(job_id, Status.FAILED)

    assert "retry" not in tenant.get(f"/v1/jobs/{job_id}").json()["links"]
    answer = tenant.post(f"/v1/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert simulator.control.stats()["created"] == 1
