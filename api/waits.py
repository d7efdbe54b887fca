"""Waiting for jobs to move: a Redis notification, or one slow look at the database for everybody who waits.

Nobody decides anything by what wakes them: they read their job again.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from worker.context import Context
from worker.errors import Unauthenticated, Unavailable
from worker.notify import Waiters
from worker.store import events, holders
from worker.store.events import Glance
from worker.telemetry import count, crashed

LOOK_EVERY_S = 1.0
LOOK_AT = 500


@dataclass(eq=False, slots=True)
class Waiter:
    """One request that waits for a job: `seen` is the last sequence number it knows of."""

    job_id: str
    key_id: str
    seen: int = 0
    is_leaving: Callable[[], bool] = field(default=lambda: False)
    has_moved: bool = True
    """Whether the job may have moved since somebody looked: whoever looks puts it down first."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _is_barred: bool = False

    def wake(self) -> None:
        """Say that the job may have moved."""
        self.has_moved = True
        self._bell.set()

    def ring(self) -> None:
        """Say that something else is there for it."""
        self._bell.set()

    def bar(self) -> None:
        """Say that its key is no more."""
        self._is_barred = True
        self._bell.set()

    async def moved(self, within_s: float) -> bool:
        """Wait until the job may have moved, or it rang; false when the time is over or the process is leaving.

        Raises Unauthenticated where its key has ended meanwhile.
        """
        if self.is_leaving():
            return False
        try:
            async with asyncio.timeout(within_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        if self._is_barred:
            raise Unauthenticated("this API key was revoked or has expired")
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
    def waiting(self, job_id: str, key_id: str) -> Iterator[Waiter]:
        """Enter before the first read of the job, so that no move falls between; it lasts as long as the key."""
        waiter = Waiter(job_id, key_id, is_leaving=self.is_leaving)
        with self._waiters.waiting(job_id, waiter.wake):
            self._watched.add(waiter)
            try:
                yield waiter
            finally:
                self._watched.discard(waiter)

    async def _look(self, watched: Sequence[Waiter]) -> None:
        try:
            found, living = await run_in_threadpool(self._read, watched)
        except Unavailable:
            count("nightdesk_look_failures_total")
            return
        except Exception as error:  # noqa: BLE001 - whoever looks must look again: nobody else ends what a key has opened
            crashed("waits.look", error)
            return
        gone = Glance("", -1)
        self._wake(waiter for waiter in watched if found.get(waiter.job_id, gone).sequence != waiter.seen)
        for waiter in watched:
            if waiter.key_id not in living:
                waiter.bar()

    def _read(self, watched: Sequence[Waiter]) -> tuple[dict[str, Glance], set[str]]:
        """How the jobs stand that are waited for, and who of those who wait still has a key."""
        job_ids = sorted({waiter.job_id for waiter in watched})
        found: dict[str, Glance] = {}
        with self._context.database.read() as session:
            living = holders.living(session, {waiter.key_id for waiter in watched}, self._context.clock())
            for start in range(0, len(job_ids), LOOK_AT):
                found |= events.glances(session, job_ids[start : start + LOOK_AT])
        return found, living

    @staticmethod
    def _wake(waiters: Iterable[Waiter]) -> None:
        for waiter in waiters:
            waiter.wake()
