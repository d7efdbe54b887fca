"""Counts of the present: what a project's statistics and the gauges of `/metrics` show.

Live jobs are counted through the partial indexes; counting the finished walks over all rows: keep it a while.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped as Column
from sqlmodel import Session, col

from worker.models import CANCELLABLE, EXPIRING, IN_FLIGHT, POLLABLE, STARTABLE, SWEPT, Delivery, Job, Kind

Condition = sa.ColumnElement[bool] | sa.TextClause
ASKED = (POLLABLE, CANCELLABLE)
"""Whose interaction is asked or cancelled when it is due."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs of one target are in one status."""

    status: str
    kind: Kind
    target: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Load:
    """What waits and what runs, of one project or of all."""

    oldest_queued_at: datetime | None
    in_flight: int
    due: int
    oldest_due_at: datetime | None
    deliveries: int
    oldest_delivery_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs wait to be started as one target."""

    kind: Kind
    target: str
    strict_model: bool
    jobs: int


def waiting(session: Session, at_most: int = 10_000) -> list[Waiting]:
    """Jobs that may yet be started, by target; of very many the first of each index are looked at."""
    names = ("kind", "target", "strict_model")
    own = [Job.__table__.c[name] for name in names]  # type: ignore[attr-defined]
    parts = [sa.select(*own).where(sa.text(f"({p})")).limit(at_most).subquery() for p in (EXPIRING, SWEPT)]
    both = sa.union_all(*(sa.select(part) for part in parts)).subquery()
    group = [both.c[name] for name in names]
    statement = sa.select(*group, sa.func.count()).group_by(*group).order_by(*group)
    return [Waiting(*row) for row in session.execute(statement)]


def tallies(session: Session, project_id: str | None = None) -> list[Tally]:
    """Jobs by status and target."""
    group = (col(Job.status), col(Job.kind), col(Job.target))
    statement = sa.select(*group, sa.func.count()).where(*_own(col(Job.project_id), project_id))
    return [Tally(*row) for row in session.execute(statement.group_by(*group).order_by(*group))]


def load(session: Session, now: datetime, project_id: str | None = None) -> Load:
    """What waits and what runs now."""
    own = _own(col(Job.project_id), project_id)
    waiting_since = sa.func.coalesce(col(Job.run_at), col(Job.created_at))
    oldest = session.execute(sa.select(sa.func.min(waiting_since)).where(sa.text(STARTABLE), *own)).scalar_one()
    running = sa.select(sa.func.count()).select_from(Job).where(sa.text(IN_FLIGHT), *own)
    due = [_count(session, col(Job.due_at), sa.text(f"({p})"), col(Job.due_at) <= now, *own) for p in ASKED]
    pending = (sa.text("status = 'pending'"), *_own(col(Delivery.project_id), project_id))
    deliveries, oldest_delivery_at = _count(session, col(Delivery.created_at), *pending)
    return Load(
        oldest_queued_at=oldest,
        in_flight=int(session.execute(running).scalar_one()),
        due=sum(number for number, _ in due),
        oldest_due_at=min((since for _, since in due if since), default=None),
        deliveries=deliveries,
        oldest_delivery_at=oldest_delivery_at,
    )


def _count(
    session: Session, since: Column[datetime] | Column[datetime | None], *conditions: Condition
) -> tuple[int, datetime | None]:
    number, oldest = session.execute(sa.select(sa.func.count(), sa.func.min(since)).where(*conditions)).one()
    return int(number), oldest


def _own(column: Column[str], project_id: str | None) -> tuple[Condition, ...]:
    return () if project_id is None else (column == project_id,)
