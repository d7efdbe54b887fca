"""Reading jobs: one, with its tag and heavy parts, and lists with filters and cursors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker.states import Status
from worker.store import moves


def test_an_unchanged_job_is_not_sent_again(tenant: Tenant) -> None:
    path = f"/v1/jobs/{tenant.submit()['id']}"
    etag = tenant.get(path).headers["etag"]

    answers = [tenant.get(path, headers={"If-None-Match": tags}) for tags in (etag, f'"x", W/{etag}', "*")]

    assert [(answer.status_code, answer.content) for answer in answers] == [(304, b"")] * 3
    assert {answer.headers["etag"] for answer in answers} == {etag}


def test_the_tag_changes_with_everything_that_is_shown(server: Server, tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    path = f"/v1/jobs/{job_id}"
    tags = [tenant.get(path).headers["etag"]]

    worker.start(job_id)
    tags.append(tenant.get(path).headers["etag"])
    with server.context.database.write() as session:
        moves.change(session, job_id, statuses={Status.IN_PROGRESS}, values={"polls": 1})
    tags.append(tenant.get(path).headers["etag"])
    with server.context.database.write() as session:
        moves.change(session, job_id, statuses={Status.IN_PROGRESS}, values={"thought": "Hm."})
    tags.append(tenant.get(path).headers["etag"])
    worker.finish(job_id)
    tags.append(tenant.get(path).headers["etag"])
    worker.age(job_id, 31)
    tags.append(tenant.get(path).headers["etag"])

    assert len(set(tags)) == 6
    assert tenant.get(path, headers={"If-None-Match": tags[0]}).status_code == 200


def test_a_completed_job_shows_its_output(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    citation = {"url": "https://example.com/", "title": "T", "start_index": 0, "end_index": 5}
    worker.complete(job_id, output_text="Hello.", output_json={"a": 1}, citations=[citation])

    job = tenant.get(f"/v1/jobs/{job_id}").json()

    assert (job["status"], job["output_text"], job["output_json"]) == ("completed", "Hello.", {"a": 1})
    assert job["citations"] == [citation]
    assert job["result_expires_at"] > job["finished_at"]
    assert job["links"]["report"] == f"/v1/jobs/{job_id}/report"


def test_the_heavy_parts_come_on_demand(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit(input=[{"type": "text", "text": "Say hello."}])["id"]
    path = f"/v1/jobs/{job_id}"
    assert tenant.get(f"{path}?include=steps").json()["steps"] == []
    worker.start(job_id)
    worker.finish(job_id, raw={"id": "x", "steps": [{"type": "thought"}]})

    plain, whole = tenant.get(path).json(), tenant.get(f"{path}?include=steps,input").json()

    assert not {"steps", "input"} & plain.keys()
    assert whole["steps"] == [{"type": "thought"}]
    assert whole["input"] == [{"type": "text", "text": "Say hello."}]


def test_past_its_retention_the_job_stays_and_its_results_are_gone(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)
    worker.age(job_id, 31)

    job = tenant.get(f"/v1/jobs/{job_id}")
    parts = [tenant.get(f"/v1/jobs/{job_id}{part}") for part in ("?include=steps", "/report", "/artifacts/0")]

    assert (job.status_code, job.json()["output_text"]) == (200, None)
    assert [(answer.status_code, answer.json()["code"]) for answer in parts] == [(410, "gone")] * 3


def test_a_head_request_is_answered_without_a_body(tenant: Tenant) -> None:
    path = f"/v1/jobs/{tenant.submit()['id']}"

    answer = tenant.http.head(path)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == tenant.get(path).headers["etag"]


def test_a_walk_by_cursor_meets_each_job_once_while_others_are_made(tenant: Tenant) -> None:
    made = [tenant.submit(input=str(number))["id"] for number in range(7)]
    met: list[str] = []
    page: dict[str, Any] = {"next_cursor": None, "has_more": True}

    while page["has_more"]:
        params = {"limit": "3"} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
        page = tenant.get("/v1/jobs", params=params).json()
        met += [job["id"] for job in page["data"]]
        tenant.submit(input="later")

    assert sorted(met, reverse=True) == met
    assert set(made) <= set(met)
    assert len(met) == len(set(met))
    assert page["next_cursor"] is None


def test_a_page_that_ends_exactly_has_no_more(tenant: Tenant) -> None:
    for _ in range(2):
        tenant.submit()

    assert tenant.get("/v1/jobs?limit=2").json()["has_more"] is False


def test_a_list_carries_no_output(tenant: Tenant, worker: Worker) -> None:
    job_id = tenant.submit()["id"]
    worker.complete(job_id)

    (job,) = tenant.get("/v1/jobs").json()["data"]

    assert (job["id"], job["status"], job["output_text"]) == (job_id, "completed", None)
    assert job["result_expires_at"] == tenant.get(f"/v1/jobs/{job_id}").json()["result_expires_at"]


FIELDS: dict[str, dict[str, Any]] = {
    "research": {"agent": "deep-research-preview-04-2026", "input": "x", "priority": "low"},
    "model": {"model": "gemini-3.8-flash", "input": "x", "metadata": {"a b": "1'\"", "c": "é"}, "priority": "high"},
    "other": {
        "model": "gemini-4-argon",
        "input": "x",
        "labels": {"team": "a"},
        "metadata": {"c": "x", "a.b[0]'%": "v"},
    },
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"agent": "deep-research-preview-04-2026"}, {"research"}),
        ({"model": "gemini-3.8-flash"}, {"model"}),
        ({"agent": "gemini-3.8-flash"}, set()),
        ({"priority": "high"}, {"model"}),
        ({"status": "queued"}, {"research", "model"}),
        ({"status": ["queued", "cancelled"]}, {"research", "model", "other"}),
        ({"metadata[c]": "é"}, {"model"}),
        ({"metadata[a b]": "1'\"", "metadata[c]": "é"}, {"model"}),
        ({"metadata[a b]": "1'\"", "metadata[c]": "x"}, set()),
        ({"metadata[a.b[0]'%]": "v"}, {"other"}),
        ({"label[team]": "a"}, {"other"}),
        ({"label[team]": "a", "status": "queued"}, set()),
        ({"metadata[unknown]": ""}, set()),
        ({"created_before": "2026-01-01T00:00:00Z"}, set()),
        ({"created_after": "2026-01-01T00:00:00+02:00"}, {"research", "model", "other"}),
        ({"created_after": "1960-01-01T00:00:00Z"}, {"research", "model", "other"}),
        ({"unknown": "parameter"}, {"research", "model", "other"}),
    ],
)
def test_filters_narrow_the_list(tenant: Tenant, query: dict[str, Any], expected: set[str]) -> None:
    made = {tenant.post("/v1/jobs", fields).json()["id"]: name for name, fields in FIELDS.items()}
    other = next(job_id for job_id, name in made.items() if name == "other")
    tenant.post(f"/v1/jobs/{other}/cancel")

    found = tenant.get("/v1/jobs", params=query).json()["data"]

    assert {made[job["id"]] for job in found} == expected


def test_what_walks_over_a_project_s_rows_waits_for_its_turn_and_nothing_else_does(sqlite_server: Server) -> None:
    busy, calm = sqlite_server.tenant(), sqlite_server.tenant()
    job_id, turns = busy.submit()["id"], sqlite_server.desk.walks[busy.project_id].places
    lists = ("/v1/jobs?metadata[a]=b", "/v1/jobs?agent=a", "/v1/jobs?status=failed&status=expired")
    walks = (*lists, "/v1/usage", "/v1/audit", f"/v1/conversations/{job_id}")
    quick = ("/v1/jobs", "/v1/jobs?status=queued", f"/v1/jobs?conversation={job_id}", f"/v1/jobs/{job_id}")
    calm_id = calm.submit()["id"]

    turns.add(busy.project_id, turns.share)
    refused = [busy.get(path).status_code for path in walks]
    answered = [busy.get(path).status_code for path in quick]
    others = [calm.get(path.replace(job_id, calm_id)).status_code for path in walks]
    turns.add(busy.project_id, -turns.share)

    assert refused == [429] * len(walks)
    assert answered == [200] * len(quick)
    assert others == [200] * len(walks)


def test_a_list_can_be_of_one_conversation(tenant: Tenant, worker: Worker) -> None:
    first = tenant.submit()
    worker.complete(first["id"])
    second = tenant.submit(previous_job_id=first["id"])
    tenant.submit()

    found = tenant.get("/v1/jobs", params={"conversation": first["conversation_id"]}).json()["data"]

    assert [job["id"] for job in found] == [second["id"], first["id"]]


def test_a_moment_between_two_jobs_parts_them(tenant: Tenant) -> None:
    job = tenant.submit()
    created = datetime.fromisoformat(job["created_at"])

    after = tenant.get("/v1/jobs", params={"created_after": (created - timedelta(seconds=1)).isoformat()})
    before = tenant.get(
        "/v1/jobs", params={"created_before": (created - timedelta(seconds=1)).astimezone(UTC).isoformat()}
    )

    assert [len(answer.json()["data"]) for answer in (after, before)] == [1, 0]


def test_a_retired_id_finds_the_jobs_submitted_with_it(tenant: Tenant) -> None:
    job = tenant.submit(model="gemini-2.0-flash")

    found = tenant.get("/v1/jobs", params={"model": "gemini-2.0-flash"}).json()["data"]

    assert job["substitutions"]
    assert [one["id"] for one in found] == [job["id"]]


@pytest.mark.parametrize(
    ("name", "moment"),
    [("created_after", "9999-12-31T23:59:59-10:00"), ("created_before", "0001-01-01T00:00:00+10:00")],
)
def test_a_date_outside_the_calendar_is_refused(tenant: Tenant, name: str, moment: str) -> None:
    answer = tenant.get("/v1/jobs", params={name: moment})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("&".join(["status=queued"] * 1000), 200),
        ("&".join(["status=nonsense"] * 1000), 422),
        ("&".join(f"metadata[k{number}]=v" for number in range(16)), 200),
        ("&".join(f"metadata[k{number}]=v" for number in range(17)), 422),
        ("&".join(f"metadata[k{number}]=v" for number in range(1500)), 422),
        ("&".join(f"label[k{number}]=v" for number in range(64)), 200),
        ("&".join(f"label[k{number}]=v" for number in range(1500)), 422),
        ("&".join(f"x{number}" for number in range(5000)), 200),
        ("&" * 30_000, 200),
    ],
)
def test_a_query_of_many_parameters_is_answered(guest: Tenant, query: str, status: int) -> None:
    answer = guest.get(f"/v1/jobs?{query}")

    assert answer.status_code == status
    assert len(answer.json().get("errors", [])) <= 50
