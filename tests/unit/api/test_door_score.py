"""Interactions written down as streams, from the beginning and from anywhere."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.gemini import score
from api.gemini.score import START, Place
from tests import anything
from worker.errors import Invalid

STEPS: list[Any] = [
    {"type": "thought", "summary": [{"type": "text", "text": "Hm."}], "signature": "s"},
    {"type": "google_search_call", "id": "c1", "arguments": {"queries": ["owls"]}},
    {"type": "google_search_result", "call_id": "c1", "result": [{"title": "Owls"}]},
    {
        "type": "model_output",
        "content": [
            {"type": "text", "text": "ä" * 1300, "annotations": [{"type": "url_citation", "url": "u"}]},
            {"type": "image", "mime_type": "image/png", "data": "eA=="},
            {"type": "text", "text": "The end."},
        ],
    },
    {"type": "brand_new", "whatever": [1, 2]},
    {"type": "function_call", "id": "f1", "name": "f", "arguments": {"a": 1}, "signature": "kept"},
    "not even a step",
]


def deltas(events: list[tuple[Place, dict[str, Any]]], step: int) -> Iterator[dict[str, Any]]:
    for _, event in events:
        if event["event_type"] == "step.delta" and event["index"] == step:
            yield event["delta"]


def text(events: list[tuple[Place, dict[str, Any]]]) -> str:
    return "".join(delta["text"] for delta in deltas(events, 3) if delta["type"] == "text")


def test_every_step_is_begun_told_and_ended() -> None:
    events = list(score.played(STEPS, START))

    begun = [event["step"]["type"] for _, event in events if event["event_type"] == "step.start"]
    assert begun == [step["type"] for step in STEPS[:-1]]
    assert sum(event["event_type"] == "step.stop" for _, event in events) == len(begun)
    assert text(events) == "ä" * 1300 + "The end."
    assert [delta["type"] for delta in deltas(events, 0)] == ["thought_summary", "thought_signature"]
    assert list(deltas(events, 5)) == [{"type": "arguments_delta", "arguments": '{"a":1}'}]


def test_places_only_grow() -> None:
    places = [at for at, _ in score.played(STEPS, START)]

    assert places == sorted(set(places))


def test_a_stream_goes_on_after_any_event_as_if_it_had_not_been_cut() -> None:
    events = list(score.played(STEPS, START))

    for number, (at, _) in enumerate(events):
        assert list(score.played(STEPS, score.place(str(at)))) == events[number + 1 :]


def test_a_text_goes_on_in_the_middle_of_what_is_one_delta_here() -> None:
    rest = list(score.played(STEPS, Place(0, 3, score.UNDER_WAY, 700)))

    assert text(rest) == "ä" * 600 + "The end."


@pytest.mark.parametrize(
    "text", ["e5", "1.2.3", "1.2.3.4.5.6.7", "1.2.3.4.5.x", "1.2.3.4.5.99999999999", "٣.1.1.1.1.1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        score.place(text)


def test_no_place_is_the_beginning() -> None:
    assert score.place(None) == score.place("") == START


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "text", "summary", "result", "id", "arguments"]), inner)
    ),
    max_leaves=12,
)


@anything.examples(200)
@given(steps=st.lists(JSON, max_size=4))
def test_no_step_breaks_a_stream(steps: list[Any]) -> None:
    events = list(score.played(steps, START))

    assert [event["event_type"] for _, event in events].count("step.stop") == sum(
        isinstance(step, dict) for step in steps
    )
