"""Queued jobs on their way to a start: who waits, who was told, and the rows of a whole group at once."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import STARTABLE, Job, JobInput, Kind
from worker.states import Status
from worker.store.rows import once

JOB = Job.__table__.c  # type: ignore[attr-defined]
QUEUED = Status.QUEUED


class Waiting(NamedTuple):
    """The columns of a queued job that tell whether it may be started now, and as what; the size of its body, bytes."""

    id: str
    project_id: str
    kind: Kind
    target: str
    strict_model: bool
    substitutions: list[dict[str, str]]
    size: int


class Sent(NamedTuple):
    """The columns of a job whose create was sent that its answer needs."""

    id: str
    kind: Kind
    target: str
    status: str
    claim: str | None
    sent_at: datetime | None
    started_at: datetime | None
    timeout_seconds: float
    cancel_requested_at: datetime | None


class Hinted(NamedTuple):
    """A job whose start is hinted: what its message shows."""

    id: str
    turn: int
    attempt: int


def waiting_projects(session: Session) -> list[str]:
    """Projects with a queued job, by a loose index scan: its cost grows with the projects, not with the jobs."""
    statement = sa.text(
        f"WITH RECURSIVE p(id) AS (SELECT min(project_id) FROM job WHERE {STARTABLE} "  # noqa: S608
        f"UNION ALL SELECT (SELECT min(project_id) FROM job WHERE {STARTABLE} AND project_id > p.id) "
        "FROM p WHERE p.id IS NOT NULL) SELECT id FROM p WHERE id IS NOT NULL"
    )
    return list(session.execute(statement).scalars())


def startable(
    session: Session, *, project_id: str, priority: int, now: datetime, closed: Collection[str], limit: int
) -> list[str]:
    """The oldest queued jobs of a project and priority whose target is open and who were not hinted just now."""
    statement = sa.select(col(Job.id)).where(
        sa.text(STARTABLE),
        col(Job.project_id) == project_id,
        col(Job.priority) == priority,
        col(Job.due_at) <= now,
        col(Job.target).not_in(closed),
    )
    return list(session.scalars(statement.order_by(col(Job.id)).limit(limit)))


def hint(session: Session, job_ids: Collection[str], *, now: datetime, until: datetime) -> list[Hinted]:
    """Mark queued jobs as hinted until `until`; gives back those that nobody else hinted meanwhile, in this order."""
    # Locked in one order, so that two who pick at once never wait for each other.
    free = sa.select(JOB.id).where(JOB.id.in_(job_ids), JOB.status == QUEUED, JOB.due_at <= now).order_by(JOB.id)
    chosen = once(free.with_for_update(skip_locked=True))
    statement = sa.update(Job.__table__).where(JOB.id.in_(sa.select(chosen.c.id)))  # type: ignore[attr-defined]
    marked = session.execute(statement.values(due_at=until).returning(*(JOB[name] for name in Hinted._fields)))
    found = {row.id: Hinted(*row) for row in marked}
    return [found[job_id] for job_id in job_ids if job_id in found]


def waiting(session: Session, job_ids: Collection[str]) -> list[Waiting]:
    """Those of the jobs that are queued, in this order; locked, but for those that somebody else decides about."""
    body = sa.select(sa.func.length(col(JobInput.body))).where(
        col(JobInput.job_id) == JOB.id, col(JobInput.turn) == JOB.turn
    )
    columns = [*(JOB[name] for name in Waiting._fields[:-1]), sa.func.coalesce(body.scalar_subquery(), 0)]
    statement = sa.select(*columns).where(JOB.id.in_(job_ids), JOB.status == QUEUED).order_by(JOB.id)
    locked = statement.with_for_update(of=Job.__table__, skip_locked=True)  # type: ignore[attr-defined]
    found = {row.id: Waiting(*row) for row in session.execute(locked)}
    return [found[job_id] for job_id in job_ids if job_id in found]


def hold(session: Session, job_ids: Collection[str], until: datetime) -> None:
    """Look at these queued jobs again at `until`."""
    if not job_ids:
        return
    statement = sa.update(Job.__table__).where(JOB.id.in_(job_ids), JOB.status == QUEUED)  # type: ignore[attr-defined]
    session.execute(statement.values(due_at=until))


def unhint(session: Session, job_ids: Collection[str], *, now: datetime, hinted_until: datetime) -> None:
    """Give the hints of these jobs back; one that is due later than any hint lasts is waiting for something else."""
    statement = sa.update(Job.__table__).where(  # type: ignore[attr-defined]
        JOB.id.in_(job_ids), JOB.status == QUEUED, JOB.due_at <= hinted_until
    )
    session.execute(statement.values(due_at=now))


def mark_sent(session: Session, claims: Sequence[tuple[str, str]], now: datetime) -> set[str]:
    """Note that the creates of these jobs, each under its claim, are sent now; gives back the claims that held."""
    statement = sa.update(Job.__table__).where(  # type: ignore[attr-defined]
        JOB.status == Status.STARTING,
        JOB.id.in_([job_id for job_id, _ in claims]),
        JOB.claim.in_([claim for _, claim in claims]),
    )
    return set(session.scalars(statement.values(sent_at=now).returning(JOB.claim)))


def sent(session: Session, job_ids: Collection[str]) -> dict[str, Sent]:
    """These jobs as they are now, kept so until the end of the transaction."""
    # In one order, so that two who lock several never wait for each other.
    statement = sa.select(*(JOB[name] for name in Sent._fields)).where(JOB.id.in_(job_ids)).order_by(JOB.id)
    return {row.id: Sent(*row) for row in session.execute(statement.with_for_update())}
