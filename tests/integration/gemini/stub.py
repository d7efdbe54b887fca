"""A server that answers byte by byte as told, for what the simulator does not do on the wire; it keeps the requests."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import orjson

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def says(status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> Act:
    """Answer properly; `_` in header names stands for `-`."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, len(content), headers) + content)

    return act


def hangs() -> Act:
    """Say nothing, for as long as the client waits."""

    async def act(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    return act


def drips(content: bytes, *, gap_s: float = 0.05, **headers: str) -> Act:
    """Answer at once, but byte by byte, until the client is gone."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, len(content), headers))
        for byte in content:
            if reader.at_eof():
                return
            writer.write(bytes([byte]))
            await asyncio.sleep(gap_s)

    return act


def breaks_off(content: bytes, *, more: int = 100, **headers: str) -> Act:
    """Promise `more` bytes than come, then close."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, len(content) + more, headers) + content)
        await writer.drain()
        writer.close()

    return act


def closes() -> Act:
    """Close without a word."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return act


def resets() -> Act:
    """Reset the connection."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return act


def _head(status: int, length: int, headers: dict[str, str]) -> bytes:
    fields = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {length}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class Stub:
    """The server, in a thread; `acts` answer one request each, the last one all that follow."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.acts: list[Act] = []
        self.by_target: dict[str, Act] = {}
        self.open = 0
        self.most_open = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def will(self, *acts: Act) -> None:
        """Forget what was and answer so from now on."""
        self.requests, self.acts, self.by_target, self.most_open = [], list(acts), {}, 0

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=512))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(_cancel_all())
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                request = await _read(reader)
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    await self._act(request)(reader, writer)
                finally:
                    self.open -= 1
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _act(self, request: Request) -> Act:
        if (act := self.by_target.get(request.target)) is not None:
            return act
        return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ", 2)
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
