"""Conversations as threads: pages of their jobs, what they used together, how long they can be gone on with."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from api import excerpts
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker.flow.retention import TOLD
from worker.store import usage


def grown(tenant: Tenant, worker: Worker, length: int) -> list[str]:
    """A conversation of completed jobs."""
    names: list[str] = []
    for number in range(length):
        before = {"previous_job_id": names[-1]} if names else {}
        names.append(tenant.submit(input=f"Question {number}", **before)["id"])
        worker.complete(names[-1], output_text=f"Answer {number}")
    return names


def test_a_conversation_is_read_from_its_beginning_page_by_page(tenant: Tenant, worker: Worker) -> None:
    names = grown(tenant, worker, 5)
    tenant.submit()

    pages: list[dict[str, Any]] = [tenant.get(f"/v1/conversations/{names[0]}?limit=2").json()]
    while pages[-1]["has_more"]:
        more = {"limit": 2, "cursor": pages[-1]["next_cursor"]}
        pages.append(tenant.get(f"/v1/conversations/{names[0]}", params=more).json())

    shown = [job for page in pages for job in page["data"]]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert [job["id"] for job in shown] == names
    words = [(job["input_excerpt"], job["output_excerpt"]) for job in shown]
    assert words == [(f"Question {number}", f"Answer {number}") for number in range(5)]
    assert {job["output_text"] for job in shown} == {None}
    first, last = tenant.get(f"/v1/jobs/{names[0]}").json(), tenant.get(f"/v1/jobs/{names[-1]}").json()
    assert {(page["id"], page["object"], page["job_count"]) for page in pages} == {(names[0], "conversation", 5)}
    assert pages[0]["created_at"] == first["created_at"]
    until = datetime.fromisoformat(last["finished_at"]) + timedelta(days=55)
    assert datetime.fromisoformat(pages[0]["upstream_expires_at"]) == until


def test_a_conversation_that_has_only_begun_has_nothing_that_expires(tenant: Tenant) -> None:
    job_id = tenant.submit(input=[{"type": "text", "text": "One"}, {"type": "text", "text": "two"}])["id"]

    read = tenant.get(f"/v1/conversations/{job_id}").json()

    assert (read["job_count"], read["upstream_expires_at"], read["has_more"]) == (1, None, False)
    assert (read["data"][0]["input_excerpt"], read["data"][0]["output_excerpt"]) == ("One\ntwo", None)
    assert set(read["usage"].values()) == {0}


def test_a_conversation_shows_what_its_jobs_used_together(server: Server, tenant: Tenant, worker: Worker) -> None:
    names = grown(tenant, worker, 2)
    tokens = dict.fromkeys(usage.TOKENS, 7)
    whose = {"project_id": tenant.project_id, "key_id": None, "conversation_id": names[0]}
    with server.context.database.write() as session:
        what = {"turn": 1, "kind": "model", "target": "m", "at": server.context.clock()}
        usage.record(session, [{"token": name, "job_id": name, **whose, **what, **tokens} for name in names])

    read = tenant.get(f"/v1/conversations/{names[0]}").json()

    assert set(read["usage"].values()) == {14}


def test_another_projects_conversation_is_unknown(server: Server, tenant: Tenant, worker: Worker) -> None:
    (name,) = grown(tenant, worker, 1)

    assert server.tenant().get(f"/v1/conversations/{name}").status_code == 404
    assert tenant.get("/v1/conversations/job_of_nobody").status_code == 404
    assert tenant.get("/v1/conversations/conv_x").status_code == 404
    assert server.key(tenant.project_id, "jobs:write").get(f"/v1/conversations/{name}").status_code == 403
    assert tenant.get(f"/v1/conversations/{name}?cursor=nonsense").status_code == 400
    assert tenant.get(f"/v1/conversations/{name}?limit=0").status_code == 422


def test_results_past_their_retention_are_not_quoted(tenant: Tenant, worker: Worker) -> None:
    (name,) = grown(tenant, worker, 1)
    worker.age(name, 31)

    read = tenant.get(f"/v1/conversations/{name}").json()

    assert (read["data"][0]["input_excerpt"], read["data"][0]["output_excerpt"]) == ("Question 0", None)


def test_a_job_onto_what_is_gone_soon_bears_a_note(tenant: Tenant, worker: Worker) -> None:
    (name,) = grown(tenant, worker, 1)
    worker.age(name, 50)

    noted = tenant.submit(previous_job_id=name)
    worker.age(name, 5)
    refused = tenant.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": "And?", "previous_job_id": name})

    assert [note.startswith(TOLD) for note in noted["notes"]] == [True]
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/previous_job_id"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
        ("", None),
        (None, None),
        ({"type": "text", "text": "Hi"}, "Hi"),
        ([{"type": "user_input", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]}, 7], "Hi"),
        ([{"type": "user_input", "content": "Hi"}, {"type": "model_output", "content": "Ho"}], "Hi"),
        ([{"type": "text", "text": 7}, {"type": "function_result", "call_id": "c", "result": "x"}], None),
    ],
)
def test_an_excerpt_is_what_the_user_wrote_first(value: object, words: str | None) -> None:
    assert excerpts.of_input(value) == words
