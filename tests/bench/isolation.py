"""Isolation: how long events take to a healthy receiver, alone and beside one that hangs and one that fails."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import httpx2
import sqlalchemy as sa
import uvloop

from tests.bench import floor, jobs, receiver
from tests.bench.ground import LATENCY_S, Ground, Site
from tests.bench.machine import quantile
from tests.bench.receiver import Arrivals
from tests.bench.table import NOTHING, pair
from tests.stack import Stack, free_port
from tests.waiting import eventually
from worker import ids
from worker.app import DELIVER, Hint, Sender
from worker.database import Database
from worker.models import Delivery, Event

NUMBER, QUICK = 1_000, 200
HEALTHY, HANGING, FAILING = "127.0.0.1", "127.0.0.2", "127.0.0.3"
CONNECTIONS = 8
"""What one host is granted."""

BAR = 1.5
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Milliseconds from event to arrival at the healthy receiver; how many came there in a second; their body."""

    ms: list[float]
    rate: float
    body: bytes


def run(ground: Ground) -> None:
    """The same events to registered endpoints, and to the jobs' own URLs, which have no breaker."""
    number = QUICK if ground.is_quick else NUMBER
    title = (
        f"Isolation: {number:,} events at once to a healthy receiver; beside it as many to one that hangs, one at 500"
    )
    ground.report.table(
        title, "to", "database", "alone: p50 / p99 ms", "/s", "beside them", "/s", "p99, times that alone"
    )
    bare = 0.0
    for kind in ground.databases:
        for as_endpoints in (True, False):
            with ground.site(kind) as site:
                alone, beside, bare = _run(site, number, as_endpoints=as_endpoints)
            times = quantile(beside.ms, 0.99) / quantile(alone.ms, 0.99)
            ground.report.row(
                "endpoints" if as_endpoints else "webhook_url",
                kind,
                pair(alone.ms, 0),
                f"{alone.rate:,.0f}",
                pair(beside.ms, 0),
                f"{beside.rate:,.0f}",
                ground.report.at_most(times, BAR, digits=2),
            )
    ground.report.row(f"floor: aiohttp, {CONNECTIONS} connections", NOTHING, NOTHING, f"{bare:,.0f}", *[NOTHING] * 3)


def _run(site: Site, number: int, *, as_endpoints: bool) -> tuple[Seen, Seen, float]:
    with Stack(site.folder, site.database_url, simulator={"latency_s": LATENCY_S, "model_s": 0.5}) as stack:
        return uvloop.run(_measure(stack, number, as_endpoints=as_endpoints))


async def _measure(stack: Stack, number: int, *, as_endpoints: bool) -> tuple[Seen, Seen, float]:
    port = free_port()
    loop = asyncio.get_running_loop()
    hanging = await loop.create_server(asyncio.Protocol, HANGING, port)
    failing = await loop.create_server(_Failing, FAILING, port)
    async with receiver.listening(port) as arrivals:
        # The one event that all are copies of, delivered to warm everything up.
        await asyncio.to_thread(jobs.submit, stack, 1, webhook_url=receiver.hook(port))
        await _until(arrivals, 1)
        names = {host: _endpoint(stack, host, port) if as_endpoints else None for host in (HEALTHY, HANGING, FAILING)}
        alone = await _deliver(stack, arrivals, {HEALTHY: names[HEALTHY]}, number, port)
        beside = await _deliver(stack, arrivals, names, number, port)
        bare = await asyncio.to_thread(floor.posts, stack.folder, receiver.hook(port), beside.body, CONNECTIONS, number)
    hanging.close()
    failing.close()
    return alone, beside, bare.rate


class _Failing(asyncio.Protocol):
    """Answers 500 to whatever comes."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST"):
            self._transport.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")


def _endpoint(stack: Stack, host: str, port: int) -> str:
    """An endpoint that hears of nothing by itself: its deliveries are copied."""
    asked = {"url": f"http://{host}:{port}/hook", "events": ["webhook.ping"]}
    answer = httpx2.post(f"{stack.url}/v1/webhooks", json=asked, headers=stack.headers)
    return str(answer.raise_for_status().json()["id"])


async def _deliver(stack: Stack, arrivals: Arrivals, receivers: dict[str, str | None], number: int, port: int) -> Seen:
    """Events to all of these receivers, due at once; what the healthy one sees of them."""
    before = len(arrivals.times)
    began, body = await asyncio.to_thread(_multiply, stack, receivers, number, port)
    await _until(arrivals, before + number)
    came = sorted(arrivals.times)[before:]
    return Seen([(at - began) * 1000 for at in came], number / (came[-1] - began), body)


async def _until(arrivals: Arrivals, number: int) -> None:
    await asyncio.to_thread(eventually, lambda: len(arrivals.times) >= number, LIMIT_S, f"{number} webhooks")


def _multiply(stack: Stack, receivers: dict[str, str | None], number: int, port: int) -> tuple[float, bytes]:
    """Copy the one event, with a delivery to each receiver, in turn; gives back when that was done, and the body."""
    database = Database(stack.settings.database)
    now = datetime.now(UTC)
    with database.write() as session:
        event = session.scalars(sa.select(Event).where(Event.payload.is_not(None)).limit(1)).one()  # type: ignore[union-attr]
        delivery = session.scalars(sa.select(Delivery).limit(1)).one()
        first = session.scalar(sa.select(sa.func.max(Event.sequence))) or 0
        fresh = {"status": "pending", "created_at": now, "attempts": 0, "delivered_at": None}
        events, deliveries = [], []
        for copy in range(number):
            name = ids.new("evt")
            events.append({**event.model_dump(), "id": name, "sequence": first + 1 + copy})
            for host, endpoint_id in receivers.items():
                to: dict[str, Any] = {
                    "id": ids.new("dlv"),
                    "event_id": name,
                    "host": host,
                    "url": f"http://{host}:{port}/hook",
                }
                due_at = now + timedelta(microseconds=copy)
                deliveries.append(
                    {**delivery.model_dump(), **fresh, **to, "endpoint_id": endpoint_id, "due_at": due_at}
                )
        session.execute(sa.insert(Event), events)
        session.execute(sa.insert(Delivery), deliveries)
        payload = event.payload
    database.close()
    sender = Sender(stack.settings)
    sender.send([Hint(DELIVER)])
    sender.close()
    assert payload is not None
    return time(), payload
