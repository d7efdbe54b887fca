"""Group commit: orders of concurrent requests are written by one thread, many in one transaction.

A 202 still follows the commit: the future of each order is resolved when its transaction has ended. Projects take
turns: whatever one of them submits, another waits about as long as one transaction takes.
"""

import asyncio
import threading
from dataclasses import dataclass, field
from time import monotonic

from api.places import Places
from api.rota import Rota
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

MAX_WAITING = 4096
MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Of these, one project may have half."""

MAX_WAIT_S = 10.0
"""How long a project's first may have waited for another to be taken: a database that is slow is not made slower."""


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
        self._waiting: Rota[_Slip] = Rota()
        self._orders = Places(MAX_WAITING, "orders wait to be written here", kind="orders")
        self._bytes = Places(MAX_WAITING_BYTES, "bytes wait to be written here", kind="order_bytes")
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
            if self._is_stopping or not self._has_room(slip):
                count("nightdesk_submissions_turned_away_total")
                raise Unavailable("too many submissions wait to be written; try again")
            self._waiting.add(order.project_id, slip)
            self._count(slip, 1)
            self._changed.notify()
        return await slip.future

    def _has_room(self, slip: _Slip) -> bool:
        if not self._waiting:
            return True
        project_id = slip.order.project_id
        first = self._waiting.oldest(project_id)
        is_late = first is not None and monotonic() > first.since + self._max_wait_s
        return not is_late and self._orders.has_room(project_id) and self._bytes.has_room(project_id, slip.size)

    def _count(self, slip: _Slip, number: int) -> None:
        self._orders.add(slip.order.project_id, number)
        self._bytes.add(slip.order.project_id, number * slip.size)

    def _run(self) -> None:
        while group := self._take():
            self._write(group)

    def _take(self) -> list[_Slip]:
        """The next group; empty when stopped and nothing waits any more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_stopping)
            group: list[_Slip] = []
            room = MAX_JOBS
            while self._waiting and len(group) < MAX_ORDERS:
                jobs = len(self._waiting.next().order.drafts)
                if group and jobs > room:
                    break
                room -= jobs
                group.append(self._waiting.take())
                self._count(group[-1], -1)
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
