"""An endpoint's deliveries that wait or failed: held, released, replayed, cancelled, so many at a time; and listed.

What a claim may be taking at the same moment is skipped, so that the two never wait for each other: the claim itself
sees to it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Delivery
from worker.store.deliveries import CANCELLED, EXHAUSTED, HELD, PENDING, has_body
from worker.store.rows import once

OPEN = (PENDING, HELD)
UNTAKEN = col(Delivery.claim).is_(None)


def of_endpoint(
    session: Session, endpoint_id: str, *, status: str | None, before: str | None, limit: int
) -> list[Delivery]:
    """Deliveries to an endpoint, newest first, older than the delivery `before`."""
    statement = sa.select(Delivery).where(col(Delivery.endpoint_id) == endpoint_id)
    if status:
        statement = statement.where(col(Delivery.status) == status)
    if before:
        statement = statement.where(col(Delivery.id) < before)
    return list(session.scalars(statement.order_by(col(Delivery.id).desc()).limit(limit)))


def hold(session: Session, endpoint_id: str, until: datetime, limit: int) -> int:
    """Keep what waits to be sent for when the endpoint is enabled again, until `until`; gives back how many."""
    unasked = (col(Delivery.status) == PENDING, UNTAKEN, col(Delivery.is_asked).is_(False))
    chosen = _first(endpoint_id, limit, *unasked)
    return len(_change(session, chosen.with_for_update(skip_locked=True), {"status": HELD, "due_at": until}))


def park(session: Session, endpoint_id: str, now: datetime, limit: int) -> int:
    """Let what is due wait for the endpoint to recover; gives back how many."""
    is_due = (col(Delivery.status) == PENDING, UNTAKEN, col(Delivery.is_asked).is_(False), col(Delivery.due_at) <= now)
    chosen = _first(endpoint_id, limit, *is_due)
    return len(_change(session, chosen.with_for_update(skip_locked=True), {"due_at": None}))


def probe(session: Session, endpoint_id: str, now: datetime) -> int:
    """Let the oldest that waits for the endpoint to recover try it; gives back how many: one or none."""
    chosen = _first(endpoint_id, 1, col(Delivery.status) == PENDING, col(Delivery.due_at).is_(None))
    return len(_change(session, chosen.with_for_update(), {"due_at": now}))


def release(session: Session, endpoint_id: str, now: datetime, limit: int) -> int:
    """Send what was held or waited for the endpoint to recover; what was held climbs its ladder anew."""
    is_held = col(Delivery.status) == HELD
    waits = sa.or_(is_held, sa.and_(col(Delivery.status) == PENDING, col(Delivery.due_at).is_(None)))
    chosen = _first(endpoint_id, limit, col(Delivery.status).in_(OPEN), waits)
    earlier = sa.case((is_held, col(Delivery.attempts)), else_=col(Delivery.earlier))
    values = {"status": PENDING, "due_at": now, "claim": None, "earlier": earlier}
    return len(_change(session, chosen.with_for_update(), values))


def replay(
    session: Session, endpoint_id: str, *, after: str, until: str, now: datetime, is_asked: bool, limit: int
) -> str | None:
    """Send what failed or is held once more, those made after the delivery `after` up to `until`, the oldest first.

    Gives back the last of them; None where there is none any more.
    """
    is_failing = sa.and_(col(Delivery.status) == PENDING, col(Delivery.attempts) > 0, UNTAKEN)
    failed = sa.or_(col(Delivery.status).in_((EXHAUSTED, HELD)), is_failing)
    between = (col(Delivery.id) > after, col(Delivery.id) <= until)
    chosen = _first(endpoint_id, limit, failed, *between, has_body()).with_for_update(skip_locked=True)
    values = {"status": PENDING, "due_at": now, "claim": None, "earlier": Delivery.attempts, "is_asked": is_asked}
    return max(_change(session, chosen, values), default=None)


def cancel(session: Session, endpoint_id: str, limit: int) -> int:
    """Cancel what waits: its endpoint was deleted; gives back how many."""
    chosen = _first(endpoint_id, limit, col(Delivery.status).in_(OPEN)).with_for_update(skip_locked=True)
    return len(_change(session, chosen, {"status": CANCELLED, "due_at": None, "claim": None}))


def give_up(session: Session, now: datetime, limit: int) -> int:
    """End what was held for too long; gives back how many."""
    chosen = sa.select(col(Delivery.id)).where(sa.text("status = 'held'"), col(Delivery.due_at) <= now)
    chosen = chosen.order_by(col(Delivery.due_at)).limit(limit).with_for_update(skip_locked=True)
    return len(_change(session, chosen, {"status": EXHAUSTED, "due_at": None}))


def _first(endpoint_id: str, limit: int, *conditions: sa.ColumnElement[bool]) -> sa.Select[str]:
    mine = sa.select(col(Delivery.id)).where(col(Delivery.endpoint_id) == endpoint_id, *conditions)
    return mine.order_by(col(Delivery.id)).limit(limit)


def _change(session: Session, chosen: sa.Select[str], values: Mapping[str, Any]) -> list[str]:
    found = once(chosen)
    statement = sa.update(Delivery).where(col(Delivery.id).in_(sa.select(found.c.id))).values(dict(values))
    returning = statement.returning(col(Delivery.id))
    return list(session.execute(returning).scalars())
