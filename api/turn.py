"""What keeps the interpreter busy is done one after another: all at once, it would leave nothing to anybody else."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from api.errors import RateLimited
from api.places import FULL_RETRY_S, Places
from worker.telemetry import count

T = TypeVar("T")

MOST = 1000
"""How many wait for their turn, of one project half of them."""

WAIT_S = 30.0
"""How long they wait at most: what asks the database while that is away takes its timeout, one after another."""


class Turn:
    """One process's turn; use it on its event loop."""

    def __init__(self, most: int = MOST, wait_s: float = WAIT_S) -> None:
        self._lock = asyncio.Lock()
        self.places = Places(most, "heavy requests wait for their turn here", kind="heavy")
        self._wait_s = wait_s

    async def take(self, project_id: str, work: Callable[[], T]) -> T:
        """What a function gives, in a thread, when all that came before has ended; raises RateLimited."""
        self.places.check(project_id)
        with self.places.place(project_id):
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._lock.acquire()
            except TimeoutError:
                count("nightdesk_rate_limited_total", kind=self.places.kind)
                message = "a heavy request waited too long for its turn here"
                raise RateLimited(message, limit=self.places.share, retry_after_s=FULL_RETRY_S) from None
            try:
                return await run_in_threadpool(work)
            finally:
                self._lock.release()
