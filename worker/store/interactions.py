"""One row for each create POST: written before it is sent, so that a paid interaction is never without a trace.

An adopted interaction has one, too: no POST of ours made it, so it was never sent.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from worker.models import Interaction, Job
from worker.store import rows


class Answered(NamedTuple):
    """What the POST of a claim was answered with; an orphan is an interaction that no job waits for any more."""

    token: str
    upstream_id: str
    status: str
    orphan: bool


def add(session: Session, claimed: Sequence[Job], now: datetime) -> None:
    """The rows of the POSTs that these jobs, each under its claim, are about to send."""
    posts = [
        {"token": job.claim, "job_id": job.id, "turn": job.turn, "attempt": job.attempt, "created_at": now}
        for job in claimed
    ]
    session.execute(sa.insert(Interaction), posts)


def adopt(session: Session, job: Job, token: str, *, upstream_id: str, status: str, now: datetime) -> bool:
    """The row of an interaction that was made elsewhere: no POST of ours. False: some job has it already."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    values = {"token": token, "job_id": job.id, "turn": job.turn, "attempt": job.attempt, "created_at": now}
    values |= {"answered_at": now, "upstream_id": upstream_id, "status": status, "orphan": False}
    taken = insert(Interaction).values(values).on_conflict_do_nothing(index_elements=["upstream_id"])
    return session.execute(taken.returning(col(Interaction.token))).first() is not None


def get(session: Session, token: str) -> Interaction | None:
    """The POST of this claim."""
    return session.get(Interaction, token, populate_existing=True)


def named(session: Session, tokens: Collection[str], upstream_ids: Collection[str]) -> list[Interaction]:
    """The POSTs of these claims, and those that these interactions are known from."""
    either = sa.or_(col(Interaction.token).in_(tokens), col(Interaction.upstream_id).in_(upstream_ids))
    return list(session.scalars(sa.select(Interaction).where(either).execution_options(populate_existing=True)))


def of_job(session: Session, job_id: str) -> list[Interaction]:
    """What was sent for a job, in order."""
    mine = sa.select(Interaction).where(col(Interaction.job_id) == job_id)
    return list(session.scalars(mine.order_by(col(Interaction.turn), col(Interaction.attempt))))


def by_upstream_id(session: Session, upstream_id: str) -> Interaction | None:
    """The POST that this interaction came from, if it is one of ours."""
    return session.scalars(sa.select(Interaction).where(col(Interaction.upstream_id) == upstream_id)).one_or_none()


def mark_sent(session: Session, tokens: Collection[str], now: datetime) -> None:
    """From here on these interactions may exist upstream."""
    statement = sa.update(Interaction).where(col(Interaction.token).in_(tokens)).values(sent_at=now)
    session.execute(statement, execution_options={"synchronize_session": False})


def answered(session: Session, answers: Sequence[Answered], now: datetime) -> None:
    """Attach the ids that POSTs were answered with."""
    table = Interaction.__table__.c  # type: ignore[attr-defined]
    given = rows.given(session, [table[name] for name in Answered._fields], [one._asdict() for one in answers])
    values = {name: given.c[name] for name in Answered._fields if name != "token"}
    statement = sa.update(Interaction).where(col(Interaction.token) == given.c.token).values(answered_at=now, **values)
    session.execute(statement, execution_options={"synchronize_session": False})


def ended(session: Session, ends: Sequence[tuple[str, str | None, dict[str, Any] | None]]) -> None:
    """Keep last status and usage of these interactions, also of runs that failed or were cancelled."""
    if not ends:
        return
    names = ("upstream_id", "status", "usage")
    table = Interaction.__table__.c  # type: ignore[attr-defined]
    given = rows.given(session, [table[name] for name in names], [dict(zip(names, one, strict=True)) for one in ends])
    statement = sa.update(Interaction).where(col(Interaction.upstream_id) == given.c.upstream_id)
    values = {"status": given.c.status, "usage": given.c.usage}
    session.execute(statement.values(values), execution_options={"synchronize_session": False})


def remove(session: Session, token: str) -> None:
    """Forget a POST that was surely not accepted: it made nothing and used up no attempt."""
    session.execute(sa.delete(Interaction).where(col(Interaction.token) == token))


def upstream_ids(session: Session, job_id: str) -> list[str]:
    """Every interaction this job is known to have made."""
    mine = sa.select(col(Interaction.upstream_id)).where(col(Interaction.job_id) == job_id)
    return [upstream_id for upstream_id in session.scalars(mine) if upstream_id]
