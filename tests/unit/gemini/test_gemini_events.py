"""Cutting bytes into server-sent events: any chunks give the same, and what is too large or no event is left out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gemini.events import Frame, Parser

WIRE = (
    b'event: a\ndata: {"x": 1}\nid: 7\n\n: alive\n\ndata: b\r\ndata: c\r\n\r\ndata:d\r\rfoo: bar\ndata\n\nevent: e\n\n'
)
FRAMES = [Frame(b'{"x": 1}', "a", "7"), Frame(b"b\nc"), Frame(b"d"), Frame(b"")]


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WIRE)]
    parser = Parser()

    found = [frame for a, b in pairwise(places) for frame in parser.feed(WIRE[a:b])]

    assert found == FRAMES


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_break_it(chunks: list[bytes]) -> None:
    parser = Parser(64)

    frames = [frame for chunk in chunks for frame in parser.feed(chunk)]

    assert all(len(frame.data) <= 64 for frame in frames)


@pytest.mark.parametrize(
    "large", [b"data: " + b"x" * 100, b"data: x\n" * 30 + b"data: y", b": " + b"x" * 100 + b"\ndata: y"]
)
def test_what_is_too_large_is_left_out_and_the_next_event_is_not(large: bytes) -> None:
    parser = Parser(64)

    found = [frame for part in (large[:50], large[50:], b"\n\ndata: z\n\n") for frame in parser.feed(part)]

    assert found == [Frame(b"", is_whole=False), Frame(b"z")]


def test_an_error_body_in_the_place_of_an_event_is_none() -> None:
    body = b'[{\n  "error": {"code": 503,\n    "message": "data: x"}\n}]\n\n'

    assert Parser().feed(body) == []
