"""What keeps the interpreter busy is done one after another: all at once, it would leave nothing to anybody else.

Projects take turns: nobody waits behind all that another project asks for.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from api.errors import RateLimited
from api.places import FULL_RETRY_S, Places
from api.rota import Rota
from worker.telemetry import count

T = TypeVar("T")

MOST = 1000
"""How many wait for their turn, of one project half of them."""

WAIT_S = 30.0
"""How long they wait at most: what asks the database while that is away takes its timeout, one after another."""


class Turn:
    """One process's turn; use it on its event loop. The threads are the framework's but for a `limiter` of its own."""

    def __init__(self, most: int = MOST, wait_s: float = WAIT_S, limiter: CapacityLimiter | None = None) -> None:
        self.places = Places(most, "heavy requests wait for their turn here", kind="heavy")
        self._waiting: Rota[asyncio.Future[None]] = Rota()
        self._is_taken = False
        self._wait_s = wait_s
        self._limiter = limiter

    async def take(self, project_id: str, work: Callable[[], T]) -> T:
        """What a function gives, in a thread, when it is this project's turn; raises RateLimited."""
        self.places.check(project_id)
        with self.places.place(project_id):
            await self._come(project_id)
            try:
                return await to_thread.run_sync(work, limiter=self._limiter)
            finally:
                self._pass_on()

    async def _come(self, project_id: str) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(project_id, mine)
        try:
            async with asyncio.timeout(self._wait_s):
                await mine
        except BaseException as error:
            if not mine.cancelled():
                # It had just come.
                self._pass_on()
            if not isinstance(error, TimeoutError):
                raise
            count("nightdesk_rate_limited_total", kind=self.places.kind)
            message = "a heavy request waited too long for its turn here"
            raise RateLimited(message, limit=self.places.share, retry_after_s=FULL_RETRY_S) from None

    def _pass_on(self) -> None:
        """Give the turn to the next who has not given up."""
        while self._waiting:
            waiter = self._waiting.take()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._is_taken = False
