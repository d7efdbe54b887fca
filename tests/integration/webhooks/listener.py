"""Receivers on loopback that behave as badly as told, and names that resolve as told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network

from worker.webhooks.address import Policy
from worker.webhooks.egress import Egress, Limits
from worker.webhooks.lookup import Resolver
from worker.webhooks.reply import Reply

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
LOCAL = Policy(allow_networks=(ip_network("127.0.0.1/32"),), allow_http=True, allow_ports=None)
PATIENT = Limits(connect_s=30, total_s=60, slot_wait_s=60)
QUICK = Limits(connect_s=0.3, total_s=0.5, slot_wait_s=0.2)
LATE_MS = 20_000
"""Far beyond QUICK, far below PATIENT, and more than a busy machine adds."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire."""

    head: str
    body: bytes

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


@dataclass
class Listener:
    """What a receiver saw."""

    host: str
    port: int = 0
    connections: int = 0
    ended: int = 0
    requests: list[Request] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook"

    async def was_never_reached(self) -> bool:
        """Connect ourselves: connections are accepted in order, so being the first proves that none came before."""
        before = self.connections
        _, writer = await asyncio.open_connection(self.host, self.port)
        await self.until(lambda: self.connections > before)
        writer.close()
        return before == 0 and self.connections == 1

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, at most twenty seconds."""
        async with asyncio.timeout(20):
            while not is_so():
                await self.news.wait()
                self.news.clear()

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Read and remember one request."""
        self.requests.append(await read_request(reader))
        self.news.set()


Handler = Callable[[Listener, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """Run a receiver until the block ends."""
    listener = Listener(host)
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        listener.news.set()
        try:
            await handler(listener, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            listener.ended += 1
            listener.news.set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(connection(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port, ssl=tls, backlog=512)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n")
    request = Request(head, b"")
    return Request(head, await reader.readexactly(int(request.header("content-length") or 0)))


def answering(*answers: bytes) -> Handler:
    """Give each request the next answer, the last one for ever."""

    async def handler(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await listener.take(reader)
            writer.write(answers[min(len(listener.requests), len(answers)) - 1])
            await writer.drain()

    return handler


async def hanging(listener: Listener, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await listener.take(reader)
    await asyncio.Event().wait()


class Names:
    """A resolver that gives the next of its answers at each look-up, the last one for ever."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def egress(
    policy: Policy = LOCAL,
    *,
    limits: Limits = PATIENT,
    resolver: Resolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> Egress:
    return Egress(policy, "1.2.3", limits=limits, resolver=resolver, tls=tls)


async def post(out: Egress, url: str, headers: dict[str, str] | None = None) -> Reply:
    return await out.post(url, b'{"type":"webhook.ping"}', headers or {}, sent_at=datetime.now(UTC))
