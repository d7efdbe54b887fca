"""The floor of polling: a bare aiohttp client that GETs interactions and parses their JSON, and tells its CPU.

Run as `python -m tests.bench.peers.gets UPSTREAM FILE CONNECTIONS MODE SECONDS`; FILE holds one id a line.
Mode `flat`: all of them again and again, 500 at a time, as fast as it goes. `paced`: each once in 9 to 10 s.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import aiohttp
import uvloop

CHUNK = 500
PERIOD_S, JITTER = 10.0, 0.1


class Client:
    """One pool of connections, and how many answers came over it."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream
        self.gets = 0

    async def get(self, name: str) -> None:
        """One look."""
        async with self._session.get(f"{self._upstream}/v1/interactions/{name}?stream=false") as answer:
            assert json.loads(await answer.read())["status"]
        self.gets += 1

    async def get_every(self, name: str) -> None:
        """A look every PERIOD_S, as a job at the cap of its schedule is polled."""
        await asyncio.sleep(PERIOD_S * random.random())
        while True:
            await self.get(name)
            await asyncio.sleep(PERIOD_S * (1 - JITTER * random.random()))


async def flat(client: Client, names: list[str], seconds: float) -> None:
    """As many as go."""
    until = perf_counter() + seconds
    while perf_counter() < until:
        for place in range(0, len(names), CHUNK):
            await asyncio.gather(*(client.get(name) for name in names[place : place + CHUNK]))


@asynccontextmanager
async def opened(upstream: str, connections: int) -> AsyncIterator[Client]:
    """A client for a while."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(headers={"x-goog-api-key": "simulated"}, connector=connector) as session:
        yield Client(session, upstream)


async def main(upstream: str, names: list[str], connections: int, mode: str, seconds: float) -> None:
    """Warm up, measure, print."""
    async with opened(upstream, connections) as client:
        tasks = [asyncio.create_task(client.get_every(name)) for name in names] if mode == "paced" else []
        await (asyncio.sleep(PERIOD_S) if tasks else flat(client, names[:CHUNK], 0))
        gets, used, began = client.gets, getrusage(RUSAGE_SELF), perf_counter()
        await (asyncio.sleep(seconds) if tasks else flat(client, names, seconds))
        gets, now, took_s = client.gets - gets, getrusage(RUSAGE_SELF), perf_counter() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(json.dumps({"gets": gets, "cpu_us": cpu_s / gets * 1e6, "rate": gets / took_s}), flush=True)


if __name__ == "__main__":
    uvloop.run(
        main(sys.argv[1], Path(sys.argv[2]).read_text().split(), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
    )
