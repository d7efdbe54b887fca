"""Waiting for jobs to move: a Redis notification, or one slow look at the database for everybody who waits.

Nobody decides anything by what wakes them: they read their job again.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from worker.context import Context
from worker.errors import Unavailable
from worker.notify import Waiters
from worker.store import events
from worker.store.events import Glance
from worker.telemetry import count

LOOK_EVERY_S = 1.0
LOOK_AT = 500


@dataclass(eq=False, slots=True)
class Waiter:
    """One request that waits for a job: `seen` is the last sequence number it knows of."""

    job_id: str
    seen: int = 0
    is_leaving: Callable[[], bool] = field(default=lambda: False)
    has_moved: bool = True
    """Whether the job may have moved since somebody looked: whoever looks puts it down first."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Say that the job may have moved."""
        self.has_moved = True
        self._bell.set()

    def ring(self) -> None:
        """Say that something else is there for it."""
        self._bell.set()

    async def moved(self, within_s: float) -> bool:
        """Wait until the job may have moved, or it rang; false when the time is over or the process is leaving."""
        if self.is_leaving():
            return False
        try:
            async with asyncio.timeout(within_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return not self.is_leaving()


class Watch:
    """Everybody in this process who waits for a job. Run `listen` and `look` beside it."""

    def __init__(
        self, context: Context, is_leaving: Callable[[], bool] = lambda: False, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._context = context
        self._look_every_s = look_every_s
        self._waiters = Waiters(context.settings.redis_url.get_secret_value())
        self._watched: set[Waiter] = set()
        self.is_leaving = is_leaving

    @property
    def awaited(self) -> set[str]:
        """The jobs that somebody waits for."""
        return {waiter.job_id for waiter in tuple(self._watched)}

    @property
    def waiters(self) -> int:
        """How many wait."""
        return len(self._watched)

    async def listen(self) -> None:
        """Pass notifications on; runs until cancelled."""
        await self._waiters.listen()

    async def look(self) -> None:
        """Look at all awaited jobs together, again and again; runs until cancelled."""
        while True:
            await asyncio.sleep(self._look_every_s)
            if self.is_leaving():
                self._wake(self._watched)
            elif self._watched:
                await self._look(list(self._watched))

    @contextmanager
    def waiting(self, job_id: str) -> Iterator[Waiter]:
        """Enter before the first read of the job, so that no move falls between."""
        waiter = Waiter(job_id, is_leaving=self.is_leaving)
        with self._waiters.waiting(job_id, waiter.wake):
            self._watched.add(waiter)
            try:
                yield waiter
            finally:
                self._watched.discard(waiter)

    async def _look(self, watched: Sequence[Waiter]) -> None:
        job_ids = sorted(self.awaited)
        try:
            found = await run_in_threadpool(self._read, job_ids)
        except Unavailable:
            count("nightdesk_look_failures_total")
            return
        gone = Glance("", -1)
        self._wake(waiter for waiter in watched if found.get(waiter.job_id, gone).sequence != waiter.seen)

    def _read(self, job_ids: Sequence[str]) -> dict[str, Glance]:
        found: dict[str, Glance] = {}
        with self._context.database.read() as session:
            for start in range(0, len(job_ids), LOOK_AT):
                found |= events.glances(session, job_ids[start : start + LOOK_AT])
        return found

    @staticmethod
    def _wake(waiters: Iterable[Waiter]) -> None:
        for waiter in waiters:
            waiter.wake()
