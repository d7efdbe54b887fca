"""Which rows are due, and taking them: each claim is one statement that sets the fence and the time it runs out.

`due_at` of a claimed row is the claim's end, so the rows of a dead worker fall due again by themselves.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import CANCELLABLE, EXPIRING, POLLABLE, SWEPT, Job, Kind
from worker.store.rows import given, once

POLL_FIELDS = ("due_at", "upstream_status", "thought", "mark", "changed_at", "missing", "missing_since")


class Polled(NamedTuple):
    """The columns of a job that a poll needs: thousands are read each second."""

    id: str
    interaction_id: str
    status: str
    kind: Kind
    target: str
    was_due_at: datetime | None
    attempt: int
    polls: int
    sent_at: datetime | None
    deadline_at: datetime | None
    upstream_status: str | None
    thought: str | None
    mark: str | None
    changed_at: datetime | None
    stalled_at: datetime | None
    missing: int
    missing_since: datetime | None
    settle_tries: int
    ended_seen: bool
    cancelling_since: datetime | None
    cancel_answer: str | None
    cancel_answered_at: datetime | None


JOB = Job.__table__.c  # type: ignore[attr-defined]
POLLED = [JOB[name] for name in Polled._fields]


def polls(session: Session, *, claim: str, now: datetime, until: datetime, limit: int) -> list[Polled]:
    """Claim up to `limit` jobs whose interaction is due to be asked."""
    due = sa.select(col(Job.id)).where(sa.text(f"({POLLABLE})"), col(Job.due_at) <= now)
    chosen = once(due.order_by(col(Job.due_at)).limit(limit).with_for_update(skip_locked=True))
    statement = sa.update(Job.__table__).where(col(Job.id).in_(sa.select(chosen.c.id)))  # type: ignore[attr-defined]
    taken = session.execute(statement.values(claim=claim, was_due_at=col(Job.due_at), due_at=until).returning(*POLLED))
    return [Polled(*row) for row in taken]


def cancel(session: Session, job_id: str, *, claim: str, now: datetime, until: datetime) -> Job | None:
    """Claim the cancelling of one job's interaction; None: not due, or somebody else has it."""
    statement = (
        sa.update(Job)
        .where(col(Job.id) == job_id, sa.text(f"({CANCELLABLE})"), col(Job.due_at) <= now)
        .values(claim=claim, due_at=until)
        .returning(Job)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def record_polls(session: Session, *, claim: str, now: datetime, rows: list[dict[str, Any]]) -> set[str]:
    """Record still-running interactions in one statement; gives back the ids that were still under the claim.

    Each row has `id` and every field of POLL_FIELDS.
    """
    given_rows = given(session, [JOB[name] for name in ("id", *POLL_FIELDS)], rows)
    statement = (
        sa.update(Job.__table__)  # type: ignore[attr-defined]
        .where(JOB.id == given_rows.c.id, JOB.claim == claim, sa.text(f"({POLLABLE})"))
        .values({name: given_rows.c[name] for name in POLL_FIELDS})
        .values(claim=None, polls=JOB.polls + 1, last_polled_at=now)
        .returning(JOB.id)
    )
    return set(session.execute(statement).scalars())


def hold(session: Session, *, claim: str, job_ids: Collection[str], until: datetime) -> None:
    """Let the claim on these rows run out at `until`; rows that somebody else has by now keep theirs."""
    statement = sa.update(Job).where(col(Job.id).in_(job_ids), col(Job.claim) == claim).values(due_at=until)
    session.execute(statement)


def put_back(session: Session, *, claim: str, until: datetime, due_at: datetime) -> int:
    """Give back what was claimed until `until` and not recorded; gives back how many rows."""
    statement = (
        sa.update(Job)
        .where(sa.text(f"({POLLABLE})"), col(Job.due_at) == until, col(Job.claim) == claim)
        .values(claim=None, due_at=due_at)
    )
    return int(getattr(session.execute(statement), "rowcount", 0))


def next_poll(session: Session) -> datetime | None:
    """When the next interaction is due to be asked; None when none is."""
    due = sa.select(col(Job.due_at)).where(sa.text(f"({POLLABLE})"), col(Job.due_at).is_not(None))
    return session.execute(due.order_by(col(Job.due_at)).limit(1)).scalar_one_or_none()


def next_cancels(session: Session, now: datetime, limit: int) -> list[str]:
    """Ids of jobs whose interaction is due to be cancelled."""
    due = sa.select(col(Job.id)).where(sa.text(CANCELLABLE), col(Job.due_at) <= now)
    return list(session.scalars(due.order_by(col(Job.due_at)).limit(limit)))


def swept(session: Session, now: datetime, limit: int) -> list[Job]:
    """Scheduled jobs whose time has come, starts whose claim ran out, unconfirmed creates to decide; locked."""
    due = sa.select(Job).where(sa.text(SWEPT), col(Job.due_at) <= now)
    return _locked(session, due.order_by(col(Job.due_at)).limit(limit))


def expired(session: Session, now: datetime, limit: int) -> list[Job]:
    """Queued jobs and open actions past their deadline; locked."""
    due = sa.select(Job).where(sa.text(EXPIRING), col(Job.deadline_at) <= now)
    return _locked(session, due.order_by(col(Job.deadline_at)).limit(limit))


def _locked(session: Session, due: sa.Select[Job]) -> list[Job]:
    """What is decided about a row must hold until it is written; whoever holds one already decides about it."""
    statement = due.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    return list(session.scalars(statement))
