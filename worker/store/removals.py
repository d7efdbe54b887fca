"""Forgetting: one job at its owner's wish, or what is past its retention, in batches that never block for long."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

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
from worker.states import EVENTS, TERMINAL, Status
from worker.store.deliveries import CANCELLED
from worker.store.waiting import OPEN

KEY = (col(Idempotency.project_id), col(Idempotency.path), col(Idempotency.key))
PARTS = ("project", "path", "key")
IDS_AT_ONCE = 5000
"""SQLite takes some 32,000 parameters in one statement."""


def job(session: Session, job_id: str) -> None:
    """Forget a job and everything that belongs to it, but that its deliveries were made or, waiting, are cancelled."""
    mine = sa.update(Delivery).where(col(Delivery.job_id) == job_id)
    session.execute(mine.values(url="", host="", due_at=None, claim=None))
    pending = mine.where(col(Delivery.status).in_(OPEN))
    session.execute(pending.values(status=CANCELLED))
    _forget(session, [job_id])


def jobs(session: Session, job_ids: Collection[str]) -> None:
    """Forget jobs and everything that belongs to them."""
    session.execute(sa.select(col(Job.id)).where(col(Job.id).in_(job_ids)).with_for_update())
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
    # The jobs first, as everybody does who locks them: their owners may delete them meanwhile.
    seen = sa.update(Job).where(col(Job.id).in_(job_ids)).values(thought=None)
    session.execute(seen)
    session.execute(sa.delete(Result).where(col(Result.job_id).in_(job_ids)))
    told = sa.update(Event).where(col(Event.job_id).in_(job_ids), col(Event.payload).is_not(None), ~_is_on_its_way())
    session.execute(told.values(payload=None))
    asked = sa.update(Event).where(col(Event.job_id).in_(job_ids), col(Event.type) == EVENTS[Status.REQUIRES_ACTION])
    session.execute(asked.values(data=_without(session, "required_action")))


def old_payloads(session: Session, before: datetime, limit: int) -> list[str]:
    """Events before `before` that still have the body of their webhooks, though none is under way or held."""
    old = sa.select(col(Event.id)).where(col(Event.created_at) < before, col(Event.payload).is_not(None))
    return list(session.scalars(old.where(~_is_on_its_way()).limit(limit)))


def payloads(session: Session, event_ids: Collection[str]) -> None:
    """Forget the bodies of these events' webhooks, but what is under way by now."""
    told = sa.update(Event).where(col(Event.id).in_(event_ids), ~_is_on_its_way())
    session.execute(told.values(payload=None))


def old_deliveries(session: Session, before: datetime, limit: int) -> int:
    """Forget deliveries made before `before`, with their attempts, unless they wait; gives back how many."""
    # Ids sort by their time of creation: no index of its own is needed.
    old = sa.select(col(Delivery.id)).where(
        col(Delivery.id) < ids.first("dlv", before), col(Delivery.status).not_in(OPEN)
    )
    chosen = list(session.scalars(old.order_by(col(Delivery.id)).limit(limit)))
    session.execute(sa.delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(chosen)))
    return _count(session.execute(sa.delete(Delivery).where(col(Delivery.id).in_(chosen))))


def old_keys(session: Session, before: datetime, now: datetime, limit: int) -> int:
    """Forget idempotency keys older than `before` whose jobs are gone; gives back how many.

    A key lives as long as one of its jobs: such a key is looked at again when it has aged once more.
    """
    old = sa.select(*KEY, col(Idempotency.job_ids)).where(col(Idempotency.created_at) < before)
    entries = session.execute(old.order_by(col(Idempotency.created_at)).limit(limit)).all()
    living = _living(session, [job_id for *_, job_ids in entries for job_id in job_ids])
    named: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for project_id, path, key, job_ids in entries:
        named[living.isdisjoint(job_ids)].append({"of_project": project_id, "of_path": path, "of_key": key})
    this = sa.and_(*(column == sa.bindparam(f"of_{name}") for column, name in zip(KEY, PARTS, strict=True)))
    # One statement for all, made once: this holds up whoever writes to SQLite.
    kept, gone = named
    if kept:
        session.connection().execute(sa.update(Idempotency).where(this).values(created_at=now), kept)
    if gone:
        session.connection().execute(sa.delete(Idempotency).where(this), gone)
    return len(gone)


def _living(session: Session, job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs that are still there."""
    parts = (job_ids[start : start + IDS_AT_ONCE] for start in range(0, len(job_ids), IDS_AT_ONCE))
    return {one for part in parts for one in session.scalars(sa.select(col(Job.id)).where(col(Job.id).in_(part)))}


def _without(session: Session, name: str) -> sa.ColumnElement[Any]:
    """The data of an event but for one field."""
    if session.get_bind().dialect.name == "sqlite":
        return sa.func.json_remove(col(Event.data), f"$.{name}", type_=sa.JSON())
    return col(Event.data).op("-")(sa.literal(name, sa.String()))


def _is_on_its_way() -> sa.Exists:
    return sa.exists().where(col(Delivery.event_id) == col(Event.id), col(Delivery.status).in_(OPEN))


def _count(result: sa.Result[tuple[()]] | sa.CursorResult[tuple[()]]) -> int:
    return int(getattr(result, "rowcount", 0))
