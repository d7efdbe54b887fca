"""How many jobs wait to be started, for the limit that a submission may not exceed."""

from time import monotonic

from sqlmodel import Session

from worker.store import jobs

SHARE = 100
"""Counting may take one part in so many of the time: it grows with the backlog."""


class Backlog:
    """Counted from rows now and then; between two counts what is submitted here is added."""

    def __init__(self) -> None:
        self._waiting = 0
        self._count_at = 0.0

    def count(self, session: Session) -> int:
        """As many as there were at the last count, and those submitted here since."""
        began = monotonic()
        if began >= self._count_at:
            self._waiting = jobs.waiting(session)
            ended = monotonic()
            self._count_at = ended + (ended - began) * SHARE
        return self._waiting

    def add(self, number: int) -> None:
        """So many have been submitted."""
        self._waiting += number
