"""Gates: whether creates may go to a target, or with the key at all, and when to try again."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Gate
from worker.store import rows

KEY = "the key"
POLL = "the polls"
"""The two gates that are no target's: a target's id holds no space, so that nobody can submit to one of these."""

UNAUTHENTICATED = "unauthenticated"


def all_gates(session: Session) -> list[Gate]:
    """Every gate that was ever closed."""
    return list(session.scalars(sa.select(Gate).order_by(col(Gate.target))))


def get(session: Session, targets: Iterable[str]) -> list[Gate]:
    """The gates of these targets, where they have one."""
    return list(session.scalars(sa.select(Gate).where(col(Gate.target).in_(list(targets)))))


def lock(session: Session, target: str) -> Gate:
    """The gate of a target, made if it has none and locked until the end of the transaction."""
    made = rows.insert_into(session, Gate).values(target=target, paused=False, closings=0).on_conflict_do_nothing()
    session.execute(made)
    found = sa.select(Gate).where(col(Gate.target) == target).with_for_update()
    return session.scalars(found.execution_options(populate_existing=True)).one()


def close(session: Session, target: str, *, reason: str, until: datetime, now: datetime, closings: int) -> Gate:
    """Let nothing pass before `until`; `closings` counts how often in a row."""
    gate = lock(session, target)
    gate.reason = reason
    gate.closed_at = now
    gate.closed_until = until
    gate.closings = closings
    session.add(gate)
    session.flush()
    return gate


def open_(session: Session, targets: Iterable[str], *, before: datetime) -> bool:
    """Open those of the gates that were last closed before `before`; whether any was."""
    statement = (
        sa.update(Gate)
        .where(col(Gate.target).in_(list(targets)), col(Gate.reason).is_not(None), col(Gate.closed_at) <= before)
        .values(reason=None, closed_at=None, closed_until=None, closings=0)
        .returning(col(Gate.target))
    )
    return session.execute(statement).first() is not None


def half_open(session: Session, targets: Iterable[str], *, now: datetime, before: datetime) -> None:
    """Let the next one try now, through those that were last closed before `before`."""
    statement = (
        sa.update(Gate)
        .where(col(Gate.target).in_(list(targets)), col(Gate.closed_at) <= before, col(Gate.closed_until) > now)
        .values(closed_until=now)
    )
    session.execute(statement)


def try_once(session: Session, target: str, *, now: datetime, until: datetime) -> bool:
    """Half open: whether the caller may be the one that tries a closed gate whose time is over."""
    statement = (
        sa.update(Gate)
        .where(col(Gate.target) == target, col(Gate.reason).is_not(None), col(Gate.closed_until) <= now)
        .values(closed_until=until)
        .returning(col(Gate.target))
    )
    return session.execute(statement).first() is not None


def pause(session: Session, target: str, *, paused: bool) -> None:
    """An operator's own switch, independent of what the upstream says."""
    gate = lock(session, target)
    gate.paused = paused
    session.add(gate)
    session.flush()


def is_shut(gate: Gate, now: datetime) -> bool:
    """Whether nothing at all may pass now; after `closed_until` one may try, but a refused key waits for the probe."""
    return gate.paused or gate.reason == UNAUTHENTICATED or bool(gate.closed_until and gate.closed_until > now)
