"""A webhook receiver that costs next to nothing: it notes what came and when, and answers 204."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Any

import orjson

from tests.bench.load import length_of, value_of

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The first webhook of a job: when it came, and what it told."""

    at: float
    interaction_id: str
    created_at: float
    finished_at: float


@dataclass
class Arrivals:
    """Every webhook that came."""

    first: dict[str, Arrival] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    """By webhook id, or by job where there is none."""

    times: list[float] = field(default_factory=list)

    @property
    def twice(self) -> int:
        """How many came again."""
        return self.seen.total() - len(self.seen)

    def take(self, head: bytes, body: bytes) -> None:
        """Note one webhook."""
        self.times.append(time())
        job = orjson.loads(body)["data"]
        self.seen[value_of(head, b"webhook-id").decode() or job["id"]] += 1
        if job["id"] not in self.first:
            moments = (datetime.fromisoformat(job[name]).timestamp() for name in ("created_at", "finished_at"))
            self.first[job["id"]] = Arrival(time(), job["interaction_id"], *moments)


class _Connection(asyncio.Protocol):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while END in self._data:
            head, _, rest = self._data.partition(END)
            size = length_of(head)
            if len(rest) < size:
                return
            self._arrivals.take(head, rest[:size])
            self._data = rest[size:]
            self._transport.write(ANSWER)


@asynccontextmanager
async def listening(port: int, hosts: Sequence[str] = ("127.0.0.1",)) -> AsyncIterator[Arrivals]:
    """Take webhooks on a port."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(arrivals), hosts, port)
    try:
        yield arrivals
    finally:
        server.close()


def hook(port: int) -> str:
    """The URL that leads here."""
    return f"http://127.0.0.1:{port}/hook"
