"""What an owner does with a job: cancel, retry, delete."""

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Tenant
from worker.states import Status


def test_a_waiting_job_is_cancelled_at_once(tenant: Tenant) -> None:
    job_id = tenant.submit()["id"]

    first, second = (tenant.post(f"/v1/jobs/{job_id}/cancel") for _ in range(2))

    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    assert (second.status_code, second.json()["status"]) == (200, "cancelled")


def test_a_running_job_is_being_cancelled(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.start(job_id)

    answer = tenant.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    assert answer.json()["cancel_requested_at"]


def test_a_job_that_ended_otherwise_is_not_cancelled(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)

    answer = tenant.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "completed" in answer.json()["detail"]


def test_a_retry_is_a_new_job_like_the_first(tenant: Tenant, worker: Worker) -> None:
    first = tenant.submit(metadata={"a": "b"}, priority="high", input="Say hello twice.")
    worker.fail(first["id"])

    answer = tenant.post(f"/v1/jobs/{first['id']}/retry")

    again = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{again['id']}"
    assert (again["retry_of"], again["status"]) == (first["id"], "queued")
    assert (again["metadata"], again["priority"]) == ({"a": "b"}, "high")
    assert tenant.get(f"/v1/jobs/{again['id']}?include=input").json()["input"] == "Say hello twice."


def test_a_retry_with_a_key_happens_once_even_when_the_first_job_is_deleted(tenant: Tenant, worker: Worker) -> None:
    first = tenant.submit()["id"]
    worker.fail(first)
    key = {"Idempotency-Key": "again"}
    made = tenant.post(f"/v1/jobs/{first}/retry", headers=key).json()["id"]
    assert tenant.http.delete(f"/v1/jobs/{first}").status_code == 204

    replay = tenant.post(f"/v1/jobs/{first}/retry", headers=key)

    assert (replay.status_code, replay.json()["id"]) == (202, made)
    assert replay.headers["idempotent-replayed"] == "true"


def test_only_what_ended_without_completing_is_retried(tenant: Tenant, worker: Worker) -> None:
    waiting, completed = tenant.submit()["id"], tenant.submit()["id"]
    worker.complete(completed)

    answers = [tenant.post(f"/v1/jobs/{job_id}/retry") for job_id in (waiting, completed)]

    assert [answer.status_code for answer in answers] == [409, 409]
    assert ["queued" in answers[0].json()["detail"], "completed" in answers[1].json()["detail"]] == [True, True]


def test_a_deleted_job_is_gone_with_all_that_belongs_to_it(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.start(job_id)
    worker.finish(job_id, Status.INCOMPLETE)
    tenant.post(f"/v1/jobs/{job_id}/cancel")

    answer = tenant.http.delete(f"/v1/jobs/{job_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    parts = ("", "/events", "/report", "/artifacts/0", "/deliveries")
    assert [tenant.get(f"/v1/jobs/{job_id}{part}").status_code for part in parts] == [404] * 5
    assert tenant.http.delete(f"/v1/jobs/{job_id}").status_code == 404


def test_a_living_job_is_not_deleted(tenant: Tenant) -> None:
    answer = tenant.http.delete(f"/v1/jobs/{tenant.submit()['id']}")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "queued" in answer.json()["detail"]


def test_a_job_that_another_builds_on_is_not_deleted(tenant: Tenant, worker: Worker) -> None:
    first = tenant.submit()["id"]
    worker.complete(first)
    tenant.submit(previous_job_id=first)

    assert tenant.http.delete(f"/v1/jobs/{first}").status_code == 409
