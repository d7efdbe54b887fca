"""The control calls: what tests and demos see of the simulator and can do to it."""

import json
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest
from google.genai import _interactions as errors

from tests.integration.simulator.conftest import error_of
from tests.waiting import eventually
from worker.dev.simulator import ControlError, SimulatorServer

MODEL = "gemini-3.8-flash"


def test_interactions_are_listed_with_what_was_asked(sim: SimulatorServer, interactions: Any) -> None:
    webhook = {"uris": ["https://example.org/hook"], "user_metadata": {"attempt": 1}}
    prompt = "x [[sim: duration=1000]]"
    made = interactions.create(
        model=MODEL, input=prompt, background=True, labels={"team": "night"}, webhook_config=webhook
    )

    (entry,) = sim.control.interactions()

    assert (entry["id"], entry["target"], entry["labels"]) == (made.id, MODEL, {"team": "night"})
    assert entry["user_metadata"] == {"attempt": 1}
    assert (entry["status"], entry["deleted"], entry["background"]) == ("in_progress", False, True)


def test_calls_are_counted_by_status_prompt_and_label(sim: SimulatorServer, interactions: Any) -> None:
    for _ in range(2):
        made = interactions.create(model=MODEL, input="x", background=True, labels={"team": "night"})
    interactions.get(made.id)

    stats = sim.control.stats()

    assert stats["calls"] == {"create": {"200": 2}, "get": {"200": 1}}
    assert (stats["created"], stats["labels"]) == (2, {"team=night": 2})
    assert (sim.control.posts("x"), sim.control.created("x"), sim.control.posts("y")) == (2, 2, 0)


def test_a_run_can_be_ended_by_hand(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="x [[sim: status=stuck]]", background=True)

    sim.control.direct(made.id, status="completed", text="By hand", finish=True)

    assert interactions.get(made.id).output_text == "By hand"


def test_a_run_can_be_made_to_go_on_for_ever(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="x", background=True)

    sim.control.direct(made.id, finish=False)
    sim.control.advance(1e6)

    assert interactions.get(made.id).status == "in_progress"


def test_the_body_of_an_interaction_can_be_replaced(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="x", background=True)

    sim.control.direct(made.id, body={"status": "completed", "steps": [{"type": "telepathy", "said": "hm"}]})

    got = interactions.get(made.id)
    assert (got.status, got.steps[0].raw["said"]) == ("completed", "hm")


def test_a_waiting_foreground_create_is_answered_when_the_clock_moves(sim: SimulatorServer, interactions: Any) -> None:
    answers: list[Any] = []
    prompt = "x [[sim: duration=300]]"
    waiting = Thread(target=lambda: answers.append(interactions.create(model=MODEL, input=prompt)))
    waiting.start()
    eventually(lambda: sim.control.created(prompt))
    assert not answers

    sim.control.advance(31)
    waiting.join(60)

    assert answers[0].status == "completed"


def test_a_foreground_create_is_not_held_for_ever(sim: SimulatorServer, interactions: Any) -> None:
    caught: list[errors.APIError] = []

    def create() -> None:
        with pytest.raises(errors.InternalServerError) as failure:
            interactions.create(model=MODEL, input="x [[sim: status=stuck]]")
        caught.append(failure.value)

    waiting = Thread(target=create)
    waiting.start()
    eventually(sim.control.interactions)
    sim.control.advance(61)
    waiting.join(60)

    assert (caught[0].status_code, error_of(caught[0])["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("changes", [{"colour": "red"}])
def test_an_unknown_change_is_refused(sim: SimulatorServer, interactions: Any, changes: dict[str, str]) -> None:
    made = interactions.create(model=MODEL, input="x", background=True)

    with pytest.raises(ControlError, match="colour"):
        sim.control.direct(made.id, **changes)


def test_reset_forgets_everything(sim: SimulatorServer, interactions: Any) -> None:
    interactions.create(model=MODEL, input="x", background=True)
    sim.control.fault("*", status=503)

    sim.control.reset()

    stats = sim.control.stats()
    assert (sim.control.interactions(), stats["created"], stats["calls"]) == ([], 0, {})
    assert interactions.create(model=MODEL, input="x", background=True).status == "in_progress"


def test_the_guide_lists_directives_faults_and_calls(sim: SimulatorServer) -> None:
    with urlopen(f"{sim.url}/_sim") as response:
        guide = json.load(response)

    assert {"duration", "status", "size"} <= set(guide["run"])
    assert {"times", "retry_after"} <= set(guide["fault"])
    assert "lost" in guide["faults"]
    assert "POST /_sim/advance" in guide["control"]
