"""What tests of the Gemini-compatible door ask of it, and what an upstream may have given."""

from typing import Any

import httpx2

from tests.integration.api.serving import Server, Tenant
from worker.models import Job

PATH = "/gemini/v1/interactions"
HELLO = {"model": "gemini-3.8-flash", "input": "Say hello."}
BACKGROUND = HELLO | {"background": True}
STEPS = [
    {"type": "user_input", "content": [{"type": "text", "text": "Say hello."}]},
    {"type": "model_output", "content": [{"type": "text", "text": "Hello."}], "brand_new": 1},
]
RAW = {
    "id": "v1_upstream",
    "object": "interaction",
    "status": "completed",
    "model": "gemini-3.8-flash",
    "steps": STEPS,
    "usage": {"total_tokens": 3},
    "webhook_config": {"uris": ["https://nightdesk.invalid/ours"]},
    "of_the_future": {"a": [1]},
}


def create(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    answer = tenant.post(PATH, BACKGROUND | fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def get(tenant: Tenant, name: str, query: str = "") -> dict[str, Any]:
    answer = tenant.get(f"{PATH}/{name}{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def job_of(server: Server, name: str) -> Job:
    with server.context.database.read() as session:
        return session.get_one(Job, name.partition(".")[0])
