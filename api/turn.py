"""What keeps the interpreter busy is done one after another: all at once, it would leave nothing to anybody else."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from api.places import Places

T = TypeVar("T")

MOST = 1000
"""How many wait for their turn, of one project half of them."""


class Turn:
    """One process's turn; use it on its event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._lock = asyncio.Lock()
        self.places = Places(most, "heavy requests wait for their turn here", kind="heavy")

    async def take(self, project_id: str, work: Callable[[], T]) -> T:
        """What a function gives, in a thread, when all that came before has ended; raises RateLimited."""
        self.places.check(project_id)
        with self.places.place(project_id):
            async with self._lock:
                return await run_in_threadpool(work)
