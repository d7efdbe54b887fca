"""Quota: how many tokens a project may use on one day of UTC; asked before anything that spends is written.

Tokens are known when a run has ended: what runs when the quota is reached is finished, and counts.
"""

from datetime import datetime, timedelta
from math import ceil
from time import monotonic

from sqlmodel import Session

from worker.errors import QuotaExceeded
from worker.store import usage

SHARE = 100
"""Summing up may take one part in so many of the time."""

AT_LEAST_S = 1.0


class Quota:
    """What each project has spent on this day, summed up now and then: one for each process that submits much."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._day: datetime | None = None
        self._sums: dict[str, tuple[int, float]] = {}

    def check(self, session: Session, project_id: str, now: datetime) -> None:
        """Raise QuotaExceeded where the project has spent what it may spend today."""
        if self._limit is None:
            return
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self._spent(session, project_id, day) < self._limit:
            return
        left_s = ceil((day + timedelta(days=1) - now).total_seconds())
        message = f"this project may use {self._limit:,} tokens a day and has; the next day begins at 0:00 UTC"
        raise QuotaExceeded(message, left_s, limit=self._limit)

    def _spent(self, session: Session, project_id: str, day: datetime) -> int:
        if day != self._day:
            self._day, self._sums = day, {}
        spent, until = self._sums.get(project_id, (0, 0.0))
        began = monotonic()
        if began >= until:
            spent = usage.spent(session, project_id, day)
            ended = monotonic()
            self._sums[project_id] = spent, ended + max(AT_LEAST_S, (ended - began) * SHARE)
        return spent
