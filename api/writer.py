"""Group commit: orders of concurrent requests are written by one thread, many in one transaction.

A 202 still follows the commit: the future of each order is resolved when its transaction has ended.
"""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

from worker.context import Context
from worker.errors import NightdeskError, Unavailable
from worker.flow import limits, submit
from worker.flow.backlog import Backlog
from worker.flow.quota import Quota
from worker.flow.submit import Accepted, Order
from worker.telemetry import count, log

MAX_ORDERS = 256
MAX_JOBS = 1000
"""What one transaction takes at most: the first to reach its bound ends the group."""

MAX_WAITING = 2048
MAX_WAITING_BYTES = 256 * 1024 * 1024
MAX_WAIT_S = 10.0
"""How long the first that waits may have waited for another to be taken: a database that is slow is not made slower."""


@dataclass(frozen=True, slots=True)
class _Slip:
    """An order and whoever waits for it."""

    order: Order
    size: int
    future: asyncio.Future[Accepted]
    since: float = field(default_factory=monotonic)


class Writer:
    """Serves one event loop. Start it before the first order; stopping finishes every order taken."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop, *, max_wait_s: float = MAX_WAIT_S) -> None:
        self._context = context
        self._max_wait_s = max_wait_s
        self._loop = loop
        self._waiting: deque[_Slip] = deque()
        self._bytes = 0
        self._backlog = Backlog()
        self._quota = Quota(limits.usual(context.settings))
        self._is_stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more orders, write those taken, and end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    async def submit(self, order: Order) -> Accepted:
        """Write an order; raises what refused it, and Unavailable when too much waits already."""
        size = sum(len(draft.body) for draft in order.drafts)
        slip = _Slip(order, size, self._loop.create_future())
        with self._changed:
            if self._is_stopping or (self._waiting and self._is_busy(size)):
                count("nightdesk_submissions_turned_away_total")
                raise Unavailable("too many submissions wait to be written; try again")
            self._waiting.append(slip)
            self._bytes += size
            self._changed.notify()
        return await slip.future

    def _is_busy(self, size: int) -> bool:
        is_full = len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES
        return is_full or monotonic() > self._waiting[0].since + self._max_wait_s

    def _run(self) -> None:
        while group := self._take():
            self._write(group)

    def _take(self) -> list[_Slip]:
        """The next group; empty when stopped and nothing waits any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_stopping)
            group: list[_Slip] = []
            room = MAX_JOBS
            while self._waiting and len(group) < MAX_ORDERS:
                jobs = len(self._waiting[0].order.drafts)
                if group and jobs > room:
                    break
                room -= jobs
                group.append(self._waiting.popleft())
                self._bytes -= group[-1].size
            return group

    def _write(self, group: list[_Slip]) -> None:
        try:
            outcomes: list[Accepted | Exception] = [
                *submit.accept(self._context, [slip.order for slip in group], self._backlog, self._quota)
            ]
        except NightdeskError as error:
            outcomes = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - logged, and handed to whoever waits
            log.exception("submit", outcome="rolled_back", error=type(error).__name__, orders=len(group))
            if len(group) > 1:
                # One bad row rolls back its whole group: each order alone, so that only its own request fails.
                for slip in group:
                    self._write([slip])
                return
            outcomes = [error]
        self._tell(group, outcomes)

    def _tell(self, group: list[_Slip], outcomes: list[Accepted | Exception]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, group, outcomes)
        except RuntimeError:
            log.warning("submit", outcome="unheard", orders=len(group))  # the loop is closed; the rows stand


def _resolve(group: list[_Slip], outcomes: list[Accepted | Exception]) -> None:
    for slip, outcome in zip(group, outcomes, strict=True):
        if slip.future.done():
            continue  # whoever waited was cancelled
        if isinstance(outcome, Exception):
            slip.future.set_exception(outcome)
        else:
            slip.future.set_result(outcome)
