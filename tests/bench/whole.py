"""The whole: N jobs of about D seconds with a webhook each, from the first POST to the last webhook, one worker."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import time

import aiohttp
import httpx2
import orjson
import sqlalchemy as sa
from aiohttp import web

from tests.bench.machine import spread
from tests.stack import Stack, free_port
from worker.database import Database

CLIENTS = 32
DURATION_S = 60.0
LATENCY_S = 0.05
SAMPLE_S = 3.0


@dataclass
class Arrivals:
    """The webhooks that arrived: when, by job, and how often each event came."""

    at: dict[str, float] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.Response:
        """Note one delivery."""
        event = orjson.loads(await request.read())
        self.at.setdefault(event["data"]["id"], time())
        name = request.headers["webhook-id"]
        self.seen[name] = self.seen.get(name, 0) + 1
        return web.Response()


def small(folder: Path, database_url: str = "") -> str:
    """2,000 jobs."""
    return run(folder, database_url, jobs=2_000, limit_s=240)


def large(folder: Path, database_url: str = "") -> str:
    """10,000 jobs."""
    return run(folder, database_url, jobs=10_000, limit_s=420)


def run(folder: Path, database_url: str, *, jobs: int, limit_s: float) -> str:
    """Submit, wait for every webhook, then compare what came with what the simulator did."""
    simulator = {"latency_s": LATENCY_S, "model_s": DURATION_S}
    with Stack(folder, database_url, simulator=simulator) as stack:
        before_s = stack.cpu_s("api", "worker")
        began = time()
        arrivals, peak_mib = asyncio.run(_drive(stack, jobs, limit_s))
        took_s = max(arrivals.at.values(), default=time()) - began
        cpu_s = stack.cpu_s("api", "worker") - before_s
        ended, created = _upstream(stack)
        finished = _finished(stack)
    assert len(arrivals.at) == jobs, f"{jobs - len(arrivals.at)} webhooks are missing"
    detected = [at - ended[name] for name, at in finished.values()]
    delivered = [arrivals.at[job] - ended[name] for job, (name, _) in finished.items()]
    started = [created[name] - began for name, _ in finished.values()]
    return (
        f"{jobs} x {DURATION_S:.0f} s: all done in {took_s:.1f} s, all created in {max(started):.1f} s, "
        f"detected {spread(detected, 's')}, webhook {spread(delivered, 's')}, "
        f"CPU {cpu_s:.1f} s, {peak_mib:.0f} MiB, {sum(arrivals.seen.values()) - jobs} deliveries twice, "
        f"{len(created) - jobs} creates too many"
    )


async def _drive(stack: Stack, jobs: int, limit_s: float) -> tuple[Arrivals, float]:
    arrivals, port = Arrivals(), free_port()
    app = web.Application()
    app.router.add_post("/hook", arrivals.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    body = {"model": "gemini-3.8-flash", "input": "Say hello.", "webhook_url": f"http://127.0.0.1:{port}/hook"}
    peak_mib, give_up = 0.0, time() + limit_s
    try:
        await _submit(stack, iter([body] * jobs))
        while len(arrivals.at) < jobs and time() < give_up:
            peak_mib = max(peak_mib, stack.pss_mib("api", "worker"))
            await asyncio.sleep(SAMPLE_S if len(arrivals.at) == 0 else 0.5)
    finally:
        await runner.cleanup()
    return arrivals, peak_mib


async def _submit(stack: Stack, bodies: Iterator[dict[str, str]]) -> None:
    async with aiohttp.ClientSession(headers=stack.headers) as session:

        async def client() -> None:
            for body in bodies:
                async with session.post(f"{stack.url}/v1/jobs", json=body) as answer:
                    assert answer.status == 202, await answer.text()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


def _upstream(stack: Stack) -> tuple[dict[str, float], dict[str, float]]:
    """When each interaction ended, and when it was created, by its id."""
    ended: dict[str, float] = {}
    created: dict[str, float] = {}
    while True:
        page = httpx2.get(f"{stack.simulator_url}/_sim/interactions", params={"offset": len(ended)}, timeout=30).json()
        for one in page["interactions"]:
            ended[one["id"]], created[one["id"]] = one["ends_at"], one["created_at"]
        if len(ended) >= page["total"]:
            return ended, created


def _finished(stack: Stack) -> dict[str, tuple[str, float]]:
    """The interaction and the time of the terminal status, by job."""
    database = Database(stack.settings.database)
    with database.read() as session:
        rows = session.execute(sa.text("SELECT id, interaction_id, status FROM job")).all()
        moments = dict(session.execute(sa.text("SELECT job_id, max(created_at) FROM event GROUP BY job_id")).all())
    database.close()
    assert all(row.status == "completed" for row in rows), "not every job completed"
    return {row.id: (row.interaction_id, _seconds(moments[row.id])) for row in rows}


def _seconds(moment: object) -> float:
    if isinstance(moment, datetime):
        return moment.timestamp()
    return datetime.fromisoformat(str(moment)).replace(tzinfo=UTC).timestamp()
