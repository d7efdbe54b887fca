"""Answers to function calls over HTTP: what is taken, what is refused, and that a key answers once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api import exchanges
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant

RESULT = {"type": "function_result", "call_id": "call_1", "result": "It is dry."}
ANSWER = {"input": [RESULT]}


def asking(tenant: Tenant, worker: Worker) -> str:
    """The path of a job that waits for the result of one call."""
    job_id = tenant.submit()["id"]
    worker.require_action(job_id)
    return f"/v1/jobs/{job_id}"


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    return sorted(fault["pointer"] for fault in answer.json()["errors"])


def test_an_answer_is_taken_and_the_same_job_goes_on(tenant: Tenant, worker: Worker) -> None:
    path = asking(tenant, worker)
    asked = tenant.get(path).json()

    answer = tenant.post(asked["links"]["respond"], ANSWER)

    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, path)
    assert (job["id"], job["status"], job["turn"], job["required_action"]) == (asked["id"], "queued", 2, None)
    assert "respond" not in job["links"]
    assert tenant.get(path).json()["status"] == "queued"


@pytest.mark.parametrize("name", exchanges.ANSWERS)
def test_every_documented_answer_is_taken(guest: Tenant, local: Worker, name: str) -> None:
    job_id = guest.submit()["id"]
    local.require_action(job_id, exchanges.CALL_ID)
    if name == "adopted":
        local.disown(job_id)

    answer = guest.post(f"/v1/jobs/{job_id}/respond", exchanges.ANSWERS[name][1])

    assert answer.status_code == 202, answer.text


def test_a_job_that_does_not_ask_is_in_conflict(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)

    answer = tenant.post(f"/v1/jobs/{job_id}/respond", ANSWER)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "completed" in answer.json()["detail"]


def test_each_fault_of_an_answer_has_its_pointer(tenant: Tenant, worker: Worker) -> None:
    path = asking(tenant, worker) + "/respond"
    stray = {**RESULT, "call_id": "call_2"}

    assert pointers(tenant.post(path, {"input": [RESULT, RESULT]})) == ["/input/1/call_id"]
    assert pointers(tenant.post(path, {"input": [stray]})) == ["/input", "/input/0/call_id"]
    assert pointers(tenant.post(path, {})) == ["/input"]
    assert pointers(tenant.post(path, {**ANSWER, "tools": [], "model": "m", "imput": 1})) == [
        "/imput",
        "/model",
        "/tools",
    ]
    assert tenant.get(path.removesuffix("/respond")).json()["status"] == "requires_action"


def test_another_projects_job_is_unknown(server: Server, tenant: Tenant, worker: Worker) -> None:
    path = asking(tenant, worker) + "/respond"

    assert server.tenant().post(path, ANSWER).status_code == 404
    assert server.key(tenant.project_id, "jobs:read").post(path, ANSWER).status_code == 403
    assert tenant.post("/v1/jobs/job_of_nobody/respond", ANSWER).status_code == 404


def test_a_replayed_answer_gives_the_job_and_answers_nothing(tenant: Tenant, worker: Worker) -> None:
    path = asking(tenant, worker)
    key = {"Idempotency-Key": "once"}
    first = tenant.post(f"{path}/respond", ANSWER, headers=key)

    again = tenant.post(f"{path}/respond", ANSWER, headers=key)
    other = tenant.post(f"{path}/respond", {"input": [{**RESULT, "result": "wet"}]}, headers=key)
    bare = tenant.post(f"{path}/respond", ANSWER)

    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotent-replayed"], again.json()["turn"]) == (202, "true", 2)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (bare.status_code, bare.json()["code"]) == (409, "conflict")


def test_of_many_who_answer_at_once_one_is_taken(server: Server, tenant: Tenant, worker: Worker) -> None:
    same, apart = asking(tenant, worker), asking(tenant, worker)
    clients = [server.key(tenant.project_id) for _ in range(4)]

    def send(number: int) -> tuple[Any, Any]:
        http = clients[number]
        return (
            http.post(f"{same}/respond", ANSWER, headers={"Idempotency-Key": "same"}),
            http.post(f"{apart}/respond", ANSWER, headers={"Idempotency-Key": f"key {number}"}),
        )

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(send, range(4)))

    assert [one.status_code for one, _ in told] == [202] * 4
    assert sum("idempotent-replayed" in one.headers for one, _ in told) == 3
    assert sorted(one.status_code for _, one in told) == [202, 409, 409, 409]


def test_whoever_prefers_to_wait_sees_the_job_ask_again(tenant: Tenant, worker: Worker) -> None:
    path = asking(tenant, worker)
    job_id = path.rpartition("/")[2]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(tenant.post, f"{path}/respond", ANSWER, headers={"Prefer": "wait=30"})
        worker.await_turn(job_id, 2)
        worker.require_action(job_id, "call_2")
        answer = waiting.result(30)

    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")
    assert answer.json()["required_action"]["function_calls"][0]["id"] == "call_2"


def test_a_part_that_nobody_knows_is_not_included(guest: Tenant) -> None:
    job_id = guest.submit()["id"]

    assert guest.get(f"/v1/jobs/{job_id}?include=turns").json()["turns"] == []
    assert pointers(guest.get(f"/v1/jobs/{job_id}?include=turns,runs")) == ["/include"]
