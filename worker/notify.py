"""Telling waiting clients that a job moved: Redis publish and subscribe, best effort, never needed for correctness."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import redis
import redis.asyncio

from worker.telemetry import count

CHANNEL = "nightdesk.jobs"


class Waiters:
    """Everyone in this process who waits for a job, behind one subscription."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("redis+socket://", "unix://")
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Wake waiters as notifications come; runs until cancelled, reconnects by itself."""
        while True:
            try:
                async with (
                    redis.asyncio.from_url(self._url, socket_connect_timeout=2) as client,
                    client.pubsub() as sub,
                ):
                    await sub.subscribe(CHANNEL)
                    self._wake_all()
                    while True:
                        message = await sub.get_message(ignore_subscribe_messages=True, timeout=15)
                        if message:
                            self._wake(message["data"].decode())
            except (redis.RedisError, OSError):
                count("nightdesk_notify_failures_total")
                await asyncio.sleep(1)

    @asynccontextmanager
    async def waiting(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the job may have moved."""
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            yield event
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def _wake(self, data: str) -> None:
        for job_id in data.split():
            for event in self._events.get(job_id, ()):
                event.set()

    def _wake_all(self) -> None:
        # Whatever was published while we were away is unknown: everybody looks once.
        for events in self._events.values():
            for event in events:
                event.set()


def message(job_ids: Iterable[str]) -> str:
    """What is published when jobs moved."""
    return " ".join(job_ids)
