"""The webhook outbox: which deliveries are due, their claims, and what every attempt was answered with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Delivery, DeliveryAttempt, Event, Job
from worker.store import rows

PENDING, DELIVERED, EXHAUSTED, HELD, CANCELLED = "pending", "delivered", "exhausted", "held", "cancelled"
_TABLE = Delivery.__table__.c  # type: ignore[attr-defined]
Lane = tuple[str, str]
"""A project, and a host that it sends to: what others send there is not in its way."""

MAX_LOGGED = 100
"""Attempts of one delivery that are kept: its owner may ask for another as often as he likes."""


class Outcome(NamedTuple):
    """What a delivery becomes by one attempt, made under a claim."""

    id: str
    claim: str
    status: str
    attempts: int
    due_at: datetime | None
    delivered_at: datetime | None = None
    is_asked: bool = False


class Attempt(NamedTuple):
    """What one attempt was answered with."""

    delivery_id: str
    number: int
    at: datetime
    outcome: str
    http_status: int | None
    latency_ms: int
    snippet: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed delivery with the bytes to send."""

    id: str
    project_id: str
    job_id: str
    event_id: str
    event_type: str
    endpoint_id: str | None
    url: str
    host: str
    number: int
    earlier: int
    is_asked: bool
    request_id: str | None
    body: bytes

    @property
    def lane(self) -> Lane:
        """Whose it is, and where it goes."""
        return self.project_id, self.host

    @property
    def tries(self) -> int:
        """Which attempt this is on its ladder, which begins anew at a replay."""
        return self.number - self.earlier


class Skip(NamedTuple):
    """Of whom nothing is claimed."""

    lanes: Collection[Lane] = ()
    projects: Collection[str] = ()


NOBODY = Skip()


def claim(
    session: Session, *, claim: str, now: datetime, until: datetime, limit: int, skip: Skip = NOBODY
) -> list[Due]:
    """Claim up to `limit` deliveries that are due, but none of those to `skip`."""
    due = sa.select(col(Delivery.id)).where(
        sa.text("status = 'pending'"),
        col(Delivery.due_at) <= now,
        sa.tuple_(col(Delivery.project_id), col(Delivery.host)).not_in(skip.lanes),
        col(Delivery.project_id).not_in(skip.projects),
    )
    chosen = rows.once(due.order_by(col(Delivery.due_at)).limit(limit).with_for_update(skip_locked=True))
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(sa.select(chosen.c.id)))
        .values(claim=claim, due_at=until)
        .returning(*_TABLE)  # as columns: objects would cost three times as much
    )
    taken = session.execute(statement).all()
    events = sa.select(col(Event.id), col(Event.type), col(Event.payload), col(Job.request_id))
    events = events.join(Job, col(Job.id) == col(Event.job_id))
    found = {row.id: row for row in session.execute(events.where(col(Event.id).in_({d.event_id for d in taken})))}
    return [_due(delivery, found.get(delivery.event_id)) for delivery in taken]


def _due(delivery: Any, event: Any) -> Due:
    return Due(
        id=delivery.id,
        project_id=delivery.project_id,
        job_id=delivery.job_id,
        event_id=delivery.event_id,
        event_type=event.type if event else delivery.event_type or "",
        endpoint_id=delivery.endpoint_id,
        url=delivery.url,
        host=delivery.host,
        number=delivery.attempts + 1,
        earlier=delivery.earlier,
        is_asked=delivery.is_asked,
        request_id=event.request_id if event else None,
        body=(event.payload if event else delivery.body) or b"",
    )


def record(session: Session, outcomes: Sequence[Outcome]) -> set[str]:
    """Write what attempts came to, where their claims still hold; gives back the ids of those deliveries."""
    given = rows.given(session, [_TABLE[name] for name in Outcome._fields], [one._asdict() for one in outcomes])
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id) == given.c.id, col(Delivery.claim) == given.c.claim, col(Delivery.status) == PENDING)
        .values(claim=None, **{name: given.c[name] for name in Outcome._fields[2:]})
        .returning(col(Delivery.id))
    )
    return set(session.execute(statement).scalars())


def put_back(
    session: Session, delivery_ids: Collection[str], *, claim: str, due_at: datetime | None, status: str = PENDING
) -> None:
    """Give back what was claimed and not sent."""
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id).in_(delivery_ids), col(Delivery.claim) == claim, col(Delivery.status) == PENDING)
        .values(claim=None, due_at=due_at, status=status)
    )
    session.execute(statement)


def readdress(session: Session, delivery_ids: Collection[str], *, url: str, host: str) -> None:
    """Note where these deliveries go now: their endpoint has moved."""
    statement = sa.update(Delivery).where(col(Delivery.id).in_(delivery_ids)).values(url=url, host=host)
    session.execute(statement)


def log(session: Session, attempts_made: Sequence[Attempt]) -> None:
    """Keep what attempts were answered with, the last MAX_LOGGED of each delivery."""
    if attempts_made:
        session.execute(sa.insert(DeliveryAttempt), [made._asdict() for made in attempts_made])
    for made in attempts_made:
        if made.number > MAX_LOGGED:
            old = sa.delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id) == made.delivery_id)
            session.execute(old.where(col(DeliveryAttempt.number) <= made.number - MAX_LOGGED))


def due_count(session: Session, now: datetime, limit: int) -> int:
    """How many deliveries are due, counted no further than `limit`."""
    due = sa.select(col(Delivery.id)).where(sa.text("status = 'pending'"), col(Delivery.due_at) <= now).limit(limit)
    return int(session.execute(sa.select(sa.func.count()).select_from(due.subquery())).scalar_one())


def get(session: Session, delivery_id: str, project_id: str) -> Delivery | None:
    """The delivery; None where it does not exist or is another project's."""
    delivery = session.get(Delivery, delivery_id, populate_existing=True)
    return delivery if delivery and delivery.project_id == project_id else None


def attempts(session: Session, delivery_ids: Collection[str]) -> list[DeliveryAttempt]:
    """Every attempt of these deliveries, in order."""
    statement = sa.select(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids))
    return list(session.scalars(statement.order_by(col(DeliveryAttempt.delivery_id), col(DeliveryAttempt.number))))


def of_job(session: Session, job_id: str, *, before: str | None, limit: int) -> list[Delivery]:
    """Deliveries of a job, newest first, older than the delivery `before`."""
    statement = sa.select(Delivery).where(col(Delivery.job_id) == job_id)
    if before:
        statement = statement.where(col(Delivery.id) < before)
    return list(session.scalars(statement.order_by(col(Delivery.id).desc()).limit(limit)))


def again(session: Session, delivery_id: str, now: datetime) -> Delivery | None:
    """Send once more, now, because its owner asks; None where its payload is gone or it was cancelled."""
    statement = (
        sa.update(Delivery)
        .where(col(Delivery.id) == delivery_id, col(Delivery.status) != CANCELLED, has_body())
        .values(status=PENDING, due_at=now, claim=None, is_asked=True)
        .returning(Delivery)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def has_body() -> sa.ColumnElement[bool]:
    """Whether what a delivery carries is still there."""
    told = sa.exists().where(col(Event.id) == col(Delivery.event_id), col(Event.payload).is_not(None))
    return sa.or_(col(Delivery.body).is_not(None), told)
