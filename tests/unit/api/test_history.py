"""What is kept of a followed interaction: numbered pieces within limits, each told once, and the steps of all."""

from typing import Any

import orjson
import pytest

from api.history import History, Piece, wire_id
from worker.gemini.stream import LEFT_OUT, StreamEvent


def event(name: str | None, text: str = "x", **fields: Any) -> StreamEvent:
    value = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": text}, **fields}
    return StreamEvent(name, str(value["event_type"]), orjson.dumps(value), value)


BEGIN = event("e0", event_type="step.start", step={"type": "model_output"})


def test_an_event_is_taken_once() -> None:
    history = History()

    taken = [history.add(one) for one in (BEGIN, event("e1", "a"), event("e1", "a"), event("e2", "b"))]

    assert taken == [True, True, False, True]
    assert [piece.id for piece in history.since(0, 10_000)] == ["e0", "e1", "e2"]
    assert history.place_after("e1") == 2
    assert orjson.loads(history.reset().steps) == [
        {"type": "model_output", "content": [{"type": "text", "text": "ab"}]}
    ]
    assert history.last_event_id == "e2"


def test_events_without_an_id_cannot_be_told_from_copies() -> None:
    history = History()

    taken = [history.add(one) for one in (BEGIN, event(None), event(None))]

    assert taken == [True, True, True]
    assert not history.is_named
    assert history.last_event_id is None


def test_what_was_too_large_leaves_a_gap_and_the_names_of_the_others() -> None:
    history = History()

    taken = [history.add(one) for one in (BEGIN, LEFT_OUT)]

    assert taken == [True, True]
    assert history.since(1, 10_000) == [Piece(None, "", b"")]
    assert history.is_named
    assert history.last_event_id == "e0"


def test_the_oldest_pieces_go_and_their_numbers_with_them() -> None:
    history = History(max_bytes=4_000)

    for number in range(20):
        history.add(event(f"e{number}"))

    assert not history.has(0)
    assert history.has(history.end)
    assert history.end == 20
    assert [piece.id for piece in history.since(18, 10_000)] == ["e18", "e19"]
    assert not history.add(event("e0")), "it is known though it is gone"


def test_pieces_are_taken_within_a_limit_but_one_at_least() -> None:
    history = History()
    for number in range(3):
        history.add(event(f"e{number}"))

    assert len(history.since(0, 1)) == 1
    assert len(history.since(0, 10_000)) == 3
    assert history.since(3, 10_000) == []


def test_a_new_epoch_has_nothing_of_the_old() -> None:
    history = History()
    history.add(event(None))

    history.restart()

    assert (history.epoch, history.end, history.is_named) == (1, 0, True)
    assert history.reset().steps == b"[]"


def test_steps_too_deep_to_be_written_are_left_out() -> None:
    history = History()
    deep: Any = []
    for _ in range(600):
        deep = [deep]
    history.add(StreamEvent("e0", "step.start", b"{}", {"event_type": "step.start", "index": 0, "step": {"x": deep}}))

    reset = history.reset()

    assert (reset.steps, reset.is_truncated) == (b"[]", True)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (None, None),
        ("", None),
        ("e12", "e12"),
        ("Chd/x+y==", "Chd/x+y=="),
        ("a b\r\nc\0%", "a%20b%0D%0Ac%00%25"),
        ("é", "%C3%A9"),
        ("x" * 201, None),
    ],
)
def test_an_upstream_id_is_made_safe_for_a_line_and_a_header(name: str | None, safe: str | None) -> None:
    assert wire_id(name) == safe
