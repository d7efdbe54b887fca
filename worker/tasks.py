"""Celery's tasks: a shell of a few lines for each verb, and the share of a worker's threads that each may take.

A message that finds its share taken is dropped: it was a hint, and whoever has the share looks again before it ends.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from celery import Celery

from worker.app import CANCEL, DELIVER, POLL, START
from worker.context import Context
from worker.errors import NightdeskError
from worker.flow import cancel, deliver, poll, start
from worker.flow.line import Line
from worker.telemetry import count, crashed

POLL_THREADS = 2
"""One batch claims and records while the other talks."""


@dataclass(slots=True)
class Activity:
    """What this worker takes and does, for the ticker to see whether it is deaf."""

    concurrency: int
    taken_at: float = field(default_factory=monotonic)
    active: int = 0


class CrashedError(Exception):
    """A task ended by what nobody foresaw, by its kind; the log says where."""


class Shares:
    """Threads by verb, so that dead receivers cannot delay starts, nor slow creates polls."""

    def __init__(self, concurrency: int) -> None:
        small = max(1, concurrency // 8)
        # Starts share nothing out: their line lets one thread serve it, and the others are gone at once.
        sizes = {POLL: POLL_THREADS, CANCEL: small, DELIVER: small, START: concurrency}
        self.activity = Activity(concurrency)
        self._slots = {task: threading.BoundedSemaphore(size) for task, size in sizes.items()}
        self._lock = threading.Lock()

    def run(self, task: str, work: Callable[[], Any]) -> Any | None:
        """Do the work if the verb has a thread left; None: it has not."""
        self._note(1)
        try:
            if not self._slots[task].acquire(blocking=False):
                count("nightdesk_busy_total", task=task)
                return None
            try:
                return work()
            except NightdeskError:
                raise
            except Exception as error:  # noqa: BLE001 - recorded
                crashed(task, error)
                # Celery logs what is raised, and Flower shows it to whoever looks, word for word.
                raise CrashedError(type(error).__name__) from None
            finally:
                self._slots[task].release()
        finally:
            self._note(-1)

    def _note(self, change: int) -> None:
        with self._lock:
            self.activity.active += change
            self.activity.taken_at = monotonic()


def register(app: Celery, context: Context, shares: Shares) -> None:
    """Give the worker its four tasks; each gives back what Flower shows of it."""
    line = Line(context)

    @app.task(name=START)
    def job_start(job_id: str) -> dict[str, str] | str:
        # Whoever serves the line takes this job, too.
        if not line.join(job_id):
            return "in line"
        return shares.run(START, lambda: start.run(context, line)) or "busy"

    @app.task(name=POLL)
    def job_poll() -> dict[str, int] | str:
        return shares.run(POLL, lambda: poll.run(context)) or "busy"

    @app.task(name=CANCEL)
    def job_cancel(job_id: str) -> str:
        return shares.run(CANCEL, lambda: cancel.run(context, job_id)) or "busy"

    @app.task(name=DELIVER)
    def webhook_deliver() -> dict[str, int] | str:
        return shares.run(DELIVER, lambda: deliver.run(context)) or "busy"
