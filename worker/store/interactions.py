"""One row for each create POST: written before it is sent, so that a paid interaction is never without a trace.

An adopted interaction has one, too: no POST of ours made it, so it was never sent.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Interaction, Job
from worker.store import rows
from worker.store.rows import FRESH

TABLE = Interaction.__table__.c  # type: ignore[attr-defined]


class Answered(NamedTuple):
    """What the POST of a claim was answered with; an orphan is an interaction that no job waits for any more."""

    token: str
    upstream_id: str
    status: str
    orphan: bool
    usage_due_at: datetime | None = None


class Ended(NamedTuple):
    """How an interaction ended and what it used; where it did not tell, when to ask for that."""

    upstream_id: str
    status: str | None
    usage: dict[str, Any] | None
    usage_due_at: datetime | None = None


class Owed(NamedTuple):
    """An interaction whose usage is missing and asked for, the `usage_tries`th time."""

    token: str
    job_id: str
    upstream_id: str
    usage_tries: int


def add(session: Session, claimed: Sequence[Job], now: datetime) -> None:
    """The rows of the POSTs that these jobs, each under its claim, are about to send."""
    same = {"created_at": now, "orphan": False, "usage_tries": 0}
    posts = [
        {"token": job.claim, "job_id": job.id, "turn": job.turn, "attempt": job.attempt, **same} for job in claimed
    ]
    rows.insert(session, Interaction, posts)


def adopt(session: Session, job: Job, token: str, *, upstream_id: str, status: str, now: datetime) -> bool:
    """The row of an interaction that was made elsewhere: no POST of ours. False: some job has it already."""
    values = {"token": token, "job_id": job.id, "turn": job.turn, "attempt": job.attempt, "created_at": now}
    values |= {"answered_at": now, "upstream_id": upstream_id, "status": status, "orphan": False}
    taken = rows.insert_into(session, Interaction).values(values).on_conflict_do_nothing(index_elements=["upstream_id"])
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
    session.execute(statement)


def answered(session: Session, answers: Sequence[Answered], now: datetime) -> None:
    """Attach the ids that POSTs were answered with."""
    given = rows.given(session, [TABLE[name] for name in Answered._fields], [one._asdict() for one in answers])
    values = {name: given.c[name] for name in Answered._fields if name != "token"}
    statement = sa.update(Interaction).where(col(Interaction.token) == given.c.token).values(answered_at=now, **values)
    session.execute(statement)


def ended(session: Session, ends: Sequence[Ended]) -> dict[str, str]:
    """Keep last status and usage of these interactions; gives back their tokens, those that are known, by id."""
    if not ends:
        return {}
    given = rows.given(session, [TABLE[name] for name in Ended._fields], [one._asdict() for one in ends])
    values = {name: given.c[name] for name in Ended._fields if name != "upstream_id"}
    statement = sa.update(Interaction).where(TABLE.upstream_id == given.c.upstream_id).values(values)
    found = session.execute(statement.returning(TABLE.upstream_id, TABLE.token))
    return {row.upstream_id: row.token for row in found}


def owe(session: Session, upstream_id: str, due_at: datetime) -> None:
    """Ask later for the usage of an interaction that nobody looks at any more."""
    statement = sa.update(Interaction).where(TABLE.upstream_id == upstream_id, TABLE.usage.is_(None))
    session.execute(statement.values(usage_due_at=due_at))


def is_owed(session: Session, now: datetime) -> bool:
    """Whether some usage is due to be asked for."""
    return session.execute(sa.select(TABLE.token).where(TABLE.usage_due_at <= now).limit(1)).first() is not None


def claim_owed(session: Session, now: datetime, due_at: Mapping[int, datetime], limit: int) -> list[Owed]:
    """Take interactions whose usage is due to be asked for; each is due again at the time for its number of tries.

    One with more tries than those has had its last.
    """
    due = sa.select(TABLE.token).where(TABLE.usage_due_at <= now).order_by(TABLE.usage_due_at).limit(limit)
    chosen = rows.once(due.with_for_update(skip_locked=True))
    tries = TABLE.usage_tries + 1
    again = sa.case(dict(due_at), value=tries, else_=sa.null()) if due_at else sa.null()
    statement = sa.update(Interaction).where(TABLE.token.in_(sa.select(chosen.c.token)))
    statement = statement.values(usage_tries=tries, usage_due_at=sa.type_coerce(again, TABLE.usage_due_at.type))
    taken = session.execute(statement.returning(*(TABLE[name] for name in Owed._fields)))
    return [Owed(*row) for row in taken]


def told(session: Session, found: Sequence[tuple[Owed, dict[str, Any]]]) -> list[Interaction]:
    """Keep usage that was missing, each unless somebody asked once more meanwhile; gives back the rows that changed."""
    fenced = [{"token": one.token, "usage_tries": one.usage_tries, "usage": usage} for one, usage in found]
    given = rows.given(session, [TABLE.token, TABLE.usage_tries, TABLE.usage], fenced)
    statement = sa.update(Interaction).where(TABLE.token == given.c.token, TABLE.usage_tries == given.c.usage_tries)
    statement = statement.values(usage=given.c.usage, usage_due_at=None)
    return list(session.scalars(statement.returning(Interaction), execution_options=FRESH))


def usages(session: Session, job_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """What the interactions of these jobs have used as far as they told, oldest first, by job."""
    mine = sa.select(TABLE.job_id, TABLE.usage).where(TABLE.job_id.in_(job_ids), TABLE.usage.is_not(None))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in session.execute(mine.order_by(TABLE.created_at, TABLE.token)):
        found.setdefault(row.job_id, []).append(row.usage)
    return found


def remove(session: Session, token: str) -> None:
    """Forget a POST that was surely not accepted: it made nothing and used up no attempt."""
    session.execute(sa.delete(Interaction).where(col(Interaction.token) == token))


def upstream_ids(session: Session, job_id: str) -> list[str]:
    """Every interaction this job is known to have made."""
    mine = sa.select(col(Interaction.upstream_id)).where(col(Interaction.job_id) == job_id)
    return [upstream_id for upstream_id in session.scalars(mine) if upstream_id]


def kept_upstream(session: Session, job_ids: Collection[str], since: datetime) -> list[str]:
    """What these ended jobs made that the upstream, which forgets what ended before `since`, may still have.

    Not what they adopted: that was made elsewhere, and nobody asked for its end.
    """
    mine = sa.select(TABLE.upstream_id).join(Job, col(Job.id) == TABLE.job_id)
    mine = mine.where(TABLE.job_id.in_(job_ids), TABLE.upstream_id.is_not(None), TABLE.sent_at.is_not(None))
    return [str(name) for name in session.scalars(mine.where(col(Job.finished_at) > since))]
