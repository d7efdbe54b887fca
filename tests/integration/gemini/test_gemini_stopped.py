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

TIMEOUT_S, STOPPED_S, LONG_S = 0.4, 0.7, 20.0


@dataclass(frozen=True)
class Line:
    """A call that waits for two bytes, and the end of the line that they are sent from."""

    far: socket.socket
    near: socket.socket

    async def call(self, _resource: Any) -> Any:
        reader, writer = await asyncio.open_connection(sock=self.near)
        try:
            content = await reader.readexactly(2)
        finally:
            writer.close()
        return SimpleNamespace(http_response=SimpleNamespace(status_code=200, content=content))


@pytest.fixture
def line() -> Iterator[Line]:
    far, near = socket.socketpair()
    with far, near:
        yield Line(far, near)


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    thread.start()
    yield thread
    thread.stop()


def client() -> Any:
    return SimpleNamespace(aio=SimpleNamespace(interactions=SimpleNamespace(with_raw_response=None)))


def test_an_answer_that_came_meanwhile_is_taken(line: Line, loop: LoopThread) -> None:
    def be_stopped() -> None:
        line.far.send(b"ok")
        threading.Event().wait(STOPPED_S)

    async def call(resource: Any) -> Any:
        # As soon as it waits.
        asyncio.get_running_loop().call_soon(be_stopped)
        return await line.call(resource)

    assert loop.run(talk(client(), call, TIMEOUT_S), TIMEOUT_S) == Reply(200, b"ok")


def test_without_an_answer_the_call_ends_in_time(line: Line, loop: LoopThread) -> None:
    reply = loop.run(talk(client(), line.call, TIMEOUT_S), LONG_S)

    assert reply == Reply(trouble="timeout")
