"""Hints from outside that a row is worth a look: they bring it forward, never back, and cannot be made to hurry it."""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import IN_FLIGHT, POLLABLE, Job
from worker.states import Status


def poll_now(session: Session, job_id: str, upstream_id: str, *, now: datetime, unless_since: datetime) -> bool:
    """Let a running interaction be asked now; False: it is due, being asked, was asked just now, or runs no more.

    A result that was seen and could not be stored keeps its own time.
    """
    statement = (
        sa.update(Job)
        .where(
            col(Job.id) == job_id,
            col(Job.interaction_id) == upstream_id,
            sa.text(f"({POLLABLE})"),
            col(Job.claim).is_(None),
            col(Job.due_at) > now,
            col(Job.ended_seen).is_(False),
            sa.or_(col(Job.last_polled_at).is_(None), col(Job.last_polled_at) <= unless_since),
        )
        .values(due_at=now)
        .returning(col(Job.id))
    )
    return session.execute(statement).first() is not None


def awaits_any(session: Session) -> bool:
    """Whether any create was sent whose answer is missing."""
    waiting = sa.select(col(Job.id)).where(
        sa.text(IN_FLIGHT), col(Job.status).in_((Status.STARTING, Status.UNCONFIRMED)), col(Job.sent_at).is_not(None)
    )
    return session.execute(waiting.limit(1)).first() is not None
