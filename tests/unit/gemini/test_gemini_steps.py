"""The steps that events tell: the same as the resource has at the end, and never a fault whatever events hold."""

from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from tests import anything
from worker.gemini.steps import DATA_MAX, Steps


def told(*events: dict[str, Any], **limits: int) -> list[dict[str, Any]]:
    steps = Steps(**limits)
    for event in events:
        steps.add(event, len(orjson.dumps(event)))
    return steps.tell()


def start(index: int, **step: Any) -> dict[str, Any]:
    return {"event_type": "step.start", "index": index, "step": step}


def delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"event_type": "step.delta", "index": index, "delta": delta}


def test_text_grows_and_media_stand_between() -> None:
    image = {"type": "image", "mime_type": "image/png", "data": "AA=="}
    mark = {"type": "url_citation", "url": "https://example.com"}

    found = told(
        start(0, type="model_output"),
        delta(0, type="text", text="a"),
        delta(0, type="text", text="b"),
        delta(0, type="text_annotation_delta", annotations=[mark]),
        delta(0, **image),
        delta(0, type="text", text="c"),
    )

    content = [{"type": "text", "text": "ab", "annotations": [mark]}, image, {"type": "text", "text": "c"}]
    assert found == [{"type": "model_output", "content": content}]


def test_arguments_are_a_text_until_they_are_whole() -> None:
    steps = Steps()
    call = start(0, type="function_call", id="c1", name="f", arguments={})
    steps.add(call, 1)
    steps.add(delta(0, type="arguments_delta", arguments='{"city":'), 1)

    half = steps.tell()[0]["arguments"]
    steps.add(delta(0, type="arguments_delta", arguments='"Bonn"}'), 1)

    assert half == '{"city":'
    assert steps.tell() == [{"type": "function_call", "id": "c1", "name": "f", "arguments": {"city": "Bonn"}}]


def test_thoughts_tool_steps_and_unknown_deltas_are_kept() -> None:
    summary = {"type": "text", "text": "Searching"}

    found = told(
        start(0, type="thought"),
        delta(0, type="thought_summary", content=summary),
        delta(0, type="thought_signature", signature="s"),
        start(1, type="google_search_call", id="g1"),
        delta(1, type="google_search_call", arguments={"queries": ["owls"]}),
        delta(1, type="novelty", x=1),
    )

    assert found == [
        {"type": "thought", "summary": [summary], "signature": "s"},
        {
            "type": "google_search_call",
            "id": "g1",
            "arguments": {"queries": ["owls"]},
            "deltas": [{"type": "novelty", "x": 1}],
        },
    ]


def test_where_there_are_too_many_steps_the_oldest_go() -> None:
    steps = Steps(max_bytes=100)

    for index in range(3):
        steps.add(start(index, type=f"s{index}"), 40)
    steps.add(delta(0, type="text", text="too late"), 40)

    assert steps.tell() == [{"type": "s1"}, {"type": "s2"}]
    assert steps.is_truncated


def test_long_media_are_left_out_and_cost_no_room() -> None:
    found = told(
        start(0, type="thought"),
        start(1, type="model_output"),
        delta(1, type="image", mime_type="image/png", data="A" * (DATA_MAX + 1)),
        max_bytes=2 * DATA_MAX // 3,
    )

    assert found == [
        {"type": "thought"},
        {"type": "model_output", "content": [{"type": "image", "mime_type": "image/png"}]},
    ]


JSON = st.recursive(
    st.sampled_from([None, True, 7, "", "text"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "data"]), inner),
    max_leaves=4,
)
KINDS = ["text", "image", "thought_summary", "arguments_delta", "text_annotation_delta", "model_output", "odd"]
STEP = st.fixed_dictionaries({"type": st.sampled_from(KINDS) | JSON}, optional={"content": JSON, "summary": JSON})
DELTA = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional=dict.fromkeys(("text", "content", "annotations", "arguments", "data", "summary"), JSON),
)
EVENT = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["step.start", "step.delta", "step.stop", "odd"]),
        "index": st.integers(-1, 2) | JSON,
    },
    optional={"step": STEP | JSON, "delta": DELTA | JSON},
)


@anything.examples(200)
@example(
    [
        {"event_type": "step.start", "index": 0, "step": {"type": "text"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": ["text"]}},
    ]
)
@given(st.lists(EVENT, max_size=12))
def test_no_event_breaks_it(events: list[dict[str, Any]]) -> None:
    assert isinstance(told(*events), list)
