"""The ticker: a thread of every worker that sweeps each second, and ends its own process when that has gone deaf.

Bound to the worker's blueprint, not the consumer's, which starts anew at every reconnect: it outlives Redis.
"""

import os
import threading
from time import monotonic
from typing import Any

from celery import Celery, bootsteps

from worker.app import QUEUES
from worker.context import Context
from worker.errors import NightdeskError
from worker.flow import sweep
from worker.store import moments
from worker.tasks import Activity
from worker.telemetry import crashed, log

TICK_S = 1.0
DEAF_S = 30.0
DEAF_EXIT = 70


class Ticker(threading.Thread):
    """Sweeps until stopped."""

    def __init__(self, context: Context, activity: Activity, queues: frozenset[str]) -> None:
        super().__init__(name="nightdesk-ticker", daemon=True)
        self._context = context
        self._activity = activity
        self._tasks = [task for task, queue in QUEUES.items() if queue in queues]
        self._noted_at = 0.0
        self._waiting_since: float | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Tick once a second, whatever happens."""
        while not self._stopped.wait(TICK_S):
            try:
                sweep.tick(self._context)
                self._note_consumption()
            except NightdeskError as error:
                log.warning("sweep", outcome="failed", error=str(error))
            except Exception as error:  # noqa: BLE001 - recorded
                # A thread that ends silently would stop every job of this installation.
                crashed("sweep", error)
            if self._is_deaf():
                log.critical("deaf", idle_s=round(monotonic() - self._activity.taken_at))
                os._exit(DEAF_EXIT)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.join(TICK_S * 5)

    def _note_consumption(self) -> None:
        if self._activity.taken_at == self._noted_at:
            return
        self._noted_at = self._activity.taken_at
        with self._context.database.write() as session:
            moments.note(session, moments.CONSUMED, self._context.clock())

    def _is_deaf(self) -> bool:
        """Messages wait, threads are free, and none was taken for DEAF_S: alive and deaf is dead.

        Counted from the first look at which messages waited: after a silence, or a time without Redis, none is late.
        """
        now, taken_at = monotonic(), self._activity.taken_at
        is_busy = now - taken_at < TICK_S or self._activity.active >= self._activity.concurrency
        if is_busy or not any(self._context.sender.backlog(task) for task in self._tasks):
            self._waiting_since = None
            return False
        self._waiting_since = self._waiting_since or now
        return now - max(self._waiting_since, taken_at) >= DEAF_S


def install(app: Celery, context: Context, activity: Activity, queues: frozenset[str]) -> None:
    """Start and stop the ticker with the worker."""

    class Step(bootsteps.StartStopStep):
        """The worker's ticker."""

        requires = ("celery.worker.components:Pool",)

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self.ticker = Ticker(context, activity, queues)

        def start(self, parent: Any) -> None:
            """The worker runs."""
            del parent
            # Time spent connecting to Redis is not deafness.
            activity.taken_at = monotonic()
            self.ticker.start()

        def stop(self, parent: Any) -> None:
            """The worker ends."""
            del parent
            self.ticker.stop()

    app.steps["worker"].add(Step)
