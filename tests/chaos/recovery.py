"""How the jobs of an installation go on after a fault: how each stood when it struck, and when it moved again."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Job
from worker.states import Status

LIVING = (Status.QUEUED, Status.STARTING, Status.UNCONFIRMED, Status.IN_PROGRESS, Status.CANCELLING)
"""Statuses in which the engine owes a move; the others wait for a time, another job, or their owner."""

WAITING = frozenset({Status.IN_PROGRESS, Status.CANCELLING})
"""Where the next move is planned: it is late only after that."""

Mark = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Stand:
    """How a job stood: its status, when the engine meant to look at it, and what changes whenever it moves."""

    status: str
    due_at: float
    mark: Mark


@dataclass(slots=True)
class Recovery:
    """What was struck, when, how every living job stood then, and when each was first seen to have moved."""

    what: str
    at: float
    stood: dict[str, Stand]
    moved_at: dict[str, float] = field(default_factory=dict)

    def look(self, session: Session) -> bool:
        """Note who has moved since the last look; whether everybody has."""
        now, seen = time(), _stands(session)
        for job_id, stood in self.stood.items():
            if job_id not in self.moved_at and (job_id not in seen or seen[job_id].mark != stood.mark):
                self.moved_at[job_id] = now
        return len(self.moved_at) == len(self.stood)

    def late_s(self, job_id: str) -> float:
        """How long a job took to move, from the fault or from the moment planned for it; infinite: it never did."""
        stood = self.stood[job_id]
        owed_at = max(self.at, stood.due_at) if stood.status in WAITING else self.at
        return self.moved_at.get(job_id, float("inf")) - owed_at


def struck(session: Session, what: str) -> Recovery:
    """A fault strikes now."""
    return Recovery(what, time(), _stands(session))


def _stands(session: Session) -> dict[str, Stand]:
    names = (Job.id, Job.status, Job.due_at, Job.polls, Job.attempt, Job.turn)
    rows = session.execute(sa.select(*map(col, names)).where(col(Job.status).in_(LIVING)))
    return {
        row.id: Stand(row.status, _seconds(row.due_at), (row.status, row.polls, row.attempt, row.turn)) for row in rows
    }


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.astimezone(UTC).timestamp()
