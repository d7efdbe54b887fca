"""The one file of a form: whole and in order however its bytes come, and never more of it in hand than a piece."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from api.form import FileForm
from tests import anything
from worker.errors import BadRequest, NightdeskError

BOUNDARY = "b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
END = b"\r\n--b--\r\n"

Receive = Callable[[], Awaitable[dict[str, Any]]]


def form(receive: Receive, *, max_bytes: int = 10_000, idle_s: float = 10) -> FileForm:
    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/files", "headers": headers, "query_string": b""}
    return FileForm(Request(scope, receive), max_bytes=max_bytes, idle_s=idle_s)


def arriving(chunks: Sequence[bytes]) -> Receive:
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return receive


def read(receive: Receive, size: int = 100, **limits: Any) -> list[tuple[bytes, bool]]:
    async def pieces() -> list[tuple[bytes, bool]]:
        return [piece async for piece in form(receive, **limits).pieces(size)]

    return asyncio.run(pieces())


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(ends)]


@anything.examples(150)
@given(
    content=st.binary(min_size=1, max_size=1000) | st.just(b"\r\n--b" * 99) | st.just(b"\r\n-" * 200),
    places=st.lists(st.integers(0, 5000), max_size=30),
    size=st.integers(1, 300),
)
def test_a_file_is_the_same_however_it_arrives(content: bytes, places: list[int], size: int) -> None:
    # A delimiter inside would end the part, as it does for every reader.
    content = content.replace(b"\r\n--b", b"\r\n--c")

    pieces = read(arriving(cut(HEAD + content + END, places)), size)

    assert b"".join(piece for piece, _ in pieces) == content
    assert [is_last for _, is_last in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(len(piece) == size for piece, is_last in pieces if not is_last)
    assert 0 < len(pieces[-1][0]) <= size


@anything.examples(150)
@given(body=st.binary(max_size=300), places=st.lists(st.integers(0, 300), max_size=5))
def test_whatever_comes_is_a_file_or_an_error_of_ours(body: bytes, places: list[int]) -> None:
    for whole in (body, HEAD + body, HEAD[:30] + body + END, HEAD + b"x" + END + body):
        try:
            pieces = read(arriving(cut(whole, places)))
        except NightdeskError:
            continue
        assert pieces[-1][1]


def test_a_silent_client_is_given_up() -> None:
    chunks = [HEAD, b"some of it"]

    async def receive() -> dict[str, Any]:
        if not chunks:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunks.pop(0), "more_body": True}

    with pytest.raises(BadRequest, match=r"nothing came for 0\.05 seconds"):
        read(receive, idle_s=0.05)
