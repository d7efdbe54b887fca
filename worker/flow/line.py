"""The line of one worker: it is told that jobs wait, and picks them in their order. One round at a time serves it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from time import monotonic

from worker.context import Context
from worker.flow import wake

PICKED = 32
"""Starts picked at once, so that one query serves many."""

LOOK_AGAIN_S, REST_S = 0.25, 2.0
"""How long after a look that found too little the next one comes; twice as long each time that it finds nothing."""


class Line:
    """Shared by the threads of a worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = Lock()
        self._told: set[str] = set()
        self._picked = deque[str]()
        self._picked_at = 0.0
        self._look_at = 0.0
        self._rest_s = LOOK_AGAIN_S
        self._server: int | None = None

    def join(self, job_id: str) -> bool:
        """Tell of a waiting job; whether the calling thread shall serve the line now, because nobody does."""
        with self._lock:
            self._told.add(job_id)
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
        """The next jobs, at most `room`, in the order of all that wait; raises Unavailable."""
        with self._lock:
            told, self._told = self._told, set()
        if told:
            # Whoever is told of is no sooner due than others: only that somebody looks is what a message is for.
            wake.unhint(self._context, told)
            self._look_at = 0.0
        if monotonic() >= self._picked_at + wake.HINT.total_seconds():
            self._picked.clear()
        if len(self._picked) < room and monotonic() >= self._look_at:
            self._pick(min(PICKED, 2 * room))
        return [self._picked.popleft() for _ in range(min(room, len(self._picked)))]

    def _pick(self, wanted: int) -> None:
        found = wake.pick(self._context, wanted)
        self._picked_at = monotonic()
        self._picked.extend(job.id for job in found or ())
        if found is not None and len(found) in {0, wanted}:
            # More wait than were picked, or others were quicker.
            self._look_at, self._rest_s = 0.0, LOOK_AGAIN_S
        else:
            self._rest_s = LOOK_AGAIN_S if found else min(REST_S, 2 * self._rest_s)
            self._look_at = self._picked_at + self._rest_s
