"""Deliver: how many webhooks one worker sends in a second, beside a bare aiohttp client posting the same bytes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa
import uvloop

from tests.bench import floor, jobs, receiver, usage
from tests.bench.floor import Floor
from tests.bench.ground import LATENCY_S, Ground, Site
from tests.bench.receiver import Arrivals
from tests.bench.table import NOTHING
from tests.stack import Stack, free_port
from tests.waiting import eventually
from worker import ids
from worker.database import Database
from worker.models import Delivery, Event

NUMBER = 3_000
HOSTS = [f"127.0.0.{number}" for number in range(1, 9)]
"""A worker sends only some webhooks at a time to one host: eight receivers let it do what it can."""

CONNECTIONS = 64
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was seen: webhooks in a second, the worker's CPU for each, how many came twice."""

    rate: float
    cpu_us: float
    twice: int


def run(ground: Ground) -> None:
    """Webhooks that all are due at once, to one receiver and to eight."""
    number = 300 if ground.is_quick else NUMBER
    ground.report.table(
        f"Deliver: {number:,} webhooks that are due at once",
        "program",
        "database",
        "receivers",
        "webhooks/s",
        "CPU us a webhook",
        "twice",
    )
    for kind in ground.databases:
        for hosts in (HOSTS[:1], HOSTS):
            with ground.site(kind) as site:
                sent, bare = _run(site, number, hosts)
            cells = [f"{sent.rate:,.0f}", f"{sent.cpu_us:.0f}", str(sent.twice)]
            ground.report.row("Nightdesk", kind, str(len(hosts)), *cells)
    ground.report.row(
        f"floor: aiohttp, {CONNECTIONS} connections", NOTHING, "1", f"{bare.rate:,.0f}", f"{bare.cpu_us:.0f}", NOTHING
    )


def _run(site: Site, number: int, hosts: list[str]) -> tuple[Sent, Floor]:
    port = free_port()
    with Stack(site.folder, site.database_url, simulator={"latency_s": LATENCY_S, "model_s": 0.5}) as stack:
        return uvloop.run(_measure(stack, number, hosts, port))


async def _measure(stack: Stack, number: int, hosts: list[str], port: int) -> tuple[Sent, Floor]:
    worker = [stack.processes["worker-0"]]
    async with receiver.listening(port, hosts) as arrivals:
        await asyncio.to_thread(jobs.submit, stack, 1, webhook_url=receiver.hook(port))
        await _until(arrivals, 1)
        cpu_s = usage.cpu_s(worker)
        body = _multiply(stack, number, hosts, port)
        await _until(arrivals, number + 1)
        cpu_s = usage.cpu_s(worker) - cpu_s
        times = sorted(arrivals.times)[1:]
        sent = Sent((len(times) - 1) / (times[-1] - times[0]), cpu_s / number * 1e6, arrivals.twice)
        post = partial(floor.posts, stack.folder, receiver.hook(port), body, CONNECTIONS, number)
        return sent, await asyncio.to_thread(post)


async def _until(arrivals: Arrivals, number: int) -> None:
    await asyncio.to_thread(eventually, lambda: len(arrivals.seen) >= number, LIMIT_S, f"{number} webhooks")


def _multiply(stack: Stack, number: int, hosts: list[str], port: int) -> bytes:
    """Copy the one event and its delivery, all due now; gives back the payload."""
    database = Database(stack.settings.database)
    now = datetime.now(UTC)
    with database.write() as session:
        event = session.scalars(sa.select(Event).where(Event.payload.is_not(None))).one()  # type: ignore[union-attr]
        delivery = session.scalars(sa.select(Delivery)).one()
        fresh = {"status": "pending", "created_at": now, "due_at": now, "attempts": 0, "delivered_at": None}
        events, deliveries = [], []
        for copy in range(number):
            host = hosts[copy % len(hosts)]
            name = ids.new("evt")
            events.append({**event.model_dump(), "id": name, "sequence": 1000 + copy})
            to = {"id": ids.new("dlv"), "event_id": name, "host": host, "url": f"http://{host}:{port}/hook"}
            deliveries.append({**delivery.model_dump(), **fresh, **to})
        session.execute(sa.insert(Event), events)
        session.execute(sa.insert(Delivery), deliveries)
        payload = event.payload
    database.close()
    assert payload is not None
    return payload
