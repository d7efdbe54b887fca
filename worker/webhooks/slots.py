"""The cap on concurrent attempts in each lane, so that a slow receiver delays nobody but itself.

Waiting is bounded: a caller holds a claim that runs out, and is told to come back instead.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class _Lane:
    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.users = 0


class Slots:
    """At most `most` attempts at once in each lane, whatever names it; lanes without attempts take no memory."""

    def __init__(self, most: int, wait_s: float | None) -> None:
        self._most = most
        self._wait_s = wait_s
        self._lanes: dict[Hashable, _Lane] = {}

    @asynccontextmanager
    async def hold(self, name: Hashable) -> AsyncIterator[bool]:
        """Hold a slot; yields False if none became free within the wait."""
        lane = self._lanes.setdefault(name, _Lane(self._most))
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
                del self._lanes[name]

    async def _acquire(self, lane: _Lane) -> bool:
        if not lane.free.locked():
            return await lane.free.acquire()
        try:
            async with asyncio.timeout(self._wait_s):
                return await lane.free.acquire()
        except TimeoutError:
            return False
