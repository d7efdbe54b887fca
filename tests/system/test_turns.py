"""Turns, conversations, plans and managed agents of a whole installation: HTTP, Celery and the SDK."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.stack import Stack
from tests.waiting import eventually
from worker.dev.simulator import Control
from worker.states import TERMINAL

RESEARCHER, ANTIGRAVITY, MODEL = "deep-research-preview-04-2026", "antigravity-preview-09-2026", "gemini-3.8-flash"
LINKS, CROWD = 8, 40
WAITS = 3
QUICK = {f"NIGHTDESK_POLL_{kind}_START_S": "0.1" for kind in ("AGENT", "MODEL")}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
PNG = b"\x89PNG\r\n\x1a\n"


class Client:
    """A program that uses the installation."""

    def __init__(self, stack: Stack) -> None:
        self.http = httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=90)
        self.control = Control(stack.simulator_url)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The job of a call, as soon as it has settled."""
        answer = self.http.post(path, json=body, headers={"Prefer": "wait=60"})
        assert answer.status_code in {200, 202}, answer.text
        return self.settled(answer.json())

    def settled(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is when it has ended or asks; a slow machine may take longer than one wait lasts."""
        for _ in range(WAITS):
            if job["status"] in TERMINAL | {"requires_action"}:
                break
            job = self.get(f"{job['links']['self']}?wait=60")
        return job

    def get(self, path: str) -> dict[str, Any]:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = answer.json()
        return read

    def sent(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the upstream was asked with for the job's last interaction."""
        return self.control.request(job["interaction_id"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    simulator = {"speed": 20.0, "custom_agents": ("my-agent",)}
    with Stack(tmp_path_factory.mktemp("turns"), simulator=simulator, env=QUICK) as stack:
        made = Client(stack)
        with made.http:
            yield made


def test_functions_are_called_and_answered_turn_by_turn(client: Client) -> None:
    own = {"tools": [LOOK], "system_instruction": "Be brief.", "labels": {"lane": "functions"}}
    job = client.post("/v1/jobs", {"model": MODEL, "input": "Look. [[sim: calls=2]]", **own})
    one, two = (call["id"] for call in job["required_action"]["function_calls"])
    picture = [{"type": "text", "text": "See:"}, {"type": "image", "mime_type": "image/png", "data": "iVBORw0KGgo="}]
    first = [
        {"type": "function_result", "call_id": two, "result": "It is away. [[sim: calls=1]]", "is_error": True},
        {"type": "function_result", "call_id": one, "name": "look", "result": picture},
    ]

    again = client.post(job["links"]["respond"], {"input": first})
    (call,) = again["required_action"]["function_calls"]
    last = [{"type": "function_result", "call_id": call["id"], "result": {"sky": "clear"}}]
    done = client.post(again["links"]["respond"], {"input": last})

    assert [one["id"] for one in (job, again, done)] == [job["id"]] * 3
    assert [(one["status"], one["turn"]) for one in (job, again, done)] == [
        ("requires_action", 1),
        ("requires_action", 2),
        ("completed", 3),
    ]
    assert "clear" in done["output_text"]
    asked = [client.sent(one) for one in (job, again, done)]
    assert [sent["input"] for sent in asked[1:]] == [first, last]
    assert [sent["previous_interaction_id"] for sent in asked[1:]] == [job["interaction_id"], again["interaction_id"]]
    assert all({name: sent[name] for name in own} == own for sent in asked)
    turns = client.get(f"/v1/jobs/{job['id']}?include=turns")["turns"]
    assert [turn["status"] for turn in turns] == ["requires_action", "requires_action", "completed"]
    assert sum(turn["usage"]["total_tokens"] for turn in turns) == done["usage"]["total_tokens"]


def test_a_chain_of_agents_and_models_is_released_link_by_link_and_read_as_a_thread(client: Client) -> None:
    first = client.http.post("/v1/jobs", json={"agent": RESEARCHER, "input": "Owls."}).json()
    names = [first["id"]]
    for number in range(1, LINKS):
        body = {"model": MODEL, "input": f"Question {number} [[sim: duration=0.1]]", "previous_job_id": names[-1]}
        names.append(client.http.post("/v1/jobs", json=body).json()["id"])
    research = {"agent": RESEARCHER, "input": "Look further.", "previous_job_id": names[-1]}

    last = client.post("/v1/jobs", research)

    assert (last["status"], last["conversation_id"]) == ("completed", first["id"])
    thread = client.get(f"/v1/conversations/{first['id']}?limit=100")
    shown = thread["data"]
    assert [job["id"] for job in shown] == [*names, last["id"]]
    assert {job["status"] for job in shown} == {"completed"}
    before = [client.sent(job).get("previous_interaction_id") for job in shown]
    assert before == [None, *(job["interaction_id"] for job in shown[:-1])]
    total = sum(job["usage"]["total_tokens"] for job in shown)
    assert (thread["job_count"], thread["usage"]["total_tokens"]) == (LINKS + 1, total)
    assert shown[1]["input_excerpt"].startswith("Question 1")
    assert shown[0]["output_excerpt"].startswith("# Owls")


def test_a_failure_runs_through_a_chain_at_once(client: Client) -> None:
    head = client.http.post("/v1/jobs", json={"model": MODEL, "input": "Wait. [[sim: duration=100000]]"}).json()["id"]
    names = [head]
    for _ in range(CROWD):
        body = {"model": MODEL, "input": "And then?", "previous_job_id": names[-1]}
        names.append(client.http.post("/v1/jobs", json=body).json()["id"])
    run = eventually(lambda: client.get(f"/v1/jobs/{head}")["interaction_id"])

    client.control.direct(run, finish=True, status="failed", code="invalid_request")
    last = client.settled(client.get(f"/v1/jobs/{names[-1]}"))

    assert (last["status"], last["error"]["code"]) == ("failed", "previous_job_failed")


def test_a_plan_is_edited_and_approved_and_its_report_comes_with_pictures(client: Client) -> None:
    config = {"type": "deep-research", "collaborative_planning": True, "visualization": "auto"}
    planned = client.post("/v1/jobs", {"agent": RESEARCHER, "input": "Owls at night.", "agent_config": config})
    assert "plan" in planned["output_text"].lower()

    edited = client.post(planned["links"]["plan"], {"action": "edit", "feedback": "Leave out barn owls."})
    report = client.post(edited["links"]["plan"], {"action": "approve"})
    late = client.http.post(edited["links"]["plan"], json={"action": "approve"})

    assert "Leave out barn owls." in edited["output_text"]
    assert [job["status"] for job in (planned, edited, report)] == ["completed"] * 3
    assert [job["previous_job_id"] for job in (edited, report)] == [planned["id"], edited["id"]]
    assert client.sent(report)["agent_config"] == {**config, "collaborative_planning": False}
    assert (late.status_code, report["id"] in late.json()["detail"]) == (409, True)
    assert report["citations"]
    (artifact,) = report["artifacts"]
    picture = client.http.get(artifact["url"])
    assert (picture.headers["content-type"], picture.content[:8]) == ("image/png", PNG)
    for kind, shown in (("text/markdown", artifact["url"]), ("text/html", "data:image/png;base64,")):
        assert shown in client.http.get(report["links"]["report"], headers={"Accept": kind}).text


def test_what_an_agent_left_unfinished_goes_on_in_its_environment(client: Client) -> None:
    config = {"type": "antigravity", "max_total_tokens": 5}
    work = {"agent": ANTIGRAVITY, "environment": "remote", "input": "Write a program.", "agent_config": config}
    cut = client.post("/v1/jobs", work)

    gone_on = client.post("/v1/jobs", {"agent": ANTIGRAVITY, "input": "continue", "previous_job_id": cut["id"]})
    own = client.post("/v1/jobs", {"agent": "my-agent", "input": "Review it.", "previous_job_id": gone_on["id"]})

    assert [job["status"] for job in (cut, gone_on, own)] == ["incomplete", "completed", "completed"]
    assert cut["output_text"]
    assert [job["environment_id"] for job in (gone_on, own)] == [cut["environment_id"]] * 2
    assert [client.sent(job)["environment"] for job in (gone_on, own)] == [cut["environment_id"]] * 2
    assert client.sent(gone_on)["previous_interaction_id"] == cut["interaction_id"]
