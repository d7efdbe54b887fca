"""Live events in the door's own numbers: cut anywhere, what the interaction gave in the end goes on exactly there."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.gemini import score
from api.gemini.relay import LostError, Relay
from api.gemini.score import START, Place
from api.history import Piece

Told = list[tuple[Place, dict[str, Any]]]

IMAGE = {"type": "image", "mime_type": "image/png", "data": "eA=="}
STEPS: list[dict[str, Any]] = [
    {"type": "thought", "summary": [{"type": "text", "text": "Hm."}, {"type": "text", "text": "So."}]},
    {
        "type": "model_output",
        "content": [
            {"type": "text", "text": "Owls hunt in the dark. " * 3, "annotations": [{"type": "url_citation"}]},
            IMAGE,
            {"type": "text", "text": "They hear well."},
        ],
    },
    {"type": "function_call", "id": "f1", "name": "f", "arguments": {"city": "Bonn", "days": 3}},
]


def upstream(size: int) -> Iterator[dict[str, Any]]:
    """The events of the same steps as the upstream might cut them: texts and arguments in pieces of this size."""
    for index, step in enumerate(STEPS):
        yield {"event_type": "step.start", "index": index, "step": {"type": step["type"]}}
        for delta in deltas(step, size):
            yield {"event_type": "step.delta", "index": index, "delta": delta}
        yield {"event_type": "step.stop", "index": index}


def deltas(step: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    for content in step.get("summary", ()):
        yield {"type": "thought_summary", "content": content}
    for content in step.get("content", ()):
        if content["type"] != "text":
            yield content
            continue
        for start in range(0, len(content["text"]), size):
            yield {"type": "text", "text": content["text"][start : start + size]}
        if "annotations" in content:
            yield {"type": "text_annotation_delta", "annotations": content["annotations"]}
    if "arguments" in step:
        text = orjson.dumps(step["arguments"]).decode()
        for start in range(0, len(text), size):
            yield {"type": "arguments_delta", "arguments": text[start : start + size]}


def piece(event: Any) -> Piece:
    return Piece("u1", "step", orjson.dumps(event))


def relayed(events: list[dict[str, Any]], after: Place = START, run: int = 0, offset: int = 0) -> Told:
    relay, told = Relay(run, offset), Told()
    for event in events:
        told += relay.take(piece(event), after)
    return told


def whole(told: Told) -> tuple[str, Counter[str], list[str]]:
    """The text, how often each other thing was told, and the arguments."""
    text, others, arguments = "", Counter[str](), []
    for _, event in told:
        delta = event.get("delta", {})
        if delta.get("type") == "text":
            text += delta["text"]
        elif delta.get("type") == "arguments_delta":
            arguments.append(delta["arguments"])
        else:
            others[f"{event['event_type']} {event['index']} {delta.get('type')}"] += 1
    return text, others, arguments


EXPECTED = whole(list(score.played(STEPS, START)))


@given(size=st.integers(1, 80), share=st.floats(0, 1))
def test_a_live_stream_that_is_cut_anywhere_goes_on_from_what_was_given_in_the_end(size: int, share: float) -> None:
    events = list(upstream(size))

    live = relayed(events[: round(share * len(events))])
    rest = list(score.played(STEPS, live[-1][0] if live else START))

    assert whole([*live, *rest]) == EXPECTED


@given(size=st.integers(1, 80), first=st.floats(0, 1))
def test_a_live_stream_goes_on_live_after_any_place(size: int, first: float) -> None:
    events = list(upstream(size))
    begun = list(score.played(STEPS, START))
    begun = begun[: round(first * len(begun))]

    rest = relayed(events, begun[-1][0] if begun else START)

    assert whole([*begun, *rest]) == EXPECTED


def test_ids_are_ours_and_only_grow() -> None:
    places = [at for at, _ in relayed(list(upstream(7)), run=2, offset=5)]

    assert places == sorted(set(places))
    assert {at.run for at in places} == {2}
    assert places[0].step == 5


def test_steps_after_earlier_ones_are_numbered_on() -> None:
    told = relayed(list(upstream(7)), offset=5)

    assert {event["index"] for _, event in told} == {5, 6, 7}


def test_other_events_are_passed_over() -> None:
    events = [{"event_type": "interaction.created"}, {"event_type": "brand.new", "index": 4}, [], "x", 7]

    assert [told for event in events for told in Relay(0, 0).take(piece(event), START)] == []


def test_a_live_text_is_what_its_interaction_will_have() -> None:
    delta = {"type": "text", "text": "Owls\0hunt."}
    events = [{"event_type": "step.start", "index": 0}, {"event_type": "step.delta", "index": 0, "delta": delta}]

    told = relayed(events)

    assert told[-1][1]["delta"]["text"] == "Owls hunt."


def test_what_can_be_read_but_not_written_is_not_told() -> None:
    deep = b'{"event_type": "step.start", "index": 0, "step": {"type": "new", "a": ' + b"[" * 300 + b"]" * 300 + b"}}"

    with pytest.raises(LostError):
        list(Relay(0, 0).take(Piece("u1", "step.start", deep), START))


def test_a_live_stream_with_a_gap_leaves_the_rest_to_the_end() -> None:
    relay, told = Relay(0, 0), Told()
    events = [event for event in upstream(1000) if event.get("delta") != IMAGE]
    gap = next(place for place, event in enumerate(events) if "annotations" in event.get("delta", {})) + 1

    for one in map(piece, events[:gap]):
        told += relay.take(one, START)

    with pytest.raises(LostError):
        list(relay.take(Piece(None, "", b""), START))
    assert whole([*told, *score.played(STEPS, told[-1][0])]) == EXPECTED


@pytest.mark.parametrize(
    "events",
    [
        [{"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "x"}}],
        [{"event_type": "step.start", "index": 1, "step": {}}],
        [{"event_type": "step.start", "index": 0, "step": {}}, {"event_type": "step.start", "index": 1, "step": {}}],
        [{"event_type": "step.start", "index": 0, "step": {}}, {"event_type": "step.delta", "index": 0}],
        [{"event_type": "step.start", "index": 0, "step": {}}, {"event_type": "step.stop", "index": 3}],
        [{"event_type": "step.start", "step": {}}],
    ],
)
def test_what_does_not_follow_is_not_told(events: list[dict[str, Any]]) -> None:
    with pytest.raises(LostError):
        relayed(events)


def test_a_run_that_was_begun_anew_is_told_from_its_first_step() -> None:
    events = list(score.played(STEPS, START))
    middle = events[len(events) // 2][0]

    assert list(score.played(STEPS, score.in_run(middle, 0))) == events[len(events) // 2 + 1 :]
    assert whole(list(score.played(STEPS, score.in_run(middle, 1)))) == EXPECTED
