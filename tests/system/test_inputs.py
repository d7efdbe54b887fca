"""Every input, output, tool and agent of the API through HTTP, a Celery worker and the SDK: one batch, looked at whole.

What the upstream received is what was sent, value by value, and its steps are what the job shows.
"""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil
import pytest

from api import requests
from api.examples import AGENT
from tests.stack import Stack
from tests.system.desk import Desk
from tests.waiting import PATIENCE_S, eventually
from worker.dev.simulator.tools import NAMES, PLAYED
from worker.gemini.request import FIELDS
from worker.states import TERMINAL

DONE_S = 180.0
MIB = 1024 * 1024
TOKEN, VARIABLE = f"token-{secrets.token_hex(8)}", f"variable-{secrets.token_hex(8)}"
FLAGS = {"background": True, "store": True}
STRANGE = {
    "model": "gemini-3.8-flash",
    "input": [
        {
            "type": "text",
            "text": 'größe 🦉 \u2028 \\ " </script> \t',
            "x_newer": [None, True, 1, 1.0, 1e-7, "", {}, []],
        },
        {"type": "document", "data": "AAEC_-8", "mime_type": "application/x-newer", "processing": {"type": "static"}},
    ],
    "tools": [{"type": "google_search", "x_newer": {"deep": [[[{"a": None}]]]}}],
    "generation_config": {
        "temperature": 0.1,
        "top_p": 1,
        "seed": 2**31 - 1,
        "image_config": {"aspect_ratio": "1:1"},
    },
    "extra_body": {"cached_content": "cachedContents/1", "response_modalities": ["text"]},
}
SECRETIVE = {
    "agent": requests.ANTIGRAVITY,
    "input": "Use what you were given.",
    "environment": {"type": "remote", "env": {"TOKEN": VARIABLE}},
    "tools": [{"type": "mcp_server", "name": "m", "url": "https://mcp.example.com", "headers": {"X-Key": TOKEN}}],
}
APART = {"later", "next", "continued"}
"""Examples that wait for something else."""
BODIES: dict[str, dict[str, Any]] = {
    **{name: body for name, (_, body) in requests.REQUESTS.items() if name not in APART},
    "strange": STRANGE,
    "secretive": SECRETIVE,
}
ASKING = {"functions", "computer_use"}
PICTURED = {"speech", "image", "music", "film", "research", "research_in_own_files"}
"""Whose outputs are media, which become artifacts."""
BY_TOOL = {tool["type"]: name for name, (_, body) in requests.TOOLS.items() for tool in body["tools"][:1]}
ENVIRONMENT = {
    **{f"NIGHTDESK_POLL_{kind}_{name}": "0.3" for kind in ("AGENT", "MODEL") for name in ("START_S", "CAP_S")},
    "NIGHTDESK_LOG_LEVEL": "info",
}


@dataclass
class Played:
    """What became of each body: what was sent, what the upstream saw and says, and the job."""

    stack: Stack
    desk: Desk
    sent: dict[str, dict[str, Any]]
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def received(self, name: str) -> dict[str, Any]:
        return self.desk.control.request(self.jobs[name]["interaction_id"])

    def upstream(self, name: str) -> dict[str, Any]:
        url = f"{self.stack.simulator_url}/v1/interactions/{self.jobs[name]['interaction_id']}"
        body: dict[str, Any] = httpx2.get(url, headers={"x-goog-api-key": "any"}, timeout=PATIENCE_S).json()
        return body


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    simulator = {"speed": 40, "custom_agents": (requests.OWN_AGENT, requests.OWN_MENDER)}
    with Stack(tmp_path_factory.mktemp("inputs"), env=ENVIRONMENT, simulator=simulator) as made:
        yield made


@pytest.fixture(scope="module")
def played(stack: Stack, client: httpx2.Client) -> Played:
    """All bodies, submitted as one batch and lived through."""
    file = client.post("/v1/files", files={"file": ("contract.pdf", b"%PDF-1.7", "application/pdf")}).json()
    asked = {"agent": AGENT, "input": "Owls.", "timeout_seconds": 600}
    before = client.post("/v1/jobs", json=asked).json()["id"]
    eventually(lambda: client.get(f"/v1/jobs/{before}").json()["status"] in TERMINAL, within_s=DONE_S)
    sent = json.loads(json.dumps(BODIES))
    sent["uploaded"]["input"][1]["uri"] = file["uri"]
    sent["follow_up"]["previous_interaction_id"] = client.get(f"/v1/jobs/{before}").json()["interaction_id"]

    answer = client.post("/v1/jobs/batch", json={"jobs": list(sent.values())})
    assert answer.status_code == 202, answer.text
    names = {job["id"]: name for job, name in zip(answer.json()["data"], sent, strict=True)}
    made = Played(stack, Desk(stack), sent)

    def are_done() -> bool:
        for job_id in [job_id for job_id, name in names.items() if name not in made.jobs]:
            job = client.get(f"/v1/jobs/{job_id}").json()
            if job["status"] not in TERMINAL | {"requires_action"}:
                return False
            made.jobs[names[job_id]] = client.get(f"/v1/jobs/{job_id}?include=steps,input").json()
        return True

    eventually(are_done, within_s=DONE_S, what="the end of all jobs")
    return made


def bare(steps: list[Any]) -> list[Any]:
    """Steps without the bytes of media, which a result names by their size only."""
    found: list[Any] = json.loads(json.dumps(steps))
    for content in [content for step in found for content in step.get("content") or []]:
        told = {"size"} if content.pop("omitted", False) else {"data"}
        for name in told & content.keys():
            del content[name]
    return found


def text(value: Any) -> str:
    """JSON as it stands: `1` is not `1.0`, and the order of names is kept."""
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("name", BODIES)
def test_a_job_ends_as_it_should(played: Played, name: str) -> None:
    job = played.jobs[name]

    assert job["status"] == ("requires_action" if name in ASKING else "completed"), job["error"]
    assert job["input"] == played.received(name)["input"]


@pytest.mark.parametrize("name", [name for name in BODIES if name != "research_in_own_files"])
def test_the_upstream_receives_what_was_sent(played: Played, name: str) -> None:
    sent, received = played.sent[name], played.received(name)

    wanted = {key: value for key, value in sent.items() if key in FIELDS - {"extra_body"}}
    wanted |= sent.get("extra_body", {}) | FLAGS
    assert wanted.keys() == received.keys()
    assert {key: text(value) for key, value in received.items()} == {key: text(value) for key, value in wanted.items()}


def test_an_instruction_for_deep_research_is_put_before_the_input(played: Played) -> None:
    sent, received = played.sent["research_in_own_files"], played.received("research_in_own_files")

    assert received == {
        "agent": sent["agent"],
        "input": f"{sent['system_instruction']}\n\n{sent['input']}",
        "tools": sent["tools"],
        **FLAGS,
    }


@pytest.mark.parametrize("name", [name for name in BODIES if name not in PICTURED])
def test_the_steps_are_kept_word_for_word(played: Played, name: str) -> None:
    kept, made = played.jobs[name]["steps"], played.upstream(name)["steps"]

    assert [text(step) for step in bare(kept)] == [text(step) for step in bare(made)]
    assert played.jobs[name]["steps"]


@pytest.mark.parametrize("kind", PLAYED)
def test_a_tools_call_and_result_are_kept_with_their_signatures(played: Played, kind: str) -> None:
    name = NAMES.get(kind, kind)
    kept = [step for step in played.jobs[BY_TOOL[kind]]["steps"] if step["type"].startswith(f"{name}_")]

    call, result = kept

    assert (call["type"], result["type"]) == (f"{name}_call", f"{name}_result")
    assert call["id"] == result["call_id"]
    assert call["signature"]
    assert kind == "google_search" or call["x_newer"] == result["x_newer"] != {}


@pytest.mark.parametrize("name", sorted(ASKING))
def test_functions_are_asked_of_the_owner(played: Played, name: str) -> None:
    action = played.jobs[name]["required_action"]

    assert action["type"] == "function_calls"
    assert {call["name"] for call in action["function_calls"]} <= {"get_weather", "open_web_browser"}


@pytest.mark.parametrize("name", sorted(PICTURED - {"film"}))
def test_what_is_no_text_is_an_artifact(played: Played, client: httpx2.Client, name: str) -> None:
    (first, *_) = played.jobs[name]["artifacts"]

    got = client.get(first["url"])

    assert (got.status_code, len(got.content)) == (200, first["size"])
    assert got.headers["content-type"] == first["mime_type"]


def test_what_a_run_left_upstream_is_its_projects(played: Played, client: httpx2.Client) -> None:
    left = played.upstream("antigravity")["environment_id"]
    again = {"agent": requests.ANTIGRAVITY, "input": "Go on.", "environment": left}
    keys = [played.desk.command("keys", "create", "--name=plain", f"--project={name}") for name in ("default", "other")]

    answers = [client.post("/v1/jobs", json=again, headers={"Authorization": f"Bearer {key}"}) for key in keys]

    assert [answer.status_code for answer in answers] == [202, 422]


def test_credentials_are_shown_nowhere(played: Played, client: httpx2.Client) -> None:
    job = played.jobs["secretive"]
    shown = [json.dumps(job), client.get(f"/v1/jobs/{job['id']}").text, client.get("/v1/jobs?limit=100").text]
    shown += [client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).text]
    logged = [log.read_text() for log in played.stack.folder.glob("*.log")]

    assert json.loads(text(played.received("secretive")))["tools"][0]["headers"] == {"X-Key": TOKEN}
    assert any(job["id"] in log for log in logged)
    assert not [one for one in shown + logged if TOKEN in one or VARIABLE in one]


def test_a_large_file_leaves_the_memory_as_it_is(stack: Stack, client: httpx2.Client) -> None:
    boundary, megabyte = "x" * 20, os.urandom(MIB)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    process, most = psutil.Process(stack.processes["api"].pid), 0

    def upload(megabytes: int) -> httpx2.Response:
        def body() -> Iterator[bytes]:
            nonlocal most
            yield f"{head}Content-Type: application/x-large\r\n\r\n".encode()
            for _ in range(megabytes):
                yield megabyte
                most = max(most, process.memory_info().rss)
            yield f"\r\n--{boundary}--\r\n".encode()

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return client.post("/v1/files", content=body(), headers=headers)

    upload(20)
    before, most = most, 0
    answer = upload(200)

    assert answer.json()["size"] == 200 * MIB
    assert most - before < 64 * MIB
