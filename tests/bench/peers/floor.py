"""The floor: a bare asyncio and aiohttp script that creates, polls and sends webhooks. Nothing survives its end.

Run as `python -m tests.bench.peers.floor UPSTREAM HOOK JOBS`; it stays until it is ended, so that it can be measured.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

import aiohttp
import uvloop

from tests.bench.peers.schedule import RUNNING, wait_s

CONNECTIONS = 256
BODY = {"model": "gemini-3.8-flash", "input": "Say hello.", "background": True}


async def work(session: aiohttp.ClientSession, upstream: str, hook: str, number: int) -> None:
    """One job from its create to its webhook."""
    created_at = datetime.now(UTC)
    async with session.post(f"{upstream}/v1/interactions", json=BODY) as answer:
        name, polls = (await answer.json())["id"], 0
    while True:
        await asyncio.sleep(wait_s(polls))
        async with session.get(f"{upstream}/v1/interactions/{name}") as answer:
            interaction = json.loads(await answer.read())
        if interaction["status"] not in RUNNING:
            break
        polls += 1
    moments = {"created_at": created_at.isoformat(), "finished_at": datetime.now(UTC).isoformat()}
    job = {"id": str(number), "interaction_id": name, "output": interaction["steps"], **moments}
    async with session.post(hook, json={"type": "job.completed", "data": job}) as answer:
        assert answer.status == 204


async def main(upstream: str, hook: str, jobs: int) -> None:
    """All jobs at once."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"x-goog-api-key": "simulated"}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        await asyncio.gather(*(work(session, upstream, hook, number) for number in range(jobs)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
