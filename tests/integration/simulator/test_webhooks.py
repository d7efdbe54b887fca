"""The events that the simulator sends when runs end: to whom, signed how, how often."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jwt
import pytest
from standardwebhooks import Webhook

from tests.integration.engine.hooks import Hooks, Say
from tests.integration.simulator.conftest import client_of
from tests.waiting import eventually
from worker.dev.simulator import ControlError, Options, SimulatorServer

MODEL = "gemini-3.8-flash"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
METADATA = {"job": "job_1", "attempt": "1.1"}


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        yield server


def create(interactions: Any, hooks: Hooks, prompt: str = "x [[sim: duration=0.1]]", **fields: Any) -> str:
    webhook = {"uris": [hooks.url()], "user_metadata": METADATA}
    made = interactions.create(model=MODEL, input=prompt, background=True, webhook_config=webhook, **fields)
    return str(made.id)


def keys_of(sim: SimulatorServer) -> Any:
    with urlopen(f"{sim.url}/.well-known/jwks.json") as response:
        return jwt.PyJWKSet.from_dict(json.load(response))


def test_the_end_of_a_run_is_told_to_the_address_of_its_create(
    sim: SimulatorServer, interactions: Any, hooks: Hooks
) -> None:
    name = create(interactions, hooks)

    eventually(lambda: hooks.got, what="the event")
    (got,) = hooks.got

    assert got.json["type"] == "interaction.completed"
    assert got.json["data"] == {"id": name, "user_metadata": METADATA}
    token = got.headers["webhook-signature"]
    key = keys_of(sim)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=hooks.url())
    assert claims["jti"] == got.headers["webhook-id"]
    eventually(lambda: sim.control.events() == {"delivered": 1}, what="the count")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("completed", "interaction.completed"),
        ("failed", "interaction.failed"),
        ("requires_action", "interaction.requires_action"),
        ("incomplete", None),
        ("budget_exceeded", None),
    ],
)
def test_each_end_has_its_event_or_none(
    sim: SimulatorServer, interactions: Any, hooks: Hooks, status: str, told: str | None
) -> None:
    create(interactions, hooks, f"x [[sim: duration=0.05 status={status}]]")
    eventually(lambda: [run["status"] for run in sim.control.interactions()] == [status], what="the end")
    if told:
        eventually(lambda: hooks.got, what="the event")
    last = create(interactions, hooks, "x [[sim: duration=0.05]]")

    eventually(lambda: any(got.json["data"]["id"] == last for got in hooks.got), what="the last event")

    others = [got.json for got in hooks.got if got.json["data"]["id"] != last]
    assert [event["type"] for event in others] == ([told] if told else [])
    assert all("error_code" in event["data"] for event in others if status == "failed")
    eventually(lambda: sim.control.events() == {"delivered": len(hooks.got)}, what="the count")


def test_a_cancelled_run_and_one_ended_by_hand_are_told(sim: SimulatorServer, interactions: Any, hooks: Hooks) -> None:
    stopped = create(interactions, hooks, "x [[sim: duration=1000]]")
    ended = create(interactions, hooks, "x [[sim: duration=1000]]")

    interactions.cancel(stopped)
    sim.control.direct(ended, finish=True)
    sim.control.advance(6)

    eventually(lambda: len(hooks.got) == 2, what="both events")
    assert {got.json["data"]["id"]: got.json["type"] for got in hooks.got} == {
        stopped: "interaction.cancelled",
        ended: "interaction.completed",
    }


def test_a_registered_webhook_hears_of_runs_without_an_address(
    sim: SimulatorServer, interactions: Any, genai_client: Any, hooks: Hooks
) -> None:
    del sim
    events = ["interaction.completed"]
    hook = genai_client.webhooks.create(name="desk", uri=hooks.url("/static"), subscribed_events=events)

    create(interactions, hooks)
    plain = interactions.create(model=MODEL, input="x [[sim: duration=0.1]]", background=True)
    interactions.create(model=MODEL, input="x [[sim: duration=0.1 status=failed]]", background=True)

    eventually(lambda: len(hooks.got) == 2, what="both events")
    (got,) = hooks.of("/static")
    assert Webhook(hook.new_signing_secret).verify(got.body, got.headers)["data"] == {"id": plain.id}


def test_a_rotated_secret_signs_along_for_a_day(
    sim: SimulatorServer, interactions: Any, genai_client: Any, hooks: Hooks
) -> None:
    webhooks = genai_client.webhooks
    hook = webhooks.create(uri=hooks.url(), subscribed_events=["interaction.completed"])
    new = webhooks.rotate_signing_secret(hook.id, revocation_behavior="revoke_previous_secrets_after_h24").secret

    interactions.create(model=MODEL, input="x [[sim: duration=0.1]]", background=True)
    (got,) = eventually(lambda: list(hooks.got), what="the event")

    for secret in (hook.new_signing_secret, new):
        Webhook(secret).verify(got.body, got.headers)
    shown = webhooks.get(hook.id)
    assert [bool(one.expire_time) for one in shown.signing_secrets] == [True, False]
    assert shown.new_signing_secret is None
    sim.control.advance(24 * 3600 + 1)
    assert len(webhooks.get(hook.id).signing_secrets) == 1


def test_a_webhook_can_be_changed_and_deleted(sim: SimulatorServer, genai_client: Any, hooks: Hooks) -> None:
    del sim
    webhooks = genai_client.webhooks
    hook = webhooks.create(uri=hooks.url(), subscribed_events=["interaction.completed"])

    assert webhooks.update(hook.id, state="disabled").state == "disabled"
    assert [one.id for one in webhooks.list().webhooks] == [hook.id]
    webhooks.delete(hook.id)

    assert not webhooks.list().webhooks


def test_a_webhook_may_be_registered_from_the_start(hooks: Hooks) -> None:
    options = Options(webhook_url=hooks.url(), webhook_secret=SECRET)
    with SimulatorServer(options) as sim, client_of(sim.url) as client:
        client.interactions.create(model=MODEL, input="x [[sim: duration=0.1]]", background=True)
        (got,) = eventually(lambda: list(hooks.got), what="the event")

    Webhook(SECRET).verify(got.body, got.headers)


def test_an_event_is_sent_again_until_it_is_heard(sim: SimulatorServer, interactions: Any, hooks: Hooks) -> None:
    hooks.answers["/hook"] = [Say(503), Say(500), Say(204)]

    create(interactions, hooks)

    eventually(lambda: sim.control.events() == {"delivered": 1}, what="the delivery")
    assert len({got.headers["webhook-id"] for got in hooks.got}) == 1
    assert len(hooks.got) == 3


def test_events_can_be_withheld_doubled_and_left_without_metadata(
    sim: SimulatorServer, interactions: Any, hooks: Hooks
) -> None:
    sim.control.events(deliver=False)
    create(interactions, hooks)
    eventually(lambda: sim.control.events() == {"withheld": 1}, what="the count")

    sim.control.events(deliver=True, copies=2, metadata=False)
    name = create(interactions, hooks)
    eventually(lambda: len(hooks.got) == 2, what="both copies")

    assert len({got.headers["webhook-id"] for got in hooks.got}) == 1
    assert hooks.got[0].json["data"] == {"id": name}


def test_a_bad_rule_is_refused(sim: SimulatorServer) -> None:
    with pytest.raises(ControlError, match="colour"):
        sim.control.events(colour="red")


def test_a_run_that_outlives_the_simulator_is_told_after_its_restart(tmp_path: Path, hooks: Hooks) -> None:
    options = Options(state_path=tmp_path / "journal")
    with SimulatorServer(options) as sim, client_of(sim.url) as client:
        name = create(client.interactions, hooks, "x [[sim: duration=1000]]")

    with SimulatorServer(options) as sim:
        sim.control.advance(1000)
        eventually(lambda: hooks.got, what="the event")

    assert hooks.got[0].json["data"]["id"] == name
