"""Quota: what a project may have waiting and what it may use on one day of UTC; asked before anything is written.

Tokens are known when a run has ended: what runs when the quota is reached is finished, and counts.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from time import monotonic
from typing import NoReturn

from sqlmodel import Session

from worker.errors import QuotaExceeded
from worker.flow import limits
from worker.flow.limits import Limits
from worker.store import audit, jobs, projects, usage
from worker.telemetry import count

SHARE = 100
"""Summing up may take one part in so many of the time."""

AT_LEAST_S = 1.0
QUEUE_FULL_RETRY_S = 60


@dataclass(slots=True)
class _Figure:
    """Something that is counted now and then."""

    least_s: float = AT_LEAST_S
    value: int = 0
    until: float = 0.0

    def get(self, ask: Callable[[], int]) -> int:
        began = monotonic()
        if began >= self.until:
            self.value = ask()
            ended = monotonic()
            self.until = ended + max(self.least_s, (ended - began) * SHARE)
        return self.value


@dataclass(slots=True)
class _Account:
    """What is known of one project."""

    limits: Limits = field(default_factory=Limits)
    read_at: float | None = None
    waiting: _Figure = field(default_factory=lambda: _Figure(least_s=0.0))
    jobs: _Figure = field(default_factory=_Figure)
    tokens: _Figure = field(default_factory=_Figure)


class Quota:
    """What each project has done on this day: one for each process that submits much."""

    def __init__(self, usual: Limits) -> None:
        self._usual = usual
        self._day: datetime | None = None
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)

    def check(self, session: Session, project_id: str, wanted: int, taken: int, now: datetime) -> None:
        """Raise QuotaExceeded where the project may not submit so many jobs beside those that a transaction took."""
        account = self._account(session, project_id, now)
        its, day = account.limits, _day(now)
        if its.queued is not None:
            waiting = account.waiting.get(lambda: jobs.waiting(session, project_id)) + taken
            if waiting + wanted > its.queued:
                message = f"this project may have {its.queued:,} jobs waiting to be started"
                _refuse("queued", message, QUEUE_FULL_RETRY_S, its.queued)
        if its.jobs_per_day is not None:
            submitted = account.jobs.get(lambda: audit.bought(session, project_id, day)) + taken
            if submitted + wanted > its.jobs_per_day:
                message = f"this project may submit {its.jobs_per_day:,} jobs a day; the next day begins at 0:00 UTC"
                _refuse("jobs_per_day", message, _left_s(now), its.jobs_per_day)
        self.check_tokens(session, project_id, now)

    def check_tokens(self, session: Session, project_id: str, now: datetime) -> None:
        """Raise QuotaExceeded where the project has spent what it may spend today."""
        account = self._account(session, project_id, now)
        limit = account.limits.tokens_per_day
        if limit is None:
            return
        if account.tokens.get(lambda: usage.spent(session, project_id, _day(now))) >= limit:
            message = f"this project may use {limit:,} tokens a day and has; the next day begins at 0:00 UTC"
            _refuse("tokens_per_day", message, _left_s(now), limit)

    def add(self, project_id: str, taken: int) -> None:
        """So many were accepted and are committed."""
        account = self._accounts[project_id]
        account.waiting.value += taken
        account.jobs.value += taken

    def _account(self, session: Session, project_id: str, now: datetime) -> _Account:
        if (day := _day(now)) != self._day:
            self._day = day
            self._accounts.clear()
        account = self._accounts[project_id]
        if account.read_at is None or monotonic() >= account.read_at + AT_LEAST_S:
            account.limits = limits.of(projects.get(session, project_id), self._usual)
            account.read_at = monotonic()
        return account


def _refuse(limit: str, message: str, retry_after_s: int, number: int) -> NoReturn:
    count("nightdesk_quota_exceeded_total", limit=limit)
    raise QuotaExceeded(message, retry_after_s, limit=number)


def _day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _left_s(now: datetime) -> int:
    return ceil((_day(now) + timedelta(days=1) - now).total_seconds())
