"""The cap on concurrent attempts for each host, so that a slow receiver delays nobody but itself.

Waiting is bounded: a caller holds a claim that runs out, and is told to come back instead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Lane:
    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.users = 0


class Slots:
    """At most `per_host` attempts at once for each host; hosts without attempts take no memory."""

    def __init__(self, per_host: int, wait_s: float | None) -> None:
        self._per_host = per_host
        self._wait_s = wait_s
        self._lanes: dict[str, _Lane] = {}

    @asynccontextmanager
    async def hold(self, host: str) -> AsyncIterator[bool]:
        """Hold a slot; yields False if none became free within the wait."""
        lane = self._lanes.setdefault(host, _Lane(self._per_host))
        lane.users += 1
        try:
            held = await self._acquire(lane)
            try:
                yield held
            finally:
                if held:
                    lane.free.release()
        finally:
            lane.users -= 1
            if not lane.users:
                del self._lanes[host]

    async def _acquire(self, lane: _Lane) -> bool:
        if not lane.free.locked():
            return await lane.free.acquire()
        try:
            async with asyncio.timeout(self._wait_s):
                return await lane.free.acquire()
        except TimeoutError:
            return False
