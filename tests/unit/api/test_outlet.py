import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message

from api.outlet import PIECE_BYTES, Outlet
from api.places import Places

LARGE = bytes(range(256)) * 4096
DEADLINE_S = 30


async def unread() -> Message:
    """A client that sends nothing more and stays: an answer at once would keep whoever listens for its end busy."""
    return await asyncio.Future[Message]()


def sent(app: ASGIApp, held: Places, taken: int = 1000, patience_s: float = 20) -> list[Message]:
    """What reaches a client that takes so many messages and then none."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        if len(messages) == taken:
            await asyncio.Event().wait()
        messages.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {"project_id": "p"}}
    asyncio.run(asyncio.wait_for(Outlet(app, held, patience_s)(scope, unread, send), DEADLINE_S))
    return messages


def places(limit: int = 10 * len(LARGE)) -> Places:
    return Places(limit, "bytes of bodies")


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
