import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.body import BodyLimit
from api.outlet import PIECE_BYTES, Outlet
from api.places import Places

LARGE = bytes(range(256)) * 4096
DEADLINE_S = 30


async def unread() -> Message:
    """A client that sends nothing more and stays: an answer at once would keep whoever listens for its end busy."""
    return await asyncio.Future[Message]()


def sent(app: ASGIApp, held: Places, taken: int = 1000, patience_s: float = 20, method: str = "GET") -> list[Message]:
    """What reaches a client that takes so many messages and then none."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        if len(messages) == taken:
            await asyncio.Event().wait()
        messages.append(message)

    scope: dict[str, Any] = {"type": "http", "method": method, "path": "/", "headers": [], "state": {"project_id": "p"}}
    held_back = BodyLimit(Outlet(app, patience_s), 10**9, held=held)
    asyncio.run(asyncio.wait_for(held_back(scope, unread, send), DEADLINE_S))
    return messages


def places(limit: int = 10 * len(LARGE)) -> Places:
    return Places(limit, "bytes are held here", kind="bytes")


async def in_chunks(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


def test_a_large_answer_is_sent_in_pieces_and_held_until_it_is_taken() -> None:
    held = places()

    start, *pieces = sent(Response(LARGE), held)

    assert start["status"] == 200
    assert b"".join(piece["body"] for piece in pieces) == LARGE
    assert {len(piece["body"]) for piece in pieces} == {PIECE_BYTES}
    assert [piece["more_body"] for piece in pieces] == [True, True, True, False]
    assert held.open == 0


def test_a_small_answer_passes_untouched() -> None:
    messages = sent(Response(b"x" * 1000), places(1))

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert messages[1]["body"] == b"x" * 1000


def test_an_answer_there_is_no_room_for_is_refused_before_it_begins() -> None:
    held = places(len(LARGE))

    start, body = sent(Response(LARGE), held)

    assert start["status"] == 429
    assert dict(start["headers"])[b"retry-after"]
    assert orjson.loads(body["body"])["code"] == "rate_limited"
    assert held.open == 0


def test_what_was_done_is_told_whatever_is_held() -> None:
    held = places(1)
    full: list[bool] = []

    async def done(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(LARGE, 202)(scope, receive, send)
        full.append(not held.has_room("q"))

    start, *pieces = sent(done, held, method="POST")

    assert (start["status"], b"".join(piece["body"] for piece in pieces)) == (202, LARGE)
    assert full == [True]
    assert held.open == 0


def test_an_answer_that_has_begun_comes_to_its_end() -> None:
    sizes = (10, len(LARGE), len(LARGE))
    app = StreamingResponse(in_chunks(*sizes), headers={"Content-Length": str(sum(sizes))})

    start, *pieces = sent(app, places(20))

    assert start["status"] == 200
    assert sum(len(piece["body"]) for piece in pieces) == sum(sizes)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_events_pass_untouched_however_large(method: str) -> None:
    app = StreamingResponse(in_chunks(len(LARGE), 10), media_type="text/event-stream")

    _, *events = sent(app, places(1), method=method)

    assert [len(event["body"]) for event in events] == [len(LARGE), 10, 0]


def test_nothing_more_is_made_for_whoever_takes_nothing() -> None:
    made: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(5):
            made.append(number)
            yield LARGE

    sent(StreamingResponse(chunks()), places(), taken=3, patience_s=0.05)

    assert made == [0]


def test_whoever_takes_nothing_is_left_and_holds_nothing() -> None:
    held = places()

    messages = sent(Response(LARGE), held, taken=3, patience_s=0.05)

    assert len(messages) == 3
    assert all(message["more_body"] for message in messages[1:])
    assert held.open == 0


def test_a_stream_holds_its_largest_piece_alone() -> None:
    held = places(4 * len(LARGE))
    most = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal most
        for _ in range(5):
            yield LARGE
            most = max(most, held.open)

    messages = sent(StreamingResponse(chunks()), held)

    assert b"".join(message.get("body", b"") for message in messages) == LARGE * 5
    assert most == len(LARGE)
    assert held.open == 0
