"""Writing accepted jobs: rows, inputs, first events and the idempotency key's one outcome."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from worker import ids
from worker.models import Event, Idempotency, Job, JobInput
from worker.states import CREATED
from worker.store import moves


def reserve(session: Session, entry: Idempotency) -> Idempotency | None:
    """Take an idempotency key; the entry that holds it already, or None: it is the caller's.

    On PostgreSQL a racing request waits here until the first has committed or failed.
    """
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(Idempotency).values(entry.model_dump()).on_conflict_do_nothing()
    if session.execute(statement.returning(col(Idempotency.key))).first() is not None:
        return None
    return session.get(Idempotency, (entry.project_id, entry.path, entry.key), populate_existing=True)


def insert(session: Session, jobs: Sequence[tuple[Job, bytes]], now: datetime) -> None:
    """Write jobs with their inputs and `job.created` events, in three statements plus one for each that is heard."""
    session.execute(sa.insert(Job), [{**job.model_dump(), "sequence": 1} for job, _ in jobs])
    session.execute(sa.insert(JobInput), [{"job_id": job.id, "turn": 1, "body": body} for job, body in jobs])
    quiet = []
    for job, _ in jobs:
        job.sequence = 1
        if job.webhook_url and CREATED in (job.webhook_events or ()):
            moves.append(session, job, CREATED, now)
        else:
            quiet.append(_created(job, now))
    if quiet:
        session.execute(sa.insert(Event), quiet)


def _created(job: Job, now: datetime) -> dict[str, object]:
    return {
        "id": ids.new("evt", int(now.timestamp() * 1000)),
        "project_id": job.project_id,
        "job_id": job.id,
        "sequence": 1,
        "type": CREATED,
        "created_at": now,
        "data": {"status": job.status, "turn": 1, "attempt": 1},
        "payload": None,
    }


def previous(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """The jobs that new ones build on, by id, kept from ending until the new ones are committed.

    Locked in the order in which a chain is released, so that the two never wait for each other.
    """
    statement = sa.select(Job).where(col(Job.id).in_(job_ids)).order_by(col(Job.id)).with_for_update(read=True)
    return {job.id: job for job in session.scalars(statement.execution_options(populate_existing=True))}
