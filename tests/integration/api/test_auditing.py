"""The audit log: what changes something is written down with whoever did it, and admins of the project may read it."""

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import delivery
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker.flow import forget
from worker.models import Job
from worker.store import audit, moments

PLAN = {"action": "approve"}


def log(tenant: Tenant, **query: Any) -> list[dict[str, Any]]:
    answer = tenant.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def told(tenant: Tenant, **query: Any) -> list[tuple[str, str | None]]:
    return [(entry["action"], entry["subject"]) for entry in log(tenant, **query)]


def test_a_submission_is_noted_with_key_address_and_request(tenant: Tenant) -> None:
    answer = tenant.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": "a secret"}, headers={"X-Request-Id": "r1"})

    (entry,) = log(tenant)

    assert entry | {"id": "", "at": ""} == {
        "id": "",
        "object": "audit_entry",
        "at": "",
        "action": "job.submit",
        "actor": tenant.key_id,
        "address": "127.0.0.1",
        "request_id": "r1",
        "subject": answer.json()["id"],
        "number": 1,
    }
    assert entry["at"] >= answer.json()["created_at"]


def test_a_batch_is_one_entry_that_counts_its_jobs(tenant: Tenant) -> None:
    jobs = [{"model": "gemini-3.8-flash", "input": "x"}] * 3
    made = tenant.post("/v1/jobs/batch", {"jobs": jobs}).json()["data"]

    (entry,) = log(tenant)

    assert (entry["subject"], entry["number"]) == (made[0]["id"], 3)


def test_what_changes_nothing_is_not_noted(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"model": "gemini-3.8-flash", "input": "x"}
    job_id = tenant.post("/v1/jobs", body, headers=key).json()["id"]
    assert tenant.post("/v1/jobs", body, headers=key).headers["Idempotent-Replayed"] == "true"
    assert tenant.post("/v1/jobs", {"model": "gemini-3.8-flash"}).status_code == 422
    assert tenant.http.delete(f"/v1/jobs/{job_id}").status_code == 409
    assert tenant.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert tenant.post(f"/v1/jobs/{job_id}/cancel").status_code == 200

    assert told(tenant) == [("job.cancel", job_id), ("job.submit", job_id)]


def test_every_deed_over_http_is_noted(server: Server, tenant: Tenant, worker: Worker) -> None:
    failed, asking = tenant.submit()["id"], tenant.submit()["id"]
    worker.fail(failed)
    worker.require_action(asking)
    with server.context.database.write() as session:
        sent = delivery(session, session.get_one(Job, failed)).id

    retried = tenant.post(f"/v1/jobs/{failed}/retry").json()["id"]
    results = [{"type": "function_result", "call_id": "call_1", "name": "get_weather", "result": {"sky": "clear"}}]
    assert tenant.post(f"/v1/jobs/{asking}/respond", {"input": results}).status_code == 202
    assert tenant.post(f"/v1/deliveries/{sent}/redeliver").status_code == 202
    assert tenant.post("/v1/webhook-secret/rotate").status_code == 200
    assert tenant.get("/v1/webhook-secret").status_code == 200
    door = {"model": "gemini-3.8-flash", "input": "x", "background": True}
    made = tenant.post("/gemini/v1/interactions", door).json()["id"]
    assert tenant.http.delete(f"/v1/jobs/{failed}").status_code == 204

    assert told(tenant) == [
        ("job.delete", failed),
        ("job.submit", made),
        ("secret.read", None),
        ("secret.rotate", None),
        ("delivery.redeliver", sent),
        ("job.respond", asking),
        ("job.retry", retried),
        ("job.submit", asking),
        ("job.submit", failed),
    ]


def test_what_is_done_to_endpoints_is_noted(tenant: Tenant) -> None:
    fields = {"url": "https://hooks.example.com/x?token=a-secret"}
    name = tenant.post("/v1/webhooks", fields).json()["id"]
    assert tenant.http.patch(f"/v1/webhooks/{name}", json={"enabled": False}).status_code == 200
    assert tenant.post(f"/v1/webhooks/{name}/rotate-secret").status_code == 200
    assert tenant.post(f"/v1/webhooks/{name}/ping").status_code == 202
    assert tenant.post(f"/v1/webhooks/{name}/replay", {"since": "2026-01-01T00:00:00Z"}).status_code == 202
    assert tenant.http.delete(f"/v1/webhooks/{name}").status_code == 204
    assert tenant.http.delete(f"/v1/webhooks/{name}").status_code == 404

    deeds = ("delete", "replay", "ping", "rotate", "change", "create")
    assert told(tenant) == [(f"endpoint.{deed}", name) for deed in deeds]
    assert "a-secret" not in tenant.get("/v1/audit").text


def test_a_plan_s_approval_is_noted_as_one(tenant: Tenant, worker: Worker) -> None:
    planning = {"type": "deep-research", "collaborative_planning": True}
    research = {"agent": "deep-research-preview-04-2026", "input": "Owls.", "agent_config": planning}
    job_id = tenant.post("/v1/jobs", research).json()["id"]
    worker.complete(job_id)

    following = tenant.post(f"/v1/jobs/{job_id}/plan", PLAN).json()["id"]

    assert told(tenant, action="job.plan") == [("job.plan", following)]


def test_it_is_paged_and_filtered(server: Server, tenant: Tenant) -> None:
    names = [tenant.submit()["id"] for _ in range(3)]
    second = server.key(tenant.project_id)
    assert second.post(f"/v1/jobs/{names[0]}/cancel").status_code == 202

    first = tenant.get("/v1/audit", params={"limit": 3}).json()
    rest = tenant.get("/v1/audit", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [entry["subject"] for entry in first["data"]] == [names[0], names[2], names[1]]
    assert [entry["subject"] for entry in rest["data"]] == [names[0]]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert told(tenant, actor=second.key_id) == [("job.cancel", names[0])]
    assert told(tenant, action="job.cancel") == [("job.cancel", names[0])]
    assert told(tenant, subject=names[0]) == [("job.cancel", names[0]), ("job.submit", names[0])]
    assert len(told(tenant, since=first["data"][1]["at"])) >= 2
    assert told(tenant, since="2100-01-01T00:00:00Z") == []


def test_another_project_s_log_and_one_without_the_scope_are_not_shown(server: Server, tenant: Tenant) -> None:
    tenant.submit()
    stranger, plain = server.tenant(), server.key(tenant.project_id, "jobs:read", "jobs:write", "webhooks:write")
    theirs = tenant.submit()
    cursor = tenant.get("/v1/audit", params={"limit": 1}).json()["next_cursor"]

    assert theirs
    assert told(stranger) == []
    assert told(stranger, cursor=cursor) == []
    assert plain.get("/v1/audit").status_code == 403


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"limit": 0}, {"action": "a\x00"}])
def test_bad_filters_are_refused(guest: Tenant, query: dict[str, Any]) -> None:
    assert guest.get("/v1/audit", params=query).status_code == 422


def test_entries_past_their_retention_are_forgotten(server: Server, tenant: Tenant) -> None:
    context = server.context
    tenant.submit()
    by, now = audit.Actor(tenant.key_id), context.clock()
    old = now - timedelta(days=context.settings.audit_retention_days, minutes=1)
    with context.database.write() as session:
        audit.note(session, by, "job.cancel", project_id=tenant.project_id, subject="old", now=old)
        moments.note(session, moments.PRUNE, now - timedelta(hours=1))
    assert len(told(tenant)) == 2

    forget.prune(context)

    assert [action for action, _ in told(tenant)] == ["job.submit"]
