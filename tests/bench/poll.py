"""Poll: what one worker pays for each look at a running interaction, beside a bare aiohttp loop doing only the GETs."""

import asyncio
import json
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import monotonic

import aiohttp
import httpx2
import sqlalchemy as sa

from tests.stack import Stack
from tests.waiting import eventually
from worker.database import Database

JOBS = 2000
LATENCY_S = 0.05
SETTLE_IN_S = 12.0
WINDOW_S = 20.0
FLOOR_GETS = 8000
FLOOR_AT_ONCE = 200


def run(folder: Path, database_url: str = "") -> str:
    """2,000 running interactions, polled each second; a window of 20 s after all were created."""
    env = {f"NIGHTDESK_POLL_MODEL_{name}": "1" for name in ("START_S", "FACTOR", "CAP_S")}
    simulator = {"latency_s": LATENCY_S, "model_s": 3600}
    with Stack(folder, database_url, simulator=simulator, env=env) as stack:
        _submit(stack)
        database = Database(stack.settings.database)
        eventually(lambda: _in_flight(database) == JOBS, within_s=180)
        _let_pass(SETTLE_IN_S)
        polls, cpu_s = _polls(database), stack.cpu_s("worker")
        _let_pass(WINDOW_S)
        polls, cpu_s = _polls(database) - polls, stack.cpu_s("worker") - cpu_s
        late_s = _overdue_s(database)
        memory_mib = stack.pss_mib("worker")
        floor_us = asyncio.run(_floor(stack.simulator_url)) * 1e6
        database.close()
    each_us = cpu_s / polls * 1e6
    return (
        f"{polls / WINDOW_S:,.0f} polls/s of {JOBS} wanted, worker CPU {each_us:.0f} us a poll "
        f"(floor {floor_us:.0f} us, ratio {each_us / floor_us:.2f}), {cpu_s / WINDOW_S:.0%} of a core, "
        f"most overdue row {late_s:.2f} s, worker {memory_mib:.0f} MiB"
    )


def _submit(stack: Stack) -> None:
    body = {"model": "gemini-3.8-flash", "input": "Say hello.", "timeout_seconds": 7200}
    for _ in range(JOBS // 1000):
        jobs = {"jobs": [body] * 1000}
        httpx2.post(f"{stack.url}/v1/jobs/batch", json=jobs, headers=stack.headers, timeout=60).raise_for_status()


def _scalar(database: Database, statement: str) -> float:
    with database.read() as session:
        return float(session.execute(sa.text(statement)).scalar_one() or 0)


def _in_flight(database: Database) -> int:
    return int(_scalar(database, "SELECT count(*) FROM job WHERE status = 'in_progress'"))


def _polls(database: Database) -> float:
    return _scalar(database, "SELECT sum(polls) FROM job")


def _overdue_s(database: Database) -> float:
    with database.read() as session:
        lags = session.execute(
            sa.text("SELECT labels, value FROM counter WHERE name LIKE 'nightdesk_poll_lag_seconds_b%'")
        )
        buckets = sorted((float(json.loads(labels)["le"].replace("+Inf", "inf")), value) for labels, value in lags)
    whole = buckets[-1][1]
    return next(bound for bound, value in buckets if value >= 0.99 * whole)


def _let_pass(seconds: float) -> None:
    until = monotonic() + seconds
    eventually(lambda: monotonic() > until, within_s=seconds + 5)


async def _floor(url: str) -> float:
    """CPU seconds of this process for each bare GET and its JSON, of interactions that run."""
    headers = {"x-goog-api-key": "simulated"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=FLOOR_AT_ONCE)) as session:
        body = {"model": "gemini-3.8-flash", "input": "Say hello.", "background": True}
        async with session.post(f"{url}/v1/interactions", json=body) as made:
            name = (await made.json())["id"]

        async def get() -> None:
            async with session.get(f"{url}/v1/interactions/{name}?stream=false") as answer:
                assert json.loads(await answer.read())["status"] == "in_progress"

        await asyncio.gather(*(get() for _ in range(FLOOR_AT_ONCE)))
        before = getrusage(RUSAGE_SELF)
        for _ in range(FLOOR_GETS // FLOOR_AT_ONCE):
            await asyncio.gather(*(get() for _ in range(FLOOR_AT_ONCE)))
        after = getrusage(RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / FLOOR_GETS
