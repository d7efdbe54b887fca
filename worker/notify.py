"""Telling waiting clients that a job moved: Redis publish and subscribe, best effort, never needed for correctness."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import redis
import redis.asyncio

from worker.telemetry import count

CHANNEL = "nightdesk.jobs"


class Waiters:
    """Everyone in this process who waits for a job, behind one subscription."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("redis+socket://", "unix://")
        self._wakers: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)

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

    @contextmanager
    def waiting(self, job_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` whenever the job may have moved."""
        self._wakers[job_id].add(wake)
        try:
            yield
        finally:
            self._wakers[job_id].discard(wake)
            if not self._wakers[job_id]:
                del self._wakers[job_id]

    def _wake(self, data: str) -> None:
        for job_id in data.split():
            for wake in self._wakers.get(job_id, ()):
                wake()

    def _wake_all(self) -> None:
        # Whatever was published while we were away is unknown: everybody looks once.
        for wakers in self._wakers.values():
            for wake in wakers:
                wake()


def message(job_ids: Iterable[str]) -> str:
    """What is published when jobs moved."""
    return " ".join(job_ids)
