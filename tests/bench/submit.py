"""Submit: what one API process accepts, beside the plainest handler that commits a row and calls `.delay()`."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import aiohttp
import httpx2
import psutil
import sqlalchemy as sa

from tests.bench.machine import quantile, spread
from tests.stack import Stack, free_port
from tests.waiting import eventually
from worker.database import Database

CLIENTS = 32
RUN_S = 10.0
BODY = {"model": "gemini-3.8-flash", "input": "Say hello.", "metadata": {"bench": "submit"}}
PEER = ("-m", "uvicorn", "tests.bench.peers.plain_api:build", "--factory", "--log-level=warning")


@dataclass(frozen=True)
class Load:
    """What 32 clients saw in RUN_S seconds."""

    latencies_s: list[float]
    took_s: float

    @property
    def rate(self) -> float:
        """Answers of 202 in a second."""
        return len(self.latencies_s) / self.took_s

    def __str__(self) -> str:
        return f"{self.rate:,.0f} jobs/s, {spread(self.latencies_s, 'ms', 1000)}"


def run(folder: Path, database_url: str = "") -> str:
    """The API without workers, then the plain handler beside it, on the same kind of database."""
    with Stack(folder / "ours", database_url, workers=0) as stack:
        before_s = stack.cpu_s("api")
        ours = asyncio.run(_load(f"{stack.url}/v1/jobs", stack.headers))
        cpu_ms = (stack.cpu_s("api") - before_s) / len(ours.latencies_s) * 1000
        stored = _rows(stack.settings.database, "job")
        plain, plain_stored = _plain(stack, folder / "plain.db")
    assert stored == len(ours.latencies_s), f"{len(ours.latencies_s)} answers of 202, but {stored} rows"
    assert plain_stored == len(plain.latencies_s)
    tail = quantile(ours.latencies_s, 0.99) / quantile(plain.latencies_s, 0.99)
    return (
        f"{ours}, API CPU {cpu_ms:.2f} ms a job; plainest handler: {plain}; "
        f"{ours.rate / plain.rate:.1f} x its rate, {tail:.2f} x its p99"
    )


def _plain(stack: Stack, file: Path) -> tuple[Load, int]:
    """The same load on the plain handler, on a database of the same kind."""
    ours = stack.settings.database
    database = ours if ours.startswith("postgresql") else f"sqlite:///{file}"
    port = free_port()
    environment = {"PEER_DATABASE_URL": database, "PEER_REDIS_URL": stack.redis.url}
    stack.spawn("plain", [sys.executable, *PEER, f"--port={port}"], environment)
    eventually(lambda: _answers(stack.processes["plain"], port), within_s=20)
    load = asyncio.run(_load(f"http://127.0.0.1:{port}/v1/jobs", {}))
    return load, _rows(database, "plain_job")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    assert psutil.pid_exists(process.pid)
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/docs", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def _rows(url: str, table: str) -> int:
    database = Database(url)
    with database.read() as session:
        stored = int(session.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
    database.close()
    return stored


async def _load(url: str, headers: Mapping[str, str]) -> Load:
    latencies_s: list[float] = []
    began = perf_counter()
    async with aiohttp.ClientSession(headers=headers) as session:

        async def client() -> None:
            while perf_counter() - began < RUN_S:
                sent = perf_counter()
                async with session.post(url, json=BODY) as answer:
                    assert answer.status == 202, await answer.text()
                    await answer.read()
                latencies_s.append(perf_counter() - sent)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Load(latencies_s, perf_counter() - began)
