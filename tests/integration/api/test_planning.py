"""Research plans over HTTP: approved once, edited and rejected, each as the next job of the conversation."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api import exchanges
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant

RESEARCH = {
    "model": None,
    "agent": "deep-research-preview-04-2026",
    "agent_config": {"type": "deep-research", "collaborative_planning": True},
    "metadata": {"report": "7"},
}
APPROVE = {"action": "approve"}


def planned(tenant: Tenant, worker: Worker) -> str:
    """The path of a job that has completed with a plan."""
    job_id = tenant.submit(**RESEARCH)["id"]
    worker.complete(job_id)
    return f"/v1/jobs/{job_id}"


def test_an_approved_plan_gives_the_next_job(tenant: Tenant, worker: Worker) -> None:
    path = planned(tenant, worker)
    links = tenant.get(path).json()["links"]

    answer = tenant.post(links["plan"], APPROVE)

    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (links["self"], f"/v1/jobs/{job['previous_job_id']}", job["status"]) == (path, path, "queued")
    assert (job["conversation_id"], job["metadata"]) == (path.rpartition("/")[2], {"report": "7"})
    assert "plan" not in job["links"]
    assert tenant.get(f"/v1/jobs/{job['id']}?include=input").json()["input"] == "Plan looks good!"


@pytest.mark.parametrize("name", exchanges.DECISIONS)
def test_every_documented_decision_is_taken(guest: Tenant, local: Worker, name: str) -> None:
    answer = guest.post(f"{planned(guest, local)}/plan", exchanges.DECISIONS[name][1])

    assert answer.status_code == 202, answer.text


def test_a_second_approval_names_the_research_and_a_replay_gives_it(tenant: Tenant, worker: Worker) -> None:
    path, key = planned(tenant, worker), {"Idempotency-Key": "once"}
    first = tenant.post(f"{path}/plan", APPROVE, headers=key)

    again = tenant.post(f"{path}/plan", APPROVE, headers=key)
    second = tenant.post(f"{path}/plan", APPROVE)
    edit = tenant.post(f"{path}/plan", {"action": "edit", "feedback": "More."}, headers=key)

    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["id"] == first.json()["id"]
    assert (second.status_code, second.json()["code"]) == (409, "conflict")
    assert first.json()["id"] in second.json()["detail"]
    assert (edit.status_code, edit.json()["code"]) == (422, "idempotency_key_reused")
    assert len(tenant.get("/v1/jobs").json()["data"]) == 2


def test_of_many_who_approve_at_once_one_buys_the_research(server: Server, tenant: Tenant, worker: Worker) -> None:
    path = planned(tenant, worker)
    clients = [server.key(tenant.project_id) for _ in range(4)]

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda one: one.post(f"{path}/plan", APPROVE), clients))

    assert sorted(one.status_code for one in told) == [202, 409, 409, 409]
    assert len(tenant.get("/v1/jobs").json()["data"]) == 2


def test_what_is_no_plan_cannot_be_decided_on(server: Server, tenant: Tenant, worker: Worker) -> None:
    waiting, plain = tenant.submit(**RESEARCH)["id"], tenant.submit()["id"]
    worker.complete(plain)

    answers = [tenant.post(f"/v1/jobs/{job_id}/plan", APPROVE) for job_id in (waiting, plain)]

    assert [answer.status_code for answer in answers] == [409, 409]
    assert ["queued" in answers[0].json()["detail"], "completed" in answers[1].json()["detail"]] == [True, True]
    assert tenant.post("/v1/jobs/job_of_nobody/plan", APPROVE).status_code == 404
    assert server.tenant().post(f"/v1/jobs/{plain}/plan", APPROVE).status_code == 404


@pytest.mark.parametrize(
    ("decision", "pointer"), [({}, "/action"), ({"action": "edit"}, "/feedback"), ({**APPROVE, "why": 1}, "/why")]
)
def test_a_bad_decision_is_refused(tenant: Tenant, worker: Worker, decision: dict[str, Any], pointer: str) -> None:
    answer = tenant.post(f"{planned(tenant, worker)}/plan", decision)

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
