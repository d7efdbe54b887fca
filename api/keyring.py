"""Who holds an API key: always asked of the database, so that a revoked key is refused at once.

Requests that ask while a look-up is under way share the next one: many at once cost one query, and none is answered
from before it asked.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic

from starlette.concurrency import run_in_threadpool

from worker.context import Context
from worker.errors import NightdeskError
from worker.store import holders, projects
from worker.store.holders import Holder
from worker.telemetry import count

GATHER_S = 0.01
RECALL_EVERY_S = 1.0
TOUCH_EVERY = timedelta(minutes=1)
KNOWN = 10_000
"""Good keys remembered as such: not for what they may do, but so as not to take them for guesses."""


class Keyring:
    """Looks keys up by digest; use it on one event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[str, asyncio.Future[Holder | None]] = {}
        self._touched: dict[str, datetime] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_busy = False
        self._recalled: frozenset[str] = frozenset()
        self._recalled_at = -math.inf
        self._recalling = asyncio.Lock()

    async def find(self, digest: str) -> Holder | None:
        """Who holds the key with this digest; None where nobody does (any more). Raises Unavailable."""
        answer = self._asked.get(digest)
        if answer is None:
            answer = self._asked[digest] = asyncio.get_running_loop().create_future()
            if not self._is_busy:
                self._is_busy = True
                self._spawn(self._look())
        holder = await asyncio.shield(answer)
        self._known.pop(digest, None)
        if holder is not None:
            self._known[digest] = None
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
            self._touch(holder)
        return holder

    def knows(self, digest: str) -> bool:
        """Whether somebody held this key when it was last asked for."""
        return digest in self._known

    async def recalls(self, digest: str) -> bool:
        """Whether somebody held this key a moment ago: all keys at once, so that many who guess cost one query."""
        async with self._recalling:
            if monotonic() >= self._recalled_at + RECALL_EVERY_S:
                with suppress(NightdeskError):
                    self._recalled = await run_in_threadpool(self._read_all)
                self._recalled_at = monotonic()
        return digest in self._recalled

    async def close(self) -> None:
        """Wait for what is still being written."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
                if self._asked:
                    # Only where many ask at once: a look-up costs more than the moment in which it gathers others.
                    await asyncio.sleep(GATHER_S)
        finally:
            self._is_busy = False

    async def _answer(self, asked: dict[str, asyncio.Future[Holder | None]]) -> None:
        try:
            found = await run_in_threadpool(self._read, list(asked))
        except Exception as error:  # noqa: BLE001 - handed to everybody who asked
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # nobody may be waiting any more
            return
        for digest, answer in asked.items():
            answer.set_result(found.get(digest))

    def _read(self, digests: Sequence[str]) -> dict[str, Holder]:
        now = self._context.clock()
        with self._context.database.read() as session:
            return holders.of_digests(session, digests, now)

    def _read_all(self) -> frozenset[str]:
        now = self._context.clock()
        with self._context.database.read() as session:
            return holders.digests(session, now, KNOWN)

    def _touch(self, holder: Holder) -> None:
        now = self._context.clock()
        last = max(filter(None, (holder.last_used_at, self._touched.get(holder.key_id))), default=None)
        if last is None or now - last >= TOUCH_EVERY:
            self._touched[holder.key_id] = now
            self._spawn(run_in_threadpool(self._write, holder.key_id, now))

    def _write(self, key_id: str, now: datetime) -> None:
        try:
            with self._context.database.write() as session:
                projects.touch_key(session, key_id, now)
        except NightdeskError:
            count("nightdesk_key_touch_failures_total")

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
