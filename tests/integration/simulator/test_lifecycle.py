"""Create, get, cancel and delete, as the SDK sees them."""

from typing import Any

import pytest
from google.genai import _interactions as errors

from tests.integration.simulator.conftest import Post, client_of, error_of
from worker.dev.simulator import Options, SimulatorServer

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"


def test_a_background_create_answers_at_once_without_steps(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello", background=True)

    assert made.id.startswith("v1_")
    assert (made.status, made.model, made.steps, made.service_tier) == ("in_progress", MODEL, None, "standard")
    assert made.created == made.updated


def test_a_background_run_completes_by_the_clock_alone(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello there", background=True)
    sim.control.advance(1)

    got = interactions.get(made.id)

    assert got.status == "completed"
    assert "Hello there" in got.output_text
    assert got.steps[0].type == "user_input"
    assert got.usage.total_tokens == (
        got.usage.total_input_tokens
        + got.usage.total_output_tokens
        + got.usage.total_thought_tokens
        + got.usage.total_tool_use_tokens
    )


def test_a_foreground_create_answers_when_the_run_is_over_and_without_the_input(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello")

    assert made.status == "completed"
    assert [step.type for step in made.steps] == ["thought", "model_output"]


def test_include_input_gives_the_input_back(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello", background=True)

    assert interactions.get(made.id, include_input=True).input == "Hello"
    assert interactions.get(made.id).input is None


def test_webhook_config_and_labels_are_echoed(interactions: Any) -> None:
    webhook = {"uris": ["https://example.org/hook"], "user_metadata": {"job": "job_1"}}

    made = interactions.create(
        model=MODEL, input="Hello", background=True, webhook_config=webhook, labels={"team": "night"}
    )

    assert made.webhook_config.user_metadata == {"job": "job_1"}
    assert interactions.get(made.id).labels == {"team": "night"}


def test_an_unknown_id_is_not_found(interactions: Any) -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        interactions.get("v1_nothing")

    assert error_of(caught.value)["code"] == "not_found"


def test_a_cancelled_run_is_seen_as_cancelled_a_little_later(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input="Look into tea [[sim: duration=1000]]", background=True)

    answer = interactions.cancel(made.id)

    assert answer.status == "cancelled"
    assert interactions.get(made.id).status == "in_progress"
    sim.control.advance(6)
    assert interactions.get(made.id).status == "cancelled"


def test_cancelling_what_has_ended_is_refused(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello", background=True)
    sim.control.advance(1)

    with pytest.raises(errors.BadRequestError) as caught:
        interactions.cancel(made.id)

    assert error_of(caught.value)["code"] == "failed_precondition"
    assert interactions.get(made.id).status == "completed"


def test_a_run_that_ends_before_its_cancel_takes_effect_stays_completed(
    sim: SimulatorServer, interactions: Any
) -> None:
    made = interactions.create(
        model=MODEL, input="Hello [[sim: duration=1000]] [[sim: cancel=slow delay=9000]]", background=True
    )

    interactions.cancel(made.id)
    sim.control.advance(2000)

    assert interactions.get(made.id).status == "completed"


def test_delete_hides_the_interaction_and_does_not_stop_the_run(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input="Look into tea [[sim: duration=1000]]", background=True)

    interactions.delete(made.id)

    with pytest.raises(errors.NotFoundError):
        interactions.get(made.id)
    (seen,) = sim.control.interactions()
    assert (seen["deleted"], seen["status"]) == (True, "in_progress")


def test_a_create_that_is_not_stored_cannot_be_read_again(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Hello", store=False)

    assert made.status == "completed"
    with pytest.raises(errors.NotFoundError):
        interactions.get(made.id)


def test_both_api_versions_are_served_and_the_latest_aliases_on_v1beta_only(sim: SimulatorServer) -> None:
    with client_of(sim.url, api_version="v1beta") as client:
        made = client.interactions.create(model="gemini-flash-latest", input="Hello", background=True)

    assert made.status == "in_progress"


def test_without_an_api_key_the_platform_refuses(post: Post) -> None:
    status, body = post({"model": MODEL, "input": "Hello"}, accept="*/*")

    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_a_wrong_api_key_is_not_authenticated() -> None:
    with (
        SimulatorServer(Options(api_key="right")) as sim,
        client_of(sim.url, "wrong") as client,
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        client.interactions.get("v1_nothing")

    assert error_of(caught.value)["code"] == "authentication"


def test_an_unknown_path_gets_the_platforms_list_shape(post: Post) -> None:
    assert post(b"", path="/v1_x:stop") == (
        404,
        [{"error": {"code": 404, "message": "Method not found.", "status": "NOT_FOUND"}}],
    )


def test_the_oldest_ended_interaction_makes_room_for_a_new_one() -> None:
    with SimulatorServer(Options(max_interactions=2)) as sim, client_of(sim.url) as client:
        ids = []
        for number in range(3):
            made = client.interactions.create(model=MODEL, input=f"Hello {number}", background=True)
            ids.append(made.id)
            sim.control.advance(10)

        assert [entry["id"] for entry in sim.control.interactions()] == ids[1:]
