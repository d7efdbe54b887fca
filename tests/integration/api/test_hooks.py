"""Webhook deliveries and the secret that signs them, as the owner sees them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker.flow import rotation
from worker.models import Delivery
from worker.store import deliveries, projects

HOOK = "https://hooks.example.com/x"


@pytest.fixture
def delivery(server: Server, tenant: Tenant, worker: Worker) -> dict[str, Any]:
    """The delivery of a completed job, which failed once."""
    job_id = tenant.submit(webhook_url=HOOK)["id"]
    worker.complete(job_id)
    now = datetime.now(UTC)
    with server.context.database.write() as session:
        (found,) = deliveries.of_job(session, job_id, before=None, limit=10)
        found.attempts, found.due_at = 1, now + timedelta(hours=1)
        attempt = deliveries.Attempt(found.id, 1, now, "http", 503, 120, "later \u00e9", None)
        deliveries.log(session, [attempt])
    shown: dict[str, Any] = tenant.get(f"/v1/jobs/{job_id}/deliveries").json()["data"][0]
    return shown


def row(server: Server, delivery_id: str) -> Delivery:
    with server.context.database.read() as session:
        return session.get_one(Delivery, delivery_id)


def test_a_delivery_is_listed_with_its_job(delivery: dict[str, Any]) -> None:
    assert (delivery["event_type"], delivery["url"], delivery["status"]) == ("job.completed", HOOK, "pending")
    assert delivery["attempt_count"] == 1
    assert delivery["next_attempt_at"] > delivery["created_at"]


def test_a_delivery_is_read_with_all_its_attempts(tenant: Tenant, delivery: dict[str, Any]) -> None:
    (attempt,) = tenant.get(f"/v1/deliveries/{delivery['id']}").json()["attempts"]

    assert (attempt["number"], attempt["status"], attempt["outcome"]) == (1, 503, "http")
    assert (attempt["latency_seconds"], attempt["response"]) == (0.12, "later \u00e9")


def test_a_delivery_is_sent_again_at_once(server: Server, tenant: Tenant, delivery: dict[str, Any]) -> None:
    answer = tenant.post(f"/v1/deliveries/{delivery['id']}/redeliver")

    due_at = row(server, delivery["id"]).due_at
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert due_at is not None
    assert due_at <= datetime.now(UTC)


def test_a_cancelled_delivery_is_not_sent_again(server: Server, tenant: Tenant, delivery: dict[str, Any]) -> None:
    with server.context.database.write() as session:
        session.get_one(Delivery, delivery["id"]).status = deliveries.CANCELLED

    answer = tenant.post(f"/v1/deliveries/{delivery['id']}/redeliver")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_what_is_left_of_a_deleted_jobs_delivery_can_be_read(tenant: Tenant, delivery: dict[str, Any]) -> None:
    assert tenant.http.delete(f"/v1/jobs/{delivery['job_id']}").status_code == 204

    left = tenant.get(f"/v1/deliveries/{delivery['id']}").json()

    assert (left["status"], left["url"], left["event_type"], left["attempts"]) == ("cancelled", "", "job.completed", [])
    assert tenant.post(f"/v1/deliveries/{delivery['id']}/redeliver").status_code == 409


def test_another_projects_delivery_is_not_found(server: Server, delivery: dict[str, Any]) -> None:
    other = server.tenant()

    read = other.get(f"/v1/deliveries/{delivery['id']}")
    sent = other.post(f"/v1/deliveries/{delivery['id']}/redeliver")

    assert [read.status_code, sent.status_code] == [404, 404]
    assert row(server, delivery["id"]).attempts == 1


def test_deliveries_are_paged_by_cursor(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit(webhook_url=HOOK, webhook_events=["job.created", "job.started", "job.completed"])["id"]
    worker.complete(job_id)
    path = f"/v1/jobs/{job_id}/deliveries?limit=2"

    first = tenant.get(path).json()
    second = tenant.get(f"{path}&cursor={first['next_cursor']}").json()

    types = [one["event_type"] for one in first["data"] + second["data"]]
    assert sorted(types) == ["job.completed", "job.created", "job.started"]
    assert [first["has_more"], second["has_more"]] == [True, False]


def test_the_secret_is_shown_and_replaced(server: Server, tenant: Tenant) -> None:
    old = tenant.get("/v1/webhook-secret").json()["secret"]

    new = tenant.post("/v1/webhook-secret/rotate").json()["secret"]

    assert new.startswith("whsec_")
    assert new != old
    assert tenant.get("/v1/webhook-secret").json()["secret"] == new
    with server.context.database.read() as session:
        project = projects.get(session, tenant.project_id)
        assert project is not None
        sealed, until = project.old_webhook_secret, project.old_webhook_secret_until
        live = rotation.live(server.context.vault, project.webhook_secret, sealed, until, datetime.now(UTC))
    assert live == [new, old]
