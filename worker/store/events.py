"""Reading what happened to jobs: their events by sequence, and which jobs moved."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import defer
from sqlmodel import Session, col

from worker.models import Event, Job


@dataclass(frozen=True, slots=True)
class Glance:
    """Just enough of a job to know whether it is worth reading."""

    status: str
    sequence: int
    interaction_id: str | None = None


def of_job(session: Session, job_id: str, *, after: int, limit: int) -> list[Event]:
    """Events of a job in order, from the one after the sequence number `after`; without their webhook bodies."""
    statement = sa.select(Event).where(col(Event.job_id) == job_id, col(Event.sequence) > after)
    # Bodies may be 256 KiB each and are for receivers only.
    lean = statement.options(defer(Event.payload, raiseload=True))  # type: ignore[arg-type]
    return list(session.scalars(lean.order_by(col(Event.sequence)).limit(limit)))


def data(session: Session, job_id: str, event_type: str) -> list[dict[str, Any]]:
    """What a job's events of one type tell, in order."""
    mine = sa.select(col(Event.data)).where(col(Event.job_id) == job_id, col(Event.type) == event_type)
    return list(session.scalars(mine.order_by(col(Event.sequence))))


def types(session: Session, event_ids: Collection[str]) -> dict[str, str]:
    """The type of each of these events."""
    statement = sa.select(col(Event.id), col(Event.type)).where(col(Event.id).in_(event_ids))
    return {row.id: row.type for row in session.execute(statement)}


def glances(session: Session, job_ids: Collection[str]) -> dict[str, Glance]:
    """Status, last sequence number and interaction of these jobs, those that exist."""
    columns = (col(Job.id), col(Job.status), col(Job.sequence), col(Job.interaction_id))
    statement = sa.select(*columns).where(col(Job.id).in_(job_ids))
    return {row.id: Glance(row.status, row.sequence, row.interaction_id) for row in session.execute(statement)}
