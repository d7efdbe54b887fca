"""An endpoint in a whole installation: real processes, and events that the public libraries verify."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

from tests.integration.engine.hooks import Hooks, Say
from tests.stack import Stack
from tests.waiting import PATIENCE_S, eventually


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = {"NIGHTDESK_WEBHOOK_RETRY_S": "0,0.5,0.5,0.5", "NIGHTDESK_LOG_LEVEL": "info"}
    env |= {"NIGHTDESK_POLL_MODEL_START_S": "0.2", "NIGHTDESK_POLL_MODEL_CAP_S": "0.5"}
    with Stack(tmp_path_factory.mktemp("endpoints"), simulator={"model_s": 0.2}, env=env) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=PATIENCE_S, trust_env=False) as made:
        yield made


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        yield server


def done(answer: httpx2.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json()


def submit(client: httpx2.Client) -> str:
    return str(done(client.post("/v1/jobs", json={"model": "gemini-3.8-flash", "input": "Say hello."}))["id"])


def test_an_endpoint_hears_the_life_of_a_job_and_anybody_can_verify_it(
    stack: Stack, client: httpx2.Client, hooks: Hooks
) -> None:
    asked = {"url": hooks.url("/in?token=canary"), "headers": {"X-Key": "canary"}}
    made = done(client.post("/v1/webhooks", json=asked))
    path = f"/v1/webhooks/{made['id']}"

    job_id = submit(client)
    ping = done(client.post(f"{path}/ping"))
    # Whatever was answered too late is sent again, under the same id.
    eventually(lambda: len({got.headers["webhook-id"] for got in hooks.of("/in")}) == 4, what="four events")

    events = {}
    for got in hooks.of("/in"):
        events[got.headers["webhook-id"]] = Webhook(made["secret"]).verify(got.body, got.headers)
        Svix(made["secret"]).verify(got.body, got.headers)  # raises where it does not hold
        assert got.headers["x-key"] == "canary"
    kinds = sorted(event["type"] for event in events.values())
    assert kinds == ["job.completed", "job.created", "job.started", "webhook.ping"]
    assert {event["data"]["id"] for event in events.values()} == {job_id, made["id"]}

    def attempts() -> Any:
        return done(client.get(f"/v1/deliveries/{ping['id']}"))["attempts"]

    assert eventually(attempts)[-1]["status"] == 204
    eventually(lambda: len(done(client.get(f"{path}/deliveries?status=delivered"))["data"]) == 4)

    def said() -> str:
        return "".join(log.read_text() for log in stack.folder.glob("*.log"))

    eventually(lambda: made["id"] in said(), what="a line about the endpoint")
    assert "canary" not in said()
    client.delete(path)


def test_what_a_broken_endpoint_missed_arrives_when_it_is_enabled_again(client: httpx2.Client, hooks: Hooks) -> None:
    asked = {"url": hooks.url("/broken"), "events": ["job.completed", "job.created"]}
    path = f"/v1/webhooks/{done(client.post('/v1/webhooks', json=asked))['id']}"
    hooks.answers["/broken"] = [Say(410)]

    job_ids = {submit(client) for _ in range(3)}

    def held() -> bool:
        return len(done(client.get(f"{path}/deliveries?status=held"))["data"]) == 6

    eventually(held)
    assert done(client.get(path))["disabled_reason"] == "gone"
    hooks.answers["/broken"] = [Say(204)]
    before = len(hooks.of("/broken"))
    done(client.patch(path, json={"enabled": True}))
    eventually(lambda: len(done(client.get(f"{path}/deliveries?status=delivered"))["data"]) == 6)

    arrived = hooks.of("/broken")[before:]
    assert len({got.headers["webhook-id"] for got in arrived}) == 6
    assert {got.json["data"]["id"] for got in arrived} == job_ids
    client.delete(path)
