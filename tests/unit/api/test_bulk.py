import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from api import bulk
from api.body import BodyLimit
from api.bulk import MAX_PARTS, UNCOUNTED_BYTES, Hold
from api.errors import RateLimited
from api.places import Places

KIB = b"x" * 1024


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"{}", 1),
        (b'{"a":[1,2,{"b":3}],"c":4}', 9),
        (b"[" + b"[]," * 5000 + b"0]", 10_001),
        (b'{"a":"' + b"1,2:[{" * 5000 + b'"}', 2),
        (b'{"a":"' + b'\\"[,' * 5000 + b'","b":[' + b'"\\\\",' * 5000 + b"0]}", 5005),
        (b'["' + b"\\\\\\\\\\\\" * 5000 + b'",' + b"0," * 5000 + b"0]", 5002),
        (b"{" * MAX_PARTS * 2, MAX_PARTS + 1),
        (b"[" + b'"",' * (MAX_PARTS + 1), MAX_PARTS + 1),
    ],
)
def test_parts_are_counted_where_they_are_and_not_in_texts(text: bytes, number: int) -> None:
    assert bulk.parts(text) == number


@pytest.mark.parametrize(
    ("text", "is_light"), [(b'"' + b"x" * 60_000 + b'"', True), (b"x" * 70_000, False), (b"[]," * 1500, False)]
)
def test_light_is_what_is_neither_long_nor_of_many_parts(text: bytes, is_light: bool) -> None:  # noqa: FBT001
    assert bulk.is_light(text) == is_light


def test_a_project_holds_half_of_the_bytes_and_gives_them_back() -> None:
    places = Places(1000, "bytes are held here", kind="bytes")
    one, other, late = (Hold(places, {"project_id": name}) for name in ("prj_1", "prj_1", "prj_2"))
    one.grow(300)

    with pytest.raises(RateLimited, match="for this project") as caught:
        other.grow(201)
    late.grow(500)
    with pytest.raises(RateLimited, match=r"bytes are held here$"):
        late.grow(300)
    for hold in (one, other, late):
        hold.end()

    assert caught.value.limit == 500
    assert places.open == 0
    other.grow(500)


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, send
    while (await receive()).get("more_body"):
        pass


def taken(places: Places, chunks: Iterable[bytes], path: str = "/", **state: Any) -> int:
    """The most that was held while an application read this body."""
    pieces, most = iter(chunks), 0

    async def receive() -> Message:
        nonlocal most
        most = max(most, places.open)
        body = next(pieces, None)
        return {"type": "http.request", "body": body or b"", "more_body": body is not None}

    async def send(_: Message) -> None: ...

    limited = BodyLimit(swallow, 10**9, apart={"/files": 10**9}, held=places)
    asyncio.run(limited({"type": "http", "path": path, "headers": [], "state": state}, receive, send))
    return most


def test_what_is_read_of_a_body_is_held_until_it_is_answered() -> None:
    places = Places(1024 * 1024, "bytes are held here", kind="bytes")

    assert taken(places, [KIB] * 100, project_id="prj_1") == 100 * 1024 - UNCOUNTED_BYTES
    assert taken(places, [KIB] * 10) == 0
    assert taken(places, [KIB] * 2000, path="/files") == 0
    with pytest.raises(RateLimited):
        taken(places, [KIB] * 600, project_id="prj_1")
    assert places.open == 0


def test_a_client_that_goes_away_after_much_of_its_body_is_heard_to_go() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": KIB * 20, "more_body": True},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]
    heard: list[str] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        heard.extend([(await receive())["type"] for _ in range(3)])

    async def send(_: Message) -> None: ...

    places = Places(1024 * 1024, "bytes are held here", kind="bytes")
    asyncio.run(BodyLimit(listen, 10**9, held=places)({"type": "http", "path": "/", "headers": []}, receive, send))

    assert heard == ["http.request", "http.disconnect", "http.disconnect"]
    assert places.open == 0
