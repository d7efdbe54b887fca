"""A process that was stopped for longer than a call may take still takes the answer that lies there when it wakes."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from worker.gemini.loop import LoopThread
from worker.gemini.wire import Reply, talk

TIMEOUT_S, STOPPED_S = 0.4, 0.7


@dataclass(frozen=True)
class Line:
    """A call that waits for two bytes, and the end of the line that they are sent from."""

    far: socket.socket
    near: socket.socket
    is_waiting: threading.Event

    async def call(self, _resource: Any) -> Any:
        reader, writer = await asyncio.open_connection(sock=self.near)
        self.is_waiting.set()
        try:
            content = await reader.readexactly(2)
        finally:
            writer.close()
        return SimpleNamespace(http_response=SimpleNamespace(status_code=200, content=content))


@pytest.fixture
def line() -> Iterator[Line]:
    far, near = socket.socketpair()
    with far, near:
        yield Line(far, near, threading.Event())


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    thread.start()
    yield thread
    thread.stop()


def client() -> Any:
    return SimpleNamespace(aio=SimpleNamespace(interactions=SimpleNamespace(with_raw_response=None)))


async def be_stopped() -> None:
    threading.Event().wait(STOPPED_S)


def test_an_answer_that_came_meanwhile_is_taken(line: Line, loop: LoopThread) -> None:
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(loop.run(talk(client(), line.call, TIMEOUT_S), TIMEOUT_S)))
    asking.start()
    line.is_waiting.wait(5)

    loop.submit(be_stopped())
    line.far.send(b"ok")
    asking.join(5)

    assert replies == [Reply(200, b"ok")]


def test_without_an_answer_the_call_ends_in_time(line: Line, loop: LoopThread) -> None:
    reply = loop.run(talk(client(), line.call, TIMEOUT_S), TIMEOUT_S + 1)

    assert reply == Reply(trouble="timeout")
