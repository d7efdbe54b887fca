"""One row for each create POST: written before it is sent, so that a paid interaction is never without a trace."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Interaction, Job


def add(session: Session, job: Job, token: str, now: datetime) -> None:
    """The row of the POST that the claim `token` is about to send."""
    session.add(Interaction(token=token, job_id=job.id, turn=job.turn, attempt=job.attempt, created_at=now))
    session.flush()


def get(session: Session, token: str) -> Interaction | None:
    """The POST of this claim."""
    return session.get(Interaction, token, populate_existing=True)


def named(session: Session, token: str, upstream_id: str) -> list[Interaction]:
    """The POST of this claim, and the one that this interaction is known from: one row or two."""
    either = sa.or_(col(Interaction.token) == token, col(Interaction.upstream_id) == upstream_id)
    return list(session.scalars(sa.select(Interaction).where(either).execution_options(populate_existing=True)))


def by_upstream_id(session: Session, upstream_id: str) -> Interaction | None:
    """The POST that this interaction came from, if it is one of ours."""
    return session.scalars(sa.select(Interaction).where(col(Interaction.upstream_id) == upstream_id)).one_or_none()


def mark_sent(session: Session, token: str, now: datetime) -> None:
    """From here on an interaction may exist upstream."""
    _set(session, token, {"sent_at": now})


def answered(session: Session, token: str, *, upstream_id: str, status: str, now: datetime, orphan: bool) -> None:
    """Attach the id that the POST was answered with; an orphan is one that no job waits for any more."""
    _set(session, token, {"upstream_id": upstream_id, "status": status, "answered_at": now, "orphan": orphan})


def ended(session: Session, upstream_id: str, status: str | None, usage: dict[str, Any] | None) -> None:
    """Keep the last status and the usage, also of runs that failed or were cancelled."""
    statement = sa.update(Interaction).where(col(Interaction.upstream_id) == upstream_id)
    session.execute(statement.values(status=status, usage=usage), execution_options={"synchronize_session": False})


def remove(session: Session, token: str) -> None:
    """Forget a POST that was surely not accepted: it made nothing and used up no attempt."""
    session.execute(sa.delete(Interaction).where(col(Interaction.token) == token))


def _set(session: Session, token: str, values: dict[str, Any]) -> None:
    statement = sa.update(Interaction).where(col(Interaction.token) == token).values(values)
    session.execute(statement, execution_options={"synchronize_session": False})


def upstream_ids(session: Session, job_id: str) -> list[str]:
    """Every interaction this job is known to have made."""
    mine = sa.select(col(Interaction.upstream_id)).where(col(Interaction.job_id) == job_id)
    return [upstream_id for upstream_id in session.scalars(mine) if upstream_id]
