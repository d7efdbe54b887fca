"""Submitting jobs: what is taken, what is refused, and that no key ever buys twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import examples, requests
from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from worker.store import jobs

HELLO = {"model": "gemini-3.8-flash", "input": "Say hello."}


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_request"
    return [fault["pointer"] for fault in answer.json()["errors"]]


def test_a_submit_is_committed_when_it_is_answered(server: Server, tenant: Tenant) -> None:
    answer = tenant.post("/v1/jobs", HELLO | {"metadata": {"order": "7"}, "priority": "high"})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["status"], job["model"], job["metadata"], job["priority"]) == (
        "queued",
        "gemini-3.8-flash",
        {"order": "7"},
        "high",
    )
    with server.context.database.read() as session:
        assert jobs.get(session, job["id"], tenant.project_id) is not None


@pytest.mark.parametrize("name", requests.REQUESTS)
def test_every_documented_example_is_taken(guest: Tenant, name: str) -> None:
    body: dict[str, Any] = requests.REQUESTS[name][1]
    own = {"previous_job_id": guest.submit()["id"]} if "previous_job_id" in body else {}

    answer = guest.post("/v1/jobs", body | own)

    assert answer.status_code == 202, answer.text


def test_the_documented_batch_is_taken(guest: Tenant) -> None:
    answer = guest.post("/v1/jobs/batch", examples.BATCH)

    assert answer.status_code == 202, answer.text
    assert [job["priority"] for job in answer.json()["data"]] == ["high", "low"]


def test_a_later_job_is_scheduled(tenant: Tenant) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    job = tenant.submit(run_at=later.isoformat())

    assert job["status"] == "scheduled"
    assert job["deadline_at"] is None


def test_each_fault_has_its_pointer(guest: Tenant) -> None:
    answer = guest.post(
        "/v1/jobs",
        {"model": "gemini-3.8-flash", "inputs": "x", "priority": "urgent", "timeout_seconds": -1, "store": False},
    )

    assert set(pointers(answer)) == {"/inputs", "/input", "/priority", "/timeout_seconds", "/store"}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"metadata": {"a": "nul\x00"}}, "/metadata/a"),
        ({"metadata": {"nul\x00": "a"}}, "/metadata/nul\x00"),
        ({"labels": {"a": "nul\x00"}}, "/labels/a"),
        ({"labels": {"nul\x00": "a"}}, "/labels/nul\x00"),
        ({"metadata": {str(number): "" for number in range(17)}}, "/metadata"),
        ({"webhook_url": "http://169.254.169.254/latest"}, "/webhook_url"),
        ({"previous_job_id": "job_unknown"}, "/previous_job_id"),
        ({"stream": True}, "/stream"),
    ],
)
def test_a_bad_field_is_refused(tenant: Tenant, fields: dict[str, Any], pointer: str) -> None:
    answer = tenant.post("/v1/jobs", HELLO | fields)

    assert pointer in pointers(answer) or pointer.rpartition("/")[0] in pointers(answer)


def test_text_with_nul_and_any_unicode_travels_whole(tenant: Tenant) -> None:
    text = "a\x00b \U0001f319 \u2028"

    job = tenant.submit(input=text)

    assert tenant.get(f"/v1/jobs/{job['id']}?include=input").json()["input"] == text


def test_a_body_too_large_for_the_event_loop_is_taken_too(tenant: Tenant) -> None:
    text = "x" * 300_000

    job = tenant.submit(input=text)

    assert tenant.get(f"/v1/jobs/{job['id']}?include=input").json()["input"] == text


def test_no_more_than_fifty_faults_of_a_job_are_told(guest: Tenant) -> None:
    unknown = {f"metadat{number}": number for number in range(5000)}

    refused = guest.post("/v1/jobs", HELLO | unknown)
    many = guest.post("/v1/jobs/batch", {"jobs": [HELLO | unknown] * 30})

    assert (refused.status_code, len(refused.json()["errors"])) == (422, 50)
    assert (many.status_code, len(many.json()["errors"])) == (422, 1000)


def test_a_body_of_too_many_parts_is_refused_before_it_is_read(guest: Tenant) -> None:
    hollow = b'{"model": "gemini-3.8-flash", "input": [' + b"[]," * 500_001 + b"0]}"

    refused = guest.http.post("/v1/jobs", content=hollow)

    assert pointers(refused) == [""]
    assert "1,000,000 values" in refused.json()["errors"][0]["detail"]


def test_what_is_light_waits_for_no_turn(sqlite_server: Server, guest: Tenant, local: Worker) -> None:
    turns, job_id = sqlite_server.desk.turn.places, guest.submit()["id"]
    local.fail(job_id)
    turns.add(guest.project_id, turns.share)
    try:
        retried = guest.post(f"/v1/jobs/{job_id}/retry")
        batch = guest.post("/v1/jobs/batch", examples.BATCH)
        plan = guest.post(f"/v1/jobs/{job_id}/plan", {"action": "approve"})
        heavy = guest.post("/v1/jobs", HELLO | {"input": "x" * 100_000})
    finally:
        turns.add(guest.project_id, -turns.share)

    assert retried.status_code == 202
    assert (batch.status_code, plan.status_code) == (202, 409)
    assert (heavy.status_code, heavy.json()["code"]) == (429, "rate_limited")


def test_an_endpoints_body_is_small(guest: Tenant) -> None:
    refused = guest.post("/v1/webhooks", {"url": "https://a.example/" + "x" * 70_000})

    assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 5000, b'\xef\xbb\xbf{"a": 1}']
)
def test_what_is_not_json_is_a_bad_request(guest: Tenant, body: bytes) -> None:
    answer = guest.post("/v1/jobs", content=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_json_that_is_no_object_is_invalid(guest: Tenant, body: bytes) -> None:
    assert pointers(guest.post("/v1/jobs", content=body)) == [""]


def test_a_replay_answers_the_same_job(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    first = tenant.post("/v1/jobs", HELLO, headers=key)

    again = tenant.post("/v1/jobs", content=b'{"input": "Say hello.",  "model": "gemini-3.8-flash"}', headers=key)

    assert "idempotent-replayed" not in first.headers
    assert again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len(tenant.get("/v1/jobs").json()["data"]) == 1


def test_a_key_with_another_body_is_refused(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    tenant.post("/v1/jobs", HELLO, headers=key)

    answer = tenant.post("/v1/jobs", HELLO | {"input": "Say goodbye."}, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_another_body_that_is_invalid_by_itself_is_refused_as_a_reused_key(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    tenant.post("/v1/jobs", HELLO, headers=key)

    answer = tenant.post("/v1/jobs", {"model": "gemini-3.8-flash"}, headers=key)

    assert answer.json()["code"] == "idempotency_key_reused"


def test_projects_and_paths_do_not_share_keys(server: Server, tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    other = server.tenant()

    made = [
        tenant.post("/v1/jobs", HELLO, headers=key).json()["id"],
        other.post("/v1/jobs", HELLO, headers=key).json()["id"],
        tenant.post("/v1/jobs/batch", {"jobs": [HELLO]}, headers=key).json()["data"][0]["id"],
    ]

    assert len(set(made)) == 3


def test_requests_that_race_with_one_key_make_one_job(tenant: Tenant) -> None:
    start = threading.Barrier(8)

    def submit(_: int) -> tuple[str, bool]:
        start.wait(30)
        answer = tenant.post("/v1/jobs", HELLO, headers={"Idempotency-Key": "race"})
        return answer.json()["id"], "idempotent-replayed" in answer.headers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))

    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(was_replayed for _, was_replayed in answers) == [False] + [True] * 7


def test_a_replay_after_a_failure_says_where_to_try_again(tenant: Tenant, worker: Worker) -> None:
    key = {"Idempotency-Key": "once"}
    job_id = tenant.post("/v1/jobs", HELLO, headers=key).json()["id"]
    worker.fail(job_id)

    again = tenant.post("/v1/jobs", HELLO, headers=key)

    assert again.json()["status"] == "failed"
    assert again.json()["links"]["retry"] == f"/v1/jobs/{job_id}/retry"


def test_a_replay_of_a_deleted_job_is_gone(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "once"}
    job_id = tenant.post("/v1/jobs", HELLO, headers=key).json()["id"]
    tenant.post(f"/v1/jobs/{job_id}/cancel")
    assert tenant.http.delete(f"/v1/jobs/{job_id}").status_code == 204

    again = tenant.post("/v1/jobs", HELLO, headers=key)

    assert (again.status_code, again.json()["code"]) == (410, "gone")


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_bad_idempotency_key_is_a_bad_request(guest: Tenant, key: str) -> None:
    answer = guest.post("/v1/jobs", HELLO, headers={"Idempotency-Key": key.encode("latin-1")})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_batch_with_one_bad_item_makes_no_job(tenant: Tenant) -> None:
    items = [HELLO, HELLO | {"priority": "urgent"}, HELLO, {"input": "no target"}, "text"]

    answer = tenant.post("/v1/jobs/batch", {"jobs": items, "extra": 1})

    assert set(pointers(answer)) == {"/jobs/1/priority", "/jobs/3/model", "/jobs/4", "/extra"}
    assert tenant.get("/v1/jobs").json()["data"] == []


def test_a_batch_item_refused_by_the_rows_makes_no_job(tenant: Tenant) -> None:
    answer = tenant.post("/v1/jobs/batch", {"jobs": [HELLO, HELLO | {"previous_job_id": "job_unknown"}]})

    assert pointers(answer) == ["/jobs/1/previous_job_id"]
    assert tenant.get("/v1/jobs").json()["data"] == []


def test_a_batch_has_one_key_for_the_whole(tenant: Tenant) -> None:
    items = {"jobs": [HELLO | {"input": str(number)} for number in range(3)]}
    key = {"Idempotency-Key": "batch"}
    first = tenant.post("/v1/jobs/batch", items, headers=key)

    again = tenant.post("/v1/jobs/batch", items, headers=key)

    assert again.headers["idempotent-replayed"] == "true"
    ids = [[job["id"] for job in answer.json()["data"]] for answer in (first, again)]
    assert ids[0] == ids[1]
    assert len(tenant.get("/v1/jobs").json()["data"]) == 3


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [HELLO] * 1001}])
def test_a_batch_has_one_to_a_thousand_jobs(guest: Tenant, body: dict[str, Any]) -> None:
    assert pointers(guest.post("/v1/jobs/batch", body)) == ["/jobs"]


def test_a_thousand_jobs_are_taken_at_once(tenant: Tenant) -> None:
    tenant.http.event_hooks = {}  # a thousand jobs need not be held against their schema
    answer = tenant.post("/v1/jobs/batch", {"jobs": [HELLO] * 1000})

    assert answer.status_code == 202
    assert len({job["id"] for job in answer.json()["data"]}) == 1000


def test_a_full_queue_is_a_quota(own_settings: MakeSettings) -> None:
    with serving(own_settings(max_queued=2)) as server:
        tenant = server.tenant()
        assert tenant.post("/v1/jobs/batch", {"jobs": [HELLO] * 3}).status_code == 429
        key = {"Idempotency-Key": "first"}
        tenant.post("/v1/jobs/batch", {"jobs": [HELLO] * 2}, headers=key)

        answer = tenant.post("/v1/jobs", HELLO)
        replay = tenant.post("/v1/jobs/batch", {"jobs": [HELLO] * 2}, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("2", "0")
    assert replay.status_code == 202
