"""After a rich life nothing secret or private is in a log, in Redis, in Flower, in the metrics or on a command line.

In each place that takes something of a user's stands a word that is looked for everywhere afterwards.
"""

import base64
import re
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import pytest
from redis.exceptions import RedisError

from api.examples import CITY_TOOLS, MODEL
from tests.system.stack import Stack
from tests.waiting import eventually
from worker.app import redis_client
from worker.dev import keyring
from worker.keys import issue
from worker.settings import Settings

DONE_S = 120
PLACES = (
    "prompt",
    "instruction",
    "tool_header",
    "variable",
    "metadata",
    "url_query",
    "file_name",
    "file",
    "result",
    "error",
    "idempotency_key",
    "query",
    "bad_path",
    "bad_json",
    "bad_field",
    "bad_header",
    "output",
    "endpoint_url",
    "endpoint_header",
    "endpoint_description",
)
CANARY = {place: f"canary{place.replace('_', '')}{secrets.token_hex(6)}" for place in PLACES}
UNSEEN = {"simulator.log", "receiver.log"}
"""Those two stand for the world outside."""

DATABASE = "database"
READABLE = {
    "metadata",
    "output",
    "result",
    "error",
    "url_query",
    "endpoint_url",
    "endpoint_description",
    "idempotency_key",
}
"""What lies in the database as it is: where webhooks go, and what came of a job."""


class Overheard:
    """Everything that anybody says to Redis, from the beginning to the end of the block."""

    def __init__(self, url: str) -> None:
        settings = Settings(redis_url=url, _env_file=None)
        self.redis: Any = redis_client(settings, timeout_s=DONE_S)
        self.lines: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        with self.redis.monitor() as monitor:
            thread = threading.Thread(target=self._listen, args=(monitor,), daemon=True)
            thread.start()
            yield
            self.redis.client_kill_filter(_type="normal", skipme=False)
            thread.join(DONE_S)

    def _listen(self, monitor: Any) -> None:
        with suppress(RedisError, OSError, ValueError):
            while True:
                self.lines.append(str(monitor.next_command()))


def unpacked(text: str) -> str:
    """The same with what lies in it in base64, as the bodies of messages do."""
    found = [text]
    for packed in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text):
        with suppress(ValueError):
            found.append(base64.b64decode(packed).decode("utf-8", "replace"))
    return "\n".join(found)


def live(client: httpx2.Client, hook: str) -> list[str]:
    """Jobs of every kind, good and bad requests; gives back the ids of those that were taken."""
    file = client.post("/v1/files", files={"file": (f"{CANARY['file_name']}.txt", CANARY["file"], "text/plain")})
    assert file.status_code == 201, file.text
    endpoint = {
        "url": f"{hook}/hook?token={CANARY['endpoint_url']}",
        "headers": {"X-Key": CANARY["endpoint_header"]},
        "description": CANARY["endpoint_description"],
    }
    made = client.post("/v1/webhooks", json=endpoint)
    assert made.status_code == 201, made.text
    client.post(f"/v1/webhooks/{made.json()['id']}/ping")
    private: dict[str, Any] = {
        "model": MODEL,
        "system_instruction": CANARY["instruction"],
        "metadata": {"note": CANARY["metadata"]},
        "webhook_url": f"{hook}/hook?token={CANARY['url_query']}",
        "webhook_events": ["job.created", "job.started", "job.requires_action", "job.completed", "job.failed"],
        "max_attempts": 1,
    }
    document = {"type": "document", "uri": file.json()["uri"], "mime_type": "text/plain"}
    server = {
        "type": "mcp_server",
        "name": "m",
        "url": "https://mcp.example.com",
        "headers": {"X-Key": CANARY["tool_header"]},
    }
    bodies: list[dict[str, Any]] = [
        {"input": [{"type": "text", "text": f"{CANARY['prompt']} [[sim: text={CANARY['output']}]]"}, document]},
        {"input": f"[[sim: status=failed code=internal message={CANARY['error']}]]"},
        {"input": "What is the weather in Bonn?", "tools": CITY_TOOLS},
        {"input": "Search.", "tools": [server]},
    ]
    ids: list[str] = []
    for body in bodies:
        key = {"Idempotency-Key": CANARY["idempotency_key"] + str(len(ids))}
        ids.append(client.post("/v1/jobs", json=private | body, headers=key).json()["id"])
    agent = {
        "agent": "antigravity-preview-09-2026",
        "environment": {"type": "remote", "env": {"A": CANARY["variable"]}},
    }
    rest = {name: value for name, value in private.items() if name not in {"model", "system_instruction"}}
    ids.append(client.post("/v1/jobs", json=rest | agent | {"input": "Go on."}).json()["id"])
    asking = ids[2]
    eventually(lambda: statuses(client, [asking]) == {"requires_action"}, within_s=DONE_S)
    calls = client.get(f"/v1/jobs/{asking}").json()["required_action"]["function_calls"]
    given = [{"type": "function_result", "call_id": call["id"], "result": CANARY["result"]} for call in calls]
    assert client.post(f"/v1/jobs/{asking}/respond", json={"input": given}).status_code == 202
    misuse(client)
    return ids


def statuses(client: httpx2.Client, ids: list[str]) -> set[str]:
    return {client.get(f"/v1/jobs/{name}").json()["status"] for name in ids}


def attempts(client: httpx2.Client, ids: list[str]) -> list[int]:
    """How often each webhook was sent."""
    sent = [client.get(f"/v1/jobs/{name}/deliveries?limit=100").json()["data"] for name in ids]
    return [one["attempt_count"] for of_job in sent for one in of_job]


def is_half_sent(attempts_made: list[int]) -> bool:
    return sum(number > 0 for number in attempts_made) > len(attempts_made) / 2


def misuse(client: httpx2.Client) -> None:
    """Requests that are refused, each with something that must not be repeated where others read it."""
    bad = [
        client.get(f"/v1/jobs?metadata[a]={CANARY['query']}&cursor={CANARY['query']}"),
        client.get(f"/{CANARY['bad_path']}/x"),
        client.post("/v1/jobs", content=f'{{"input": "{CANARY["bad_json"]}"'),
        client.post("/v1/jobs", json={"model": MODEL, "input": 5, CANARY["bad_field"]: CANARY["bad_field"]}),
        client.get("/v1/jobs", headers={"Authorization": f"Bearer nd_{CANARY['bad_header']}"}),
        client.post("/v1/upstream/gemini", content=CANARY["bad_json"], headers={"webhook-id": CANARY["bad_header"]}),
    ]
    assert all(400 <= answer.status_code < 500 for answer in bad), bad


def flower(stack: Stack, user: str, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.flower_port}{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=DONE_S) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """What is to be found nowhere, by where it was put; and all that was said, by where."""
    folder, key = tmp_path_factory.mktemp("canaries"), issue().token
    with Stack(folder, NIGHTDESK_LOG_LEVEL="debug", NIGHTDESK_BOOTSTRAP_API_KEY=key) as stack:
        kept = keyring.kept(folder / ".nightdesk")
        heard = Overheard(keyring.running(folder / ".nightdesk")["NIGHTDESK_REDIS_URL"])
        headers = {"Authorization": f"Bearer {stack.key}"}
        with heard.listening(), httpx2.Client(base_url=stack.api, headers=headers, timeout=DONE_S) as client:
            ids = live(client, stack.receiver)
            eventually(lambda: not statuses(client, ids) - {"completed", "failed"}, DONE_S, "the end of all jobs")
            assert statuses(client, ids) == {"completed", "failed"}
            # What goes to the endpoint is refused there, for it is signed with the endpoint's own secret, and waits.
            eventually(lambda: is_half_sent(attempts(client, ids)), DONE_S, "the webhooks")
            whsec = client.get("/v1/webhook-secret").json()["secret"]
            metrics = client.get("/metrics").text
        user = kept["NIGHTDESK_FLOWER_BASIC_AUTH"]
        # It hears of them by itself, in its own time.
        eventually(lambda: ids[0] in flower(stack, user, "/api/tasks?limit=10000"), what="the jobs in Flower")
        pages = ("/", "/api/workers", "/api/tasks?limit=10000", "/tasks", "/broker", "/metrics")
        said = {f"flower {page}": flower(stack, user, page) for page in pages}
        said |= {"redis": unpacked("\n".join(heard.lines)), "metrics": metrics}
        said |= {log.name: log.read_text() for log in (folder / ".nightdesk/logs").glob("*.log")}
        said[DATABASE] = "".join(
            part.read_bytes().decode("latin-1") for part in folder.glob(".nightdesk/nightdesk.db*")
        )
        said |= {"command lines": str([part.cmdline() for part in stack.living]), "up": stack.told}
        assert any(ids[0] in text for name, text in said.items() if name.startswith("flower"))
        assert ids[0] in said["redis"]
    hidden = {
        "whsec": whsec.removeprefix("whsec_"),
        "encryption key": kept["NIGHTDESK_ENCRYPTION_KEY"],
        "API key": stack.key,
        "flower": user.partition(":")[2],
    }
    return CANARY | hidden, said


def test_nothing_private_is_told_where_others_read(told: tuple[dict[str, str], dict[str, str]]) -> None:
    hidden, said = told
    stored = {(place, DATABASE) for place in READABLE}

    found = {
        (place, where)
        for where, text in said.items()
        for place, word in hidden.items()
        if where not in UNSEEN and word in text and (place, where) not in stored
    }

    assert found == set()
    assert {"api.log", "flower.log"} <= said.keys(), said.keys()
