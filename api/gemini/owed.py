"""A create that a client sends again gets the job that it made the first time, as long as nobody had its answer.

Both SDKs send a create again, up to four times and with nothing that tells it from a new one, when they are answered
5xx or 429; the JavaScript one also when its connection breaks. So every create writes down, with its job, that an
answer is owed, and strikes it out once the answer is out. Another create with the same key and body takes an answer
over whose request is gone. Two such requests alive at the same time are two: whoever samples a model wants both.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from sqlmodel import Session

from api.threads import run_in_threadpool
from worker import ids
from worker.context import Context
from worker.errors import Unavailable
from worker.store import jobs, owed
from worker.telemetry import count

TOUCH_EVERY_S = 1.5
LOOK_AGAIN_S = 0.25
GATHER_S = 0.05
ALIVE = timedelta(seconds=6)
"""How old a request's last sign of life may be: in another process, or one that was killed."""

KEPT = timedelta(minutes=10)
"""How long an answer that nobody waits for can be taken over."""

AT_MOST = timedelta(days=1)


class Debt(NamedTuple):
    """An answer that is owed: to which creates, and about which job."""

    project_id: str
    path: str
    job_id: str


@dataclass(slots=True)
class Account:
    """What one request owes."""

    debt: Debt | None = None
    is_answered: bool = False


class Owed:
    """The answers that requests of this process wait for. Use it on one event loop; run `keep` beside it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: set[Debt] = set()
        self._answered: set[Debt] = set()
        self._changed = asyncio.Event()
        self._touched_at = context.clock()

    async def take_over(self, project_id: str, path: str) -> str | None:
        """The job of an equal create that was never answered; None: there is none, this create is a new one.

        It waits a moment where that depends on whether a request of another process is still alive.
        """
        first: dict[str, datetime] = {}
        while True:
            now = self._context.clock()
            found = await run_in_threadpool(self._read, partial(owed.unanswered, project_id=project_id, path=path))
            is_doubtful = False
            for job_id, at in sorted(found.items()):
                debt = Debt(project_id, path, job_id)
                if debt in self._waiting or at != first.setdefault(job_id, at) or not _is_recent(job_id, at, now):
                    continue
                if at > now - ALIVE:
                    is_doubtful = True
                elif await run_in_threadpool(self._take, debt, at, now):
                    count("nightdesk_door_rejoined_total")
                    return job_id
            if not is_doubtful:
                return None
            await asyncio.sleep(LOOK_AGAIN_S)

    def begin(self, debt: Debt) -> None:
        """Somebody waits for this answer from now on; goes before the debt is written down."""
        self._waiting.add(debt)

    async def give_up(self, debt: Debt) -> None:
        """Nobody waits here any more: whoever sends the same create now gets the answer without delay."""
        self._waiting.discard(debt)
        touch = partial(owed.touch, entries=[debt], at=self._context.clock() - ALIVE)
        await asyncio.shield(run_in_threadpool(self._write, touch))

    def settle(self, debt: Debt) -> None:
        """The answer is out; it is struck out with others."""
        self._answered.add(debt)
        self._changed.set()

    async def keep(self) -> None:
        """Strike out what was answered, and tell other processes that these requests are alive; until cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TOUCH_EVERY_S):
                        await self._changed.wait()
                    await asyncio.sleep(GATHER_S)
                await self._strike_out()
                await self._touch()
        finally:
            await asyncio.shield(self._strike_out())

    async def _strike_out(self) -> None:
        self._changed.clear()
        paid, self._answered = self._answered, set()
        if not paid:
            return
        if await run_in_threadpool(self._write, partial(owed.answered, entries=paid)):
            self._waiting -= paid
        else:
            # Whoever asks the same once more would get the old answer: it is tried again.
            self._answered |= paid

    async def _touch(self) -> None:
        now = self._context.clock()
        if self._waiting and now >= self._touched_at + timedelta(seconds=TOUCH_EVERY_S):
            self._touched_at = now
            await run_in_threadpool(self._write, partial(owed.touch, entries=set(self._waiting), at=now))

    def _take(self, debt: Debt, seen: datetime, now: datetime) -> bool:
        with self._context.database.write() as session:
            is_there = jobs.get(session, debt.job_id, debt.project_id) is not None
            return is_there and owed.take(session, *debt, seen=seen, now=now)

    def _read(self, query: Callable[[Session], dict[str, datetime]]) -> dict[str, datetime]:
        with self._context.database.read() as session:
            return query(session)

    def _write(self, statement: Callable[[Session], None]) -> bool:
        """Whether it is written."""
        try:
            with self._context.database.write() as session:
                statement(session)
        except Unavailable:
            count("nightdesk_door_debt_failures_total")
            return False
        return True


def _is_recent(job_id: str, at: datetime, now: datetime) -> bool:
    """Not when it was last waited for too long ago; old rows are dated anew when keys are pruned."""
    return at > now - KEPT - ALIVE and job_id >= ids.first("job", now - AT_MOST)
