"""The unmodified google-genai client against the Gemini-compatible door of a whole installation."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import sleep
from typing import Any

import httpx2
import psutil
import pytest
from google import genai
from google.genai import _interactions as refused

from tests.door import programs, transcript
from tests.stack import Stack
from tests.waiting import PATIENCE_S, eventually
from worker.dev.simulator import Control

MODEL, IMAGE_MODEL, AGENT = "gemini-3.8-flash", "gemini-3-pro-image", "deep-research-preview-04-2026"
HOLD_S = 4.0
"""The client asks five times, so that a run may take about half a minute."""

DONE_S = 120.0
SPEED = 10
"""A run that is to last 10,000 s lasts 1,000 by the upstream's clock."""
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = transcript.ENV | {"NIGHTDESK_HOLD_S": str(HOLD_S), "NIGHTDESK_POLL_AGENT_START_S": "0.5"}
    with Stack(tmp_path_factory.mktemp("door"), simulator={"speed": SPEED}, env=env) as running:
        yield running


def connect(stack: Stack, key: str) -> genai.Client:
    """As Google's documentation makes it, but for the base URL and the key."""
    return genai.Client(api_key=key, http_options={"base_url": f"{stack.url}/gemini"})


@pytest.fixture
def interactions(stack: Stack) -> Iterator[Any]:
    client = connect(stack, stack.key)
    yield client.interactions
    client.close()


@pytest.fixture
def upstream(stack: Stack) -> Control:
    return Control(stack.simulator_url)


def jobs(stack: Stack) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{stack.url}/v1/jobs?limit=100", headers=stack.headers, timeout=PATIENCE_S)
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def is_called(stack: Stack) -> bool:
    """Whether somebody who has not hung up is connected to the API."""
    calls = [one for one in psutil.net_connections("tcp") if one.laddr == ("127.0.0.1", stack.api_port)]
    return any(one.status == psutil.CONN_ESTABLISHED for one in calls)


def until_done(interactions: Any, interaction: Any) -> Any:
    """The loop of Google's own samples: it knows no other word for a run under way."""
    while interaction.status == "in_progress":
        sleep(0.1)
        interaction = interactions.get(interaction.id)
    return interaction


def test_a_background_interaction_is_polled_to_its_end(interactions: Any) -> None:
    started = interactions.create(model=MODEL, input="Name three owls.", background=True)

    ended = until_done(interactions, started)

    assert (started.status, ended.status) == ("in_progress", "completed")
    assert started.id == ended.id
    assert ended.id.startswith("job_")
    assert "owls" in ended.output_text
    assert ended.usage.total_tokens > 0


def test_polling_costs_no_request_upstream(interactions: Any, upstream: Control, stack: Stack) -> None:
    started = interactions.create(model=MODEL, input="Polled. [[sim: duration=10000]]", background=True)
    eventually(lambda: upstream.created("Polled. [[sim: duration=10000]]"), within_s=DONE_S)
    # Its own polls go on meanwhile, and the slower the machine, the more of them.
    stack.kill("worker-0", signal.SIGSTOP)
    try:
        asked = upstream.stats()["calls"].get("get", {})

        answers = [interactions.get(started.id).status for _ in range(20)]

        seen = upstream.stats()["calls"].get("get", {})
    finally:
        stack.kill("worker-0", signal.SIGCONT)
    interactions.cancel(started.id)
    assert set(answers) == {"in_progress"}
    assert sum(seen.values()) - sum(asked.values()) < len(answers)


def test_a_create_without_background_is_held_to_its_end(interactions: Any) -> None:
    interaction = interactions.create(model=MODEL, input="Name two owls.")

    assert interaction.status == "completed"
    assert "owls" in interaction.output_text
    assert {step.type for step in interaction.steps} == {"thought", "model_output"}


def test_an_agent_works_through_the_door(interactions: Any) -> None:
    started = interactions.create(agent=AGENT, input="How do owls hunt? [[sim: duration=20]]", background=True)

    ended = until_done(interactions, started)

    assert ended.status == "completed"
    assert ended.agent == AGENT
    assert len(ended.output_text) > 100


def test_what_the_client_sends_again_is_not_bought_again(interactions: Any, upstream: Control) -> None:
    prompt = f"Slow owls. [[sim: duration={(HOLD_S + 1) * 10}]]"

    interaction = interactions.create(model=MODEL, input=prompt)

    assert interaction.status == "completed"
    assert upstream.posts(prompt) == 1


def test_two_equal_creates_at_the_same_time_are_two(interactions: Any, upstream: Control) -> None:
    prompt = "Sample me."

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: interactions.create(model=MODEL, input=prompt), range(2)))

    assert len({interaction.id for interaction in found}) == 2
    assert upstream.posts(prompt) == 2


def test_a_create_whose_client_gave_up_is_taken_up_by_the_same_one_sent_later(
    interactions: Any, upstream: Control
) -> None:
    prompt = "Impatient owls. [[sim: duration=10000]]"

    def is_bought() -> bool:
        with pytest.raises(refused.APITimeoutError):
            interactions.create(model=MODEL, input=prompt, timeout=1)
        return upstream.created(prompt) > 0

    eventually(is_bought, within_s=DONE_S, what="the run")
    upstream.advance(10_000)

    interaction = interactions.create(model=MODEL, input=prompt)
    bought = upstream.posts(prompt)
    another = interactions.create(model=MODEL, input=prompt, background=True)

    assert (interaction.status, bought) == ("completed", 1)
    assert another.id != interaction.id


def test_a_create_whose_client_gave_up_before_it_was_read_is_not_bought_beside_the_next(
    interactions: Any, upstream: Control, stack: Stack
) -> None:
    prompt = "Owls that wait for a process that stands still."
    stack.kill("api", signal.SIGSTOP)
    try:
        with pytest.raises(refused.APITimeoutError):
            interactions.create(model=MODEL, input=prompt, timeout=0.5)
        with ThreadPoolExecutor() as pool:
            again = pool.submit(interactions.create, model=MODEL, input=prompt)
            eventually(lambda: is_called(stack), what="the second create")
            stack.kill("api", signal.SIGCONT)
    finally:
        stack.kill("api", signal.SIGCONT)

    assert again.result().status == "completed"
    assert upstream.posts(prompt) == 1


def test_a_create_held_by_a_killed_api_is_taken_up_by_the_next(stack: Stack, upstream: Control) -> None:
    prompt = "Owls in the dark. [[sim: duration=60]]"
    body = {"model": MODEL, "input": prompt}
    url, headers = f"{stack.url}/gemini/v1/interactions", {"x-goog-api-key": stack.key}
    with ThreadPoolExecutor() as pool:
        held = pool.submit(httpx2.post, url, json=body, headers=headers, timeout=DONE_S)
        eventually(lambda: upstream.created(prompt), within_s=DONE_S)
        stack.kill("api")
        with suppress(httpx2.TransportError):
            assert held.result().status_code == 504, "the machine stood still, and it was held for long enough"
    stack.start("api")
    stack.await_ready()

    def again() -> httpx2.Response | None:
        answer = httpx2.post(url, json=body, headers=headers, timeout=DONE_S)
        return None if answer.status_code == 504 else answer

    assert eventually(again, within_s=DONE_S).json()["status"] == "completed"
    assert upstream.posts(prompt) == 1


def test_a_stream_tells_the_interaction_from_its_creation_to_its_end(interactions: Any) -> None:
    events = list(interactions.create(model=MODEL, input="Tell of owls.", stream=True))

    kinds = [event.event_type for event in events]
    deltas = [event.delta for event in events if event.event_type == "step.delta"]
    text = "".join(delta.text for delta in deltas if delta.type == "text")
    assert kinds[:2] == ["interaction.created", "interaction.status_update"]
    assert kinds[-1] == "interaction.completed"
    assert text == interactions.get(events[0].interaction.id).output_text
    assert all(event.event_id for event in events)


def test_a_stream_goes_on_after_any_of_its_events(interactions: Any) -> None:
    done = interactions.create(model=MODEL, input="Tell much. [[sim: size=3kb]]")
    whole = list(interactions.get(done.id, stream=True))

    for place, event in enumerate(whole[:-1]):
        rest = list(interactions.get(done.id, stream=True, last_event_id=event.event_id))

        assert [one.event_id for one in rest] == [one.event_id for one in whole[place + 1 :]]


def test_a_run_is_told_while_it_runs_and_goes_on_where_a_stream_was_left(interactions: Any, upstream: Control) -> None:
    prompt = "Tell live of owls. [[sim: duration=10000 size=3kb]]"
    stream = interactions.create(model=MODEL, input=prompt, background=True, stream=True)
    seen = [next(stream)]
    eventually(lambda: upstream.created(prompt), within_s=DONE_S)
    upstream.advance(10_000 / SPEED / 2)
    while seen[-1].event_type != "step.delta" or seen[-1].delta.type != "text":
        seen.append(next(stream))
    name = seen[0].interaction.id
    status = interactions.get(name).status
    stream.close()
    upstream.advance(10_000)

    rest = list(interactions.get(name, stream=True, last_event_id=seen[-1].event_id))

    deltas = [event.delta for event in [*seen, *rest] if event.event_type == "step.delta"]
    assert status == "in_progress"
    assert rest[-1].event_type == "interaction.completed"
    assert "".join(delta.text for delta in deltas if delta.type == "text") == interactions.get(name).output_text


def test_a_conversation_goes_on_by_the_previous_interaction(interactions: Any) -> None:
    first = interactions.create(model=MODEL, input="My name is Ada.")

    second = interactions.create(model=MODEL, input="What is my name?", previous_interaction_id=first.id)

    assert "Ada" in second.output_text
    assert second.previous_interaction_id == first.id
    assert interactions.get(second.id).previous_interaction_id == first.id


def test_function_results_begin_the_next_turn(interactions: Any, stack: Stack) -> None:
    asked = interactions.create(model=MODEL, input="The weather in Bonn and in Oslo?", tools=[WEATHER])
    assert asked.status == "requires_action"
    results = [
        {"type": "function_result", "call_id": step.id, "name": step.name, "result": {"sky": "clear"}}
        for step in asked.steps
        if step.type == "function_call"
    ]

    answered = interactions.create(model=MODEL, input=results, previous_interaction_id=asked.id, tools=[WEATHER])
    again = interactions.create(model=MODEL, input=results, previous_interaction_id=asked.id, tools=[WEATHER])

    assert (answered.status, answered.id) == ("completed", f"{asked.id}.2")
    assert "clear" in answered.output_text
    assert again.id == answered.id
    assert interactions.get(asked.id).status == "requires_action"
    assert interactions.get(answered.id).previous_interaction_id == asked.id
    assert [job["turn"] for job in jobs(stack) if job["id"] == asked.id] == [2]


def test_a_conversation_branches_off_an_earlier_turn(interactions: Any) -> None:
    asked = interactions.create(model=MODEL, input="The weather in Rome?", tools=[WEATHER])
    call = next(step for step in asked.steps if step.type == "function_call")

    def answer(sky: str) -> Any:
        result = {"type": "function_result", "call_id": call.id, "name": call.name, "result": sky}
        return interactions.create(model=MODEL, input=[result], previous_interaction_id=asked.id, tools=[WEATHER])

    first, second = answer("rain"), answer("snow")

    assert "rain" in first.output_text
    assert "snow" in second.output_text
    assert second.id not in {asked.id, first.id}
    assert second.previous_interaction_id == asked.id


def test_an_image_comes_with_its_bytes(interactions: Any) -> None:
    interaction = interactions.create(model=IMAGE_MODEL, input="Draw an owl.")

    stored = interactions.get(interaction.id)

    assert stored.output_image.mime_type == "image/png"
    assert stored.output_image.data == interaction.output_image.data
    assert stored.output_image.data.startswith("iVBORw0KGgo")


def test_a_run_is_cancelled_and_deleted(interactions: Any) -> None:
    started = interactions.create(model=MODEL, input="Long. [[sim: duration=600]]", background=True)

    cancelled = interactions.cancel(started.id)

    assert cancelled.status == "cancelled"
    eventually(lambda: interactions.get(started.id).status == "cancelled", within_s=DONE_S)
    interactions.delete(started.id)
    with pytest.raises(refused.NotFoundError):
        interactions.get(started.id)


def test_refusals_raise_what_they_raise_at_google(interactions: Any, stack: Stack) -> None:
    stranger = connect(stack, "nd_nobody")
    running = interactions.create(model=MODEL, input="Runs. [[sim: duration=600]]", background=True)

    with pytest.raises(refused.BadRequestError, match="store"):
        interactions.create(model=MODEL, input="Hello.", store=False)
    with pytest.raises(refused.BadRequestError, match="simulator directive"):
        interactions.create(model=MODEL, input="Refused upstream. [[sim: nonsense=1]]")
    with pytest.raises(refused.BadRequestError, match="in progress"):
        interactions.create(model=MODEL, input="Too soon.", previous_interaction_id=running.id)
    with pytest.raises(refused.BadRequestError, match="in_progress"):
        interactions.delete(running.id)
    with pytest.raises(refused.NotFoundError):
        interactions.get("job_01kqzv7m3e8f4x2c9t5b6n0hyd")
    with pytest.raises(refused.AuthenticationError):
        stranger.interactions.get(running.id)
    with pytest.raises(refused.NotFoundError, match="Nightdesk answers"):
        interactions.get(running.id, api_version="v2")
    interactions.cancel(running.id)
    stranger.close()


def test_a_run_that_fails_says_why(interactions: Any) -> None:
    prompt = "Fails. [[sim: status=failed code=safety message='not this']]"

    interaction = interactions.create(model=MODEL, input=prompt)

    assert interaction.status == "failed"
    assert [(error.code, error.message) for error in interaction.errors] == [("safety", "not this")]


def test_a_run_that_is_cut_into_pieces_comes_as_one(interactions: Any) -> None:
    prompt = "Say all of it. [[sim: status=requires_continuation]]"

    interaction = interactions.create(model=MODEL, input=prompt, background=True)
    ended = until_done(interactions, interaction)

    assert ended.id == interaction.id
    assert ended.status == "completed"
    assert "simulator" in "".join(
        content.text for step in ended.steps if step.type == "model_output" for content in step.content
    )


def test_a_program_for_google_s_endpoint_says_what_is_recorded(stack: Stack) -> None:
    program = programs.python()

    told = transcript.record(stack, program)

    assert told == transcript.recorded(program.language)


def test_no_key_is_recorded_and_both_programs_are() -> None:
    text = transcript.FILE.read_text()

    assert text.startswith(transcript.HEAD)
    assert "nd_" not in text
    assert all("requires_action" in transcript.recorded(language) for language in ("Python", "JavaScript"))
