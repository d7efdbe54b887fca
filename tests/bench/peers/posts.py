"""The floor of delivering: a bare aiohttp client that POSTs the same bytes, and tells its CPU.

Run as `python -m tests.bench.peers.posts URL FILE CONNECTIONS NUMBER`.
"""

import asyncio
import json
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import aiohttp
import uvloop

HEADERS = {"Content-Type": "application/json"}


async def main(url: str, body: bytes, connections: int, number: int) -> None:
    """Warm up, measure, print."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post() -> None:
            async with session.post(url, data=body) as answer:
                assert answer.status == 204

        await asyncio.gather(*(post() for _ in range(connections)))
        used, began = getrusage(RUSAGE_SELF), perf_counter()
        await asyncio.gather(*(post() for _ in range(number)))
        now, took_s = getrusage(RUSAGE_SELF), perf_counter() - began
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(json.dumps({"cpu_us": cpu_s / number * 1e6, "rate": number / took_s}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3]), int(sys.argv[4])))
