"""Forgetting: one job at its owner's wish, or what is past its retention, in batches that never block for long."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from worker import ids
from worker.models import (
    Delivery,
    DeliveryAttempt,
    Event,
    Idempotency,
    Interaction,
    Job,
    JobInput,
    Result,
)
from worker.states import TERMINAL, Status
from worker.store.deliveries import CANCELLED
from worker.store.waiting import OPEN

UNSYNCED = {"synchronize_session": False}


def job(session: Session, job_id: str) -> None:
    """Forget a job and everything that belongs to it, but that its deliveries were made or, waiting, are cancelled."""
    mine = sa.update(Delivery).where(col(Delivery.job_id) == job_id)
    session.execute(mine.values(url="", host="", due_at=None, claim=None), execution_options=UNSYNCED)
    pending = mine.where(col(Delivery.status).in_(OPEN))
    session.execute(pending.values(status=CANCELLED), execution_options=UNSYNCED)
    _forget(session, [job_id])


def jobs(session: Session, job_ids: Collection[str]) -> None:
    """Forget jobs and everything that belongs to them."""
    session.execute(sa.delete(Delivery).where(col(Delivery.job_id).in_(job_ids)))
    _forget(session, job_ids)


def _forget(session: Session, job_ids: Collection[str]) -> None:
    mine = sa.select(col(Delivery.id)).where(col(Delivery.job_id).in_(job_ids))
    session.execute(sa.delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(mine)))
    for table in (Event, Result, Interaction, JobInput):
        session.execute(sa.delete(table).where(col(table.job_id).in_(job_ids)))
    session.execute(sa.delete(Job).where(col(Job.id).in_(job_ids)))


def old_jobs(session: Session, before: datetime, limit: int) -> list[str]:
    """Jobs that ended before `before`, the oldest first; not one that still has a result or that a live job needs."""
    live = [status for status in Status if status not in TERMINAL]
    other = aliased(Job)
    # Subqueries by row: of EXISTS, PostgreSQL makes joins that read all tables for the first 500.
    result = sa.select(col(Result.job_id)).where(col(Result.job_id) == col(Job.id)).limit(1).scalar_subquery()
    needed = sa.select(col(other.id)).where(col(other.previous_job_id) == col(Job.id), col(other.status).in_(live))
    finished = sa.select(col(Job.id)).where(col(Job.finished_at).is_not(None), col(Job.finished_at) < before)
    finished = finished.where(result.is_(None), needed.limit(1).scalar_subquery().is_(None))
    return list(session.scalars(finished.order_by(col(Job.finished_at)).limit(limit)))


def results(session: Session, job_ids: Collection[str]) -> None:
    """Forget the results of these jobs, and what else was kept of them: told to receivers, seen on the way."""
    session.execute(sa.delete(Result).where(col(Result.job_id).in_(job_ids)))
    told = sa.update(Event).where(col(Event.job_id).in_(job_ids), col(Event.payload).is_not(None), ~_is_on_its_way())
    session.execute(told.values(payload=None), execution_options=UNSYNCED)
    seen = sa.update(Job).where(col(Job.id).in_(job_ids)).values(thought=None, required_action=sa.null())
    session.execute(seen, execution_options=UNSYNCED)


def old_payloads(session: Session, before: datetime, limit: int) -> int:
    """Forget the bodies of webhooks sent before `before` that are neither under way nor held; gives back how many."""
    old = (
        sa.select(col(Event.id))
        .where(col(Event.created_at) < before, col(Event.payload).is_not(None), ~_is_on_its_way())
        .limit(limit)
    )
    return _count(session.execute(sa.update(Event).where(col(Event.id).in_(old)).values(payload=None)))


def old_deliveries(session: Session, before: datetime, limit: int) -> int:
    """Forget deliveries made before `before`, with their attempts, unless they wait; gives back how many."""
    # Ids sort by their time of creation: no index of its own is needed.
    newest = ids.new("dlv", int(before.timestamp() * 1000))
    old = sa.select(col(Delivery.id)).where(col(Delivery.id) < newest, col(Delivery.status).not_in(OPEN))
    chosen = list(session.scalars(old.order_by(col(Delivery.id)).limit(limit)))
    session.execute(sa.delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(chosen)))
    return _count(session.execute(sa.delete(Delivery).where(col(Delivery.id).in_(chosen))))


def old_keys(session: Session, before: datetime, now: datetime, limit: int) -> int:
    """Forget idempotency keys older than `before` whose jobs are gone; gives back how many.

    A key lives as long as one of its jobs: such a key is looked at again when it has aged once more.
    """
    old = sa.select(Idempotency).where(col(Idempotency.created_at) < before).order_by(col(Idempotency.created_at))
    removed = 0
    for entry in session.scalars(old.limit(limit)).all():
        alive = sa.select(col(Job.id)).where(col(Job.id).in_(entry.job_ids)).limit(1)
        if session.execute(alive).first() is not None:
            entry.created_at = now
        else:
            session.delete(entry)
            removed += 1
    session.flush()
    return removed


def _is_on_its_way() -> sa.Exists:
    return sa.exists().where(col(Delivery.event_id) == col(Event.id), col(Delivery.status).in_(OPEN))


def _count(result: sa.Result[tuple[()]] | sa.CursorResult[tuple[()]]) -> int:
    return int(getattr(result, "rowcount", 0))
