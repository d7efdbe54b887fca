"""Streams: order and shape of events, resuming, what ends them, and how they break."""

from itertools import groupby
from threading import Thread
from typing import Any

import pytest
from google.genai import _interactions as errors

from tests.waiting import eventually
from worker.dev.simulator import SimulatorServer

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"
PROMPT = "Research tea in Zürich [[sim: images=1]]"


@pytest.fixture
def done(sim: SimulatorServer, interactions: Any) -> str:
    """The id of a finished research run."""
    made = interactions.create(agent=AGENT, input=PROMPT, background=True)
    sim.control.advance(10)
    return str(made.id)


def text_of(events: list[Any]) -> str:
    deltas = [event.delta for event in events if event.event_type == "step.delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text")


def test_a_stream_tells_the_whole_run_in_order(interactions: Any, done: str) -> None:
    events = list(interactions.get(done, stream=True))

    kinds = [kind for kind, _ in groupby(event.event_type for event in events)]
    assert kinds[:2] == ["interaction.created", "interaction.status_update"]
    assert kinds[2:-1] == ["step.start", "step.delta", "step.stop"] * (len(kinds[2:-1]) // 3)
    assert kinds[-1] == "interaction.completed"
    assert [event.event_id for event in events] == [f"e{number}" for number in range(len(events))]


def test_the_deltas_add_up_to_the_steps_of_the_resource(interactions: Any, done: str) -> None:
    events = list(interactions.get(done, stream=True))
    steps = interactions.get(done).steps[1:]

    started = [event.step.type for event in events if event.event_type == "step.start"]
    contents = steps[-1].content

    assert started == [step.type for step in steps]
    assert text_of(events) == "".join(content.text for content in contents if content.type == "text")
    deltas = [event.delta for event in events if event.event_type == "step.delta"]
    (image,) = [delta for delta in deltas if delta.type == "image"]
    assert image.data == contents[1].data
    annotations = [
        annotation for delta in deltas if delta.type == "text_annotation_delta" for annotation in delta.annotations
    ]
    assert annotations == [a for content in contents if content.type == "text" for a in content.annotations or []]


def test_a_stream_resumes_after_any_event(interactions: Any, done: str) -> None:
    events = [event.event_id for event in interactions.get(done, stream=True)]

    resumed = [event.event_id for event in interactions.get(done, stream=True, last_event_id="e30")]

    assert resumed == events[31:]


def test_a_bad_event_id_is_refused(interactions: Any, done: str) -> None:
    with pytest.raises(errors.BadRequestError):
        list(interactions.get(done, stream=True, last_event_id="nonsense"))


def test_a_stream_follows_a_run_as_it_goes_on(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input=f"{PROMPT} [[sim: duration=1000]]", background=True)
    events: list[Any] = []
    reader = Thread(target=_read, args=(interactions.get(made.id, stream=True), events))
    reader.start()
    eventually(lambda: len(events) >= 2)
    early = len(events)

    sim.control.advance(50)
    eventually(lambda: len(events) > early)
    assert reader.is_alive()
    sim.control.advance(60)
    reader.join(60)

    assert events[-1].event_type == "interaction.completed"


def test_a_created_stream_ends_with_the_whole_answer(interactions: Any) -> None:
    events = list(interactions.create(model=MODEL, input="Explain tea", stream=True))

    got = interactions.get(events[0].interaction.id)
    assert events[0].interaction.status == "in_progress"
    assert text_of(events) == got.output_text
    assert events[-1].interaction.usage.total_tokens == got.usage.total_tokens


def test_a_background_stream_can_be_left_and_resumed(sim: SimulatorServer, interactions: Any) -> None:
    stream = interactions.create(agent=AGENT, input=f"{PROMPT} [[sim: duration=1000]]", background=True, stream=True)
    first = next(stream)
    stream.close()
    sim.control.advance(110)

    rest = list(interactions.get(first.interaction.id, stream=True, last_event_id=first.event_id))

    assert rest[0].event_id == "e1"
    assert rest[-1].interaction.status == "completed"


def test_function_calls_are_streamed_with_their_arguments(interactions: Any) -> None:
    tool = {"type": "function", "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}

    events = list(interactions.create(model=MODEL, input="What weather has London?", tools=[tool], stream=True))

    (arguments,) = [
        e.delta.arguments for e in events if e.event_type == "step.delta" and e.delta.type == "arguments_delta"
    ]
    assert arguments == '{"city":"London"}'
    assert events[-1].interaction.status == "requires_action"


def test_a_failed_run_streams_an_error_event(interactions: Any) -> None:
    prompt = "Tea [[sim: duration=0 status=failed code=safety]]"

    events = list(interactions.create(model=MODEL, input=prompt, stream=True))

    assert events[-2].error.code == "safety"
    assert events[-1].interaction.status == "failed"


def test_a_cancelled_run_ends_its_stream(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input=f"{PROMPT} [[sim: duration=1000]]", background=True)
    sim.control.advance(50)
    interactions.cancel(made.id)
    sim.control.advance(10)

    events = list(interactions.get(made.id, stream=True))

    assert events[-1].interaction.status == "cancelled"
    assert text_of(events) == ""


@pytest.mark.parametrize("fault", ["cut", "drop"])
def test_a_stream_may_break_and_be_resumed(interactions: Any, fault: str) -> None:
    made = interactions.create(
        agent=AGENT, input=f"Tea [[sim: duration=0]] [[sim: stream={fault} after=7 times=1]]", background=True
    )
    seen: list[Any] = []

    try:
        _read(interactions.get(made.id, stream=True), seen)
    except errors.APIConnectionError:
        assert fault == "drop"
    rest = list(interactions.get(made.id, stream=True, last_event_id=seen[6].event_id))

    assert [event.event_id for event in seen] == [f"e{number}" for number in range(7)]
    assert rest[0].event_id == "e7"
    assert rest[-1].event_type == "interaction.completed"


def test_a_stream_may_be_cut_after_a_time(interactions: Any) -> None:
    asked = "Tea [[sim: duration=1000]] [[sim: stream=cut delay=0.2 times=1]]"
    made = interactions.create(agent=AGENT, input=asked, background=True)

    seen = list(interactions.get(made.id, stream=True))

    assert seen[0].event_type == "interaction.created"
    assert seen[-1].event_type != "interaction.completed"


def test_a_resumed_stream_may_tell_some_events_again(interactions: Any) -> None:
    asked = "Tea [[sim: duration=0]] [[sim: stream=replay back=2 times=1]]"
    made = interactions.create(agent=AGENT, input=asked, background=True)

    resumed = interactions.get(made.id, stream=True, last_event_id="e9")

    assert next(iter(resumed)).event_id == "e8"


def test_a_stream_may_fall_silent_and_stay_open(interactions: Any) -> None:
    asked = "Tea [[sim: duration=0]] [[sim: stream=stall after=3 times=1]]"
    made = interactions.create(agent=AGENT, input=asked, background=True)
    seen: list[Any] = []

    with pytest.raises(errors.APIError):
        _read(interactions.get(made.id, stream=True, timeout=1.5), seen)

    assert [event.event_id for event in seen] == ["e0", "e1", "e2"]


def test_a_stream_may_dribble(interactions: Any) -> None:
    asked = "Tea [[sim: duration=0]] [[sim: stream=dribble delay=0.0001 times=1]]"
    made = interactions.create(model=MODEL, input=asked, background=True)

    dribbled, whole = ([event.event_id for event in interactions.get(made.id, stream=True)] for _ in range(2))

    assert dribbled == whole


@pytest.mark.parametrize(("named", "without"), [("none", {0, 1, 2, 3, 4}), ("some", {0, 3})])
def test_events_may_have_no_id(interactions: Any, named: str, without: set[int]) -> None:
    made = interactions.create(model=MODEL, input=f"Tea [[sim: duration=0 event_ids={named}]]", background=True)

    seen = list(interactions.get(made.id, stream=True))[:5]

    assert {number for number, event in enumerate(seen) if event.event_id is None} == without


def test_a_stream_may_have_events_that_nobody_knows(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="Tea [[sim: duration=0 strange=yes]]", background=True)

    seen = list(interactions.get(made.id, stream=True))

    assert "UNKNOWN" in {event.event_type for event in seen}
    assert seen[-1].event_type == "interaction.completed"


def _read(stream: Any, events: list[Any]) -> None:
    """Read a stream to its end, keeping each event as it comes."""
    for event in stream:
        events += [event]
