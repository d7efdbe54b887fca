"""The line of one worker: jobs that it was told to start, and those that it picked. One round at a time serves it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from time import monotonic

from worker.context import Context
from worker.flow import wake

PICKED = 32
"""Starts picked at once, so that one query serves many."""

LOOK_AGAIN_S = 0.25
"""How long after a look that found less than it asked for the next one comes."""


class Line:
    """Shared by the threads of a worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = Lock()
        self._told = deque[str]()
        self._picked = deque[str]()
        self._look_at = 0.0
        self._server: int | None = None

    def join(self, job_id: str) -> bool:
        """Put a job in line; whether the calling thread shall serve it now, because nobody does."""
        with self._lock:
            self._told.append(job_id)
            is_free = self._server is None
            if is_free:
                self._server = get_ident()
            return is_free

    @contextmanager
    def served(self) -> Iterator[None]:
        """While the calling thread serves the line; however that ends, another may do so then."""
        try:
            yield
        finally:
            with self._lock:
                if self._server == get_ident():
                    self._server = None

    def leave(self) -> bool:
        """Whether the thread that serves may go: nobody has joined meanwhile. Whoever joins from here on serves."""
        with self._lock:
            if self._told:
                return False
            self._server = None
            return True

    def next(self, room: int) -> list[str]:
        """The next jobs, at most `room`: first those it was told of; raises Unavailable."""
        with self._lock:
            told = [self._told.popleft() for _ in range(min(room, len(self._told)))]
        if len(told) < room and not self._picked and monotonic() >= self._look_at:
            self._picked.extend(job.id for job in wake.pick(self._context, PICKED))
            self._look_at = 0.0 if len(self._picked) == PICKED else monotonic() + LOOK_AGAIN_S
        return told + [self._picked.popleft() for _ in range(min(room - len(told), len(self._picked)))]
